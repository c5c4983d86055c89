"""Image-quality gates: what a picture must be like before the engine may judge it."""
