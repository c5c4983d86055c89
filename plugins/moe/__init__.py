"""The mixture of experts of Qwen3.5's MoE models (35B-A3B, the demo engine): routing, and the experts.

Formula, for each token:

    likely  = softmax(logits) over E experts, in float32; the S likeliest are chosen, of equals the first
    weight  = likely of the chosen, divided by their sum
    y       = Σₛ weightₛ · downₛ · (silu(gateₛ · x) ∘ upₛ · x)

Softmax, choice and division together are the softmax of the chosen logits alone, which is what `moe_route`
computes.

Nodes. One launch a node and no workspace means several, with ordinary tensors between them:

    few tokens:   moe_route → moe_gate_up → moe_down
    many tokens:  moe_route → moe_group → moe_grouped_gate_up → moe_grouped_down → moe_combine

The first way goes through (token, choice) pairs one by one, and is for as many tokens as hardly share an
expert. The second sorts pairs by expert, so that an expert's weights are read once for 64 of its pairs.
Both are right for any number of tokens, and differ only in the rounding of what `moe_grouped_down` writes
for each pair.

The shared expert is left to ordinary nodes. It is a dense MLP that every token goes through: its gate and
up rows join the router and its own sigmoid gate in one product, its weights are an `int4_matmul` like any
other, and its gate is one multiplication and one addition. Inside these kernels it would only be a copy of
that.

Layout: logits float32 [T, E] (which experts run hangs on small differences: the router is not rounded);
experts int32 and weights float32 [T, S]; gate_up [E, I, 2, H]: row 2i is the gate of inner number i and row
2i + 1 its up, as ONNX Runtime's `MoE` and `QMoE` want them and as bundles store them; down [E, H, I]. In 4
bits each of them is values [.., blocks, bytes], scales float16 and zeros as in `int4_matmul`: `QMoE`'s
bytes. hidden [T, S, I] lies between the two products, in the activation's type. order [T, S] holds pairs
t·S + s, expert after expert; groups [E, 3] says for each expert where its pairs begin, how many there are,
and which is its first tile of 64.

Launch:
    moe_route            a warp a token; four a block
    moe_group            a block an expert: it counts, and writes where its own pairs are, in their order
    moe_gate_up          8 inner numbers of one pair a block (T·S, ⌈I/8⌉); four warps share H
    moe_down             16 outputs of one token a block (T, ⌈H/16⌉); eight warps share all choices and I
    moe_grouped_*        128 rows of 64 pairs a block; blocks without a tile return at once
    moe_combine          a thread an output
Products are those of `int4_matmul`: tensor cores, float32 sums, scales applied to the sums of blocks. One
lane has gate and up of the same number, so SiLU needs no exchange.

Bytes moved: the weights of the experts that are chosen, once. In 35B-A3B one token needs 8 of 256:
8·3·512·2048 weights, 13.0 MB a layer in 4 bits with blocks of 128, 63 µs on an AGX Orin (204.8 GB/s) and 48
µs on a Thor (273 GB/s); all 40 layers 2.5 and 1.9 ms. With many tokens nearly every expert is read (E·(1 −
(1 − S/E)ᵀ) of them by chance), and the floor is that or 6·T·S·H·I operations.

The same input gives the same bits: counting uses integer atomics only, every sum has a fixed order. NaN and
infinity: where softmax has no answer (a NaN among a token's logits, an infinite largest one) that token's
weights are NaN, and so is its y; its experts are 0 … S − 1, which may be looked up. A number of an expert
that there is not gives NaN, and nothing is read for it. What is not finite in one token's x spoils no other
token. Sums beyond float16 come out as infinity. No time here was measured: no GPU was at hand when this was
written (`python -m lineside.plugins check`).
"""
