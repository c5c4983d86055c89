"""Headers that every kernel may include: `numbers.cuh` (16-bit floats, wide loads, warp sums, tensor cores).

NVRTC's wheel brings no CUDA headers at all, so the kernels include nothing but what lies in this folder.
`FOLDER` is the `-I` of every compiler that reads a kernel.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
