"""gRPC: the contract `lineside.v1` over the running appliance and the store. Knows no camera or engine."""
