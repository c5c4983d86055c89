"""Cameras: named sources of frames, one file a kind, each read by one thread of its own."""
