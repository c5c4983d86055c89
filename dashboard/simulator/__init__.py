"""Devices that are not there: hundreds on one machine, over real gRPC and MQTT, with scripted verdicts.

`lineside dashboard simulate --devices 200 --first-port 52000` starts them. They judge nothing: what they
send is drawn at random from a seed, and says that it is simulated. For demonstrations, for looking
at pages and for measuring; written from the protos alone.
"""
