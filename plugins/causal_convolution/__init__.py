"""The causal convolution with state of Qwen3.5's linear attention: depthwise, four taps, then SiLU.

Formula, for each row b of a batch, token t and channel c, in float32:

    seen  = state[b] followed by x[b]                  (3 + T tokens)
    y     = silu(Σⱼ weight[c, 0, j] · seen[t + j, c])   j = 0 … 3, silu(s) = s / (1 + e⁻ˢ)
    present[b] = the last 3 tokens of seen

Layout: channels last. x and y [B, T, C], weight [C, 1, 4] exactly as checkpoints store `conv1d.weight`,
state and present [B, 3, C] (transformers keeps four columns, of which the oldest is never read; ONNX
Runtime's `CausalConvWithState` with `channels_last` keeps these three). All of them are of the activation's
type: the state holds inputs as they came, so nothing is rounded by keeping it, and a prompt in pieces gives
the same bits as in one. State goes in and comes out as two tensors; nothing is aliased.

Launch: a thread has two neighbouring channels and goes through 16 tokens with the newest four in registers;
128 threads a block, grid (⌈C / 256⌉, ⌈T / 16⌉, B). The three tokens before a thread's first are read again,
which the cache pays for. The threads of the last 16 tokens write the state. One token takes the same
kernel.

Bytes moved: 2·C·(2·B·(T + 3) + 4): x and the state in, y and the state out, the taps. With one token of
8,192 channels that is 197 KB, of which the taps are a third: a microsecond on an AGX Orin (204.8 GB/s),
less than a launch costs. So in decoding this kernel is not used where the fused step of `gated_delta_net`
is, which has it inside; with 1,024 tokens it is 33.7 MB, 0.16 ms. Arithmetic never limits it: 12 operations
for 4 bytes.

NaN and infinity: a NaN or an infinity in x or in the state makes the four outputs it takes part in NaN or
infinite, in its own channel and nowhere else, and goes into the state as it is. A sum beyond float16 comes
out as infinity. A sum of −∞ gives NaN, as in torch.
"""
