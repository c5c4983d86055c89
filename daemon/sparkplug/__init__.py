"""Sparkplug B 3.0: this device as an edge node, its stations as devices, over any MQTT broker."""
