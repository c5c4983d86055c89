// The TOP_K likeliest of EXPERTS for each token, and the weights to add them with. One warp a token. See __init__.py.
#include "limits.cuh"
#include "numbers.cuh"

constexpr int WARPS = 4, EACH = (EXPERTS + 31) / 32;  // experts a lane looks after: lane, lane + 32, ...

struct Candidate { float logit; int expert; };

// The larger logit, and of equal ones the lower number.
__device__ __forceinline__ bool before(Candidate a, Candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.expert < b.expert);
}

extern "C" __global__ void __launch_bounds__(32 * WARPS)
    moe_route(const float* __restrict__ logits, int tokens, int* __restrict__ experts, float* __restrict__ weights) {
    const int token = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (token >= tokens) return;
    Candidate mine[EACH];
    float highest = -infinity();
    bool undefined = false;
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        const int expert = i * 32 + lane;
        mine[i] = {-infinity(), EXPERTS};  // loses against every expert there is
        if (expert < EXPERTS) {
            mine[i] = {logits[(long long)token * EXPERTS + expert], expert};
            undefined |= mine[i].logit != mine[i].logit;
        }
        highest = fmaxf(highest, mine[i].logit);
    }
    highest = max_over_lanes(highest);
    // Where softmax has no answer (a NaN, an infinite largest logit), neither have we: the weights are NaN, and the
    // experts are numbers that may be looked up.
    undefined = __any_sync(0xffffffffu, undefined) || !(fabsf(highest) < infinity());

    float chosen = 0.0f;  // lane s keeps what was chosen in round s
    int number = lane;
    float total = 0.0f;
    for (int round = 0; round < TOP_K; ++round) {
        Candidate best = mine[0];
#pragma unroll
        for (int i = 1; i < EACH; ++i)
            if (before(mine[i], best)) best = mine[i];
#pragma unroll
        for (int step = 16; step > 0; step /= 2) {
            const Candidate other = {__shfl_xor_sync(0xffffffffu, best.logit, step),
                                     __shfl_xor_sync(0xffffffffu, best.expert, step)};
            if (before(other, best)) best = other;
        }
#pragma unroll
        for (int i = 0; i < EACH; ++i)
            if (mine[i].expert == best.expert) mine[i] = {-infinity(), EXPERTS};
        const float likelihood = expf(best.logit - highest);
        total += likelihood;
        if (lane == round) chosen = likelihood, number = best.expert;
    }
    if (lane < TOP_K) {
        experts[(long long)token * TOP_K + lane] = undefined ? lane : number;
        weights[(long long)token * TOP_K + lane] = undefined ? not_a_number() : chosen / total;
    }
}
