"""The devices the dashboard follows: one room per device, gRPC in, last-known values out.

Knows the protos of `lineside.v1` and nothing of Flask.
"""
