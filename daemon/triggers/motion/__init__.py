"""The motion trigger: parts that travel through the view, each judged once. One file a step.

`view` reduces the picture, `background` learns the belt, `blobs` finds what is not belt, `shift` says how
far it moved, `matching` which thing is which part, `tracks` follows parts and picks their frames, `refine`
finds the tight box, `trigger` joins them. `locate` finds one part in one picture.
"""
