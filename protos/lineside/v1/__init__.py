"""Generated gRPC code of `lineside.v1`, made at build time from the protos beside this file."""
