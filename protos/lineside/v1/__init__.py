"""gRPC code of `lineside.v1`, made at build time from the protos here; only `client` is written by hand."""
