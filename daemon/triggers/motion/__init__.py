"""The motion trigger: parts that travel through the view, each judged once. One file a step.

`view` reduces the picture, `background` learns the belt, `blobs` finds what is not belt, `shift` says how far
it moved, `tracks` follows each part and picks its frame, `refine` finds its tight box, `trigger` joins them.
"""
