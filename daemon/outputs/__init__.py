"""What the appliance does with its own hands: the reject output and the ready output of a station.

An output acts on the verdict itself, before the disk, the broker or anything on the network is asked.
`options.py` is what settings say, `pulses.py` when a line is on (pure), `line.py` the hardware's edge with
one file a kind beside it, `output.py` the thread that owns a line, `station_outputs.py` what a station calls.
"""
