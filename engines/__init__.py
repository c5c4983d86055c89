"""Engines: from a Qwen3.5 checkpoint to an answer. Knows tokens and pixels, nothing of factories.

`Engine.open(bundle).answer(images, prompt, grammar)` is what the rest of the product uses;
`lineside.engines.base` has the values that go in and come out.
"""
