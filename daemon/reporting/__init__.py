"""Reporting: stored results, states and alerts to a plant's MQTT broker, and commands from it."""
