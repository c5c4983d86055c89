"""The demo engine: a tiny Qwen3.5-architecture model for one drawn inspection station, and the station
itself.

A real trained model with measured accuracy, and honest about its scope: it knows one product under one light.
"""
