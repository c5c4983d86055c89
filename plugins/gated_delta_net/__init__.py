"""Gated DeltaNet: Qwen3.5's linear attention, between its input and its output projections.

The layer (three of four in the model), for one token and one value head, with state S [values, keys]:

    q, k, v = silu(causal convolution of four tokens)      q, k to unit length, q also times 1/sqrt(D)
    g = exp(-exp(A_log) softplus(a + dt_bias))              beta = sigmoid(b)
    S <- g S;   d = beta (v - S k);   S <- S + d k^T;   o = S q
    y = norm_weight * o / rms(o) * silu(z)                  rms over the head

Value head j uses key head j // (HV / HK): 16 key heads and 16 or 32 value heads in the published sizes, any
multiple here; heads of 128 numbers, or 64, or 32. `naive.py` is this in NumPy. Sources: Hugging Face's
`modeling_qwen3_5.py` (`torch_recurrent_gated_delta_rule`, `torch_chunk_gated_delta_rule`), against which
the tests compare.

Layouts. Activations are float16 or bfloat16: qkv [B, T, C] with all queries, then all keys, then all
values; z and y [B, T, HV*D]; a and b [B, T, HV]; conv_weight [C, 1, 4] as in the checkpoint; conv_state [B,
3, C]. In float32: A_log, dt_bias [HV], norm_weight [D], and the state [B, HV, D values, D keys], which is
the transpose of Hugging Face's: the sums over keys then run along memory. States come in and go out as
separate tensors. Everything between activation in and activation out is float32.

Kernels. The first two take the same arguments and may follow each other at any token; the chunked prefill's
three nodes together take and give the same again.

`gated_delta_net_decode`: one token, one launch. A block per value head (the norm needs the whole head), 4 D
threads; the state is loaded first and the rest is computed while it comes. With the next state's product
known from the last one (S' q = g S q + (k.q) d), both products with S share one pass and one reduction.
Moves 2.24 MB for 16 value heads of 128, nearly all of it state: a floor of 22 us a layer at 102 GB/s (Orin
Nano) and 8.2 us at 273 GB/s (Thor), by arithmetic from the data sheets' bandwidths.

`gated_delta_net_recurrent`: any number of tokens in one launch, the state in registers (32 a thread). Exact
in the sense that a prompt may be cut anywhere: it gives bit for bit what that many decode steps give. It is
bound by the latency of one step, not by memory: 8 D^2 operations a token and value head, on CUDA cores.

`gated_delta_net_prepare`, `_solve`, `_scan`: the same in chunks of 64 tokens, the products on tensor cores
in the activation's type with float32 sums; `chunks.py` has the formulas. prepare: convolution, norms,
gates, a block per chunk and head. solve: each chunk's own triangular system, a block per chunk and value
head. scan: the state from chunk to chunk in tensor-core registers, a block per value head, with the gated
norm at its end. What is between the nodes are ordinary tensors (an ahead-of-time plugin has no workspace):
2 (2 D + 64) bytes a token and value head from solve to scan. Its rounding is that of 16-bit operands, of
which the state is one: in float16 it must stay below 65,504 (in a trained model it is far below). Cut a
prompt at multiples of 64 to get the same bits.

Limits kept: one launch a node, static shared memory below 48 KiB, no floating-point scalars. What was
compiled for which chip, with registers and spills, is in `plugins/ptx/table.json`. Nothing here has run on
a GPU yet.
"""
