"""Products with 4-bit weights: y [T, N] = x [T, K] · Wᵀ, `gemv` for one to eight rows of x, `gemm` for many.

Formula, in float32 whatever the activations are:

    W[n, k] = (integer[n, k] − zero[n, k / block]) · scale[n, k / block]     zero is 8 where none are stored
    y[t, n] = Σₖ x[t, k] · W[n, k]

Layout: that of ONNX Runtime's `MatMulNBits`, which is what `engines/quantise` stores, byte for byte: values
uint8 [N, K/block, block/2], two integers a byte, the first in the low half; zeros uint8 [N, ⌈blocks/2⌉],
packed alike; blocks of 32 or 128 along K, the last one padded. Only scales differ: float16 here [N,
K/block], float32 there. So a bundle's weights are used as they lie in the file, and nothing is repacked
when an engine is built or loaded. K may be anything; where it is a multiple of 8 x is read 16 bytes at a
time, and where it is a multiple of 128 scales are too.

How: tensor cores do both (m16n8k16). Sixteen rows of W are the left operand and up to eight rows of x the
right one, so eight rows cost what one costs, and what limits is reading W. An integer less its zero point
is exact in 16 bits (bit tricks on 1024 + i in float16, 128 + i in bfloat16: no conversion); the scale is
applied in float32 to the sum of each block. Nothing is rounded but x as given and y as written: the weights
are not rounded to 16 bits on the way, as they are when they are dequantised before the product. Within a
slice of 128 numbers their order is free as long as both sides keep the same, so each lane reads what lies
together in memory.

Launch: `gemv` has 16 outputs a block, 256 threads; eight warps share K and their sums meet in 4 KiB of
shared memory, in a fixed order; grid (⌈T / 8⌉, ⌈N / 16⌉). `gemm` has 128 outputs of 64 rows a block, 128
threads; 16 KiB of shared memory hold x, the weights go straight to registers; grid (⌈T / 64⌉, ⌈N / 128⌉),
so that blocks at work together share rows of W. Both are right for any T: `gemv` reads W again for every
eight rows, `gemm` keeps too few threads busy with a few rows.

Bytes moved: N·K·(1/2 + 2/block [+ 1/(2·block)]) + 2·T·(K + N), W once. For `gemv` that is the floor: gate
and up of the 2B model (2048 → 12288, blocks of 128) are 13.0 MB, 127 µs on an Orin Nano Super (102 GB/s),
63 µs on an AGX Orin. With many rows the floor is 2·T·K·N operations on the tensor cores.

The same input gives the same bits: sums have a fixed order, and there are no atomics. NaN and infinity:
what a row of x has of either spoils that row of y and no other; a NaN scale spoils its output; a sum beyond
float16 comes out as infinity. No time here was measured: no GPU was at hand when this was written (`python
-m lineside.plugins check` measures).
"""
