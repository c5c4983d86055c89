"""The dashboard: what people see in a browser. Meets devices through gRPC only."""
