// Small dense layers over tiles of pixels, forward and backward.
//
// A tile holds kTile vectors of pixels for every channel: vector n of channel c is tile[c * kTile + n]. Lanes are
// pixels, weights are broadcast. Matrices are stored with the inputs as rows, [input][output], so that the weights of a
// block of outputs lie next to each other: a forward pass wants the transpose of FORMAT.md's [output][input], a
// backward pass the matrix as it is.
#pragma once
#include "simd_math.h"

namespace aquatint::AQT_ISA {

constexpr int kTile = 8;
// The products of 4 outputs by this many inputs are summed in registers, of which AVX-512 has 32 and the others 16.
constexpr int kInputBlock = kLanes == 16 ? 4 : 2;

/// How many vectors a tile of a row has from column x on, always an even number.
AQT_INLINE int vectors_of_tile(int x, int width) {
    return min(kTile, 2 * ((width - x + 2 * kLanes - 1) / (2 * kLanes)));
}

enum class Activation {
    none,
    relu,
    gate,  // backward of relu: `out` holds the activations, and keeps the gradient where they are positive
};

template <Activation kActivation, int kOutputs>
AQT_INLINE void dense_block(const float* weights, int stride, const float* bias, const Floats* in, int inputs,
                            Floats* out, int vectors) {
    for (int n = 0; n < vectors; n += 2) {
        Floats sum[kOutputs][2];
#pragma GCC unroll 4
        for (int o = 0; o < kOutputs; ++o) sum[o][0] = sum[o][1] = bias ? splat(bias[o]) : splat(0.0f);
        const float* w = weights;
        for (int i = 0; i < inputs; ++i, w += stride) {
            const Floats a = in[i * kTile + n], b = in[i * kTile + n + 1];
#pragma GCC unroll 4
            for (int o = 0; o < kOutputs; ++o) {
                const Floats weight = splat(w[o]);
                sum[o][0] += weight * a;
                sum[o][1] += weight * b;
            }
        }
#pragma GCC unroll 4
        for (int o = 0; o < kOutputs; ++o)
            for (int v = 0; v < 2; ++v) {
                Floats& y = out[o * kTile + n + v];
                if constexpr (kActivation == Activation::none) y = sum[o][v];
                if constexpr (kActivation == Activation::relu) y = max(sum[o][v], splat(0.0f));
                if constexpr (kActivation == Activation::gate) y = select(y > splat(0.0f), sum[o][v], splat(0.0f));
            }
    }
}

/// out = activation(weights^T in + bias); `vectors` is even, bias may be null, out must not overlap in.
template <Activation kActivation>
AQT_INLINE void dense(const float* weights, const float* bias, const Floats* in, int inputs, Floats* out, int outputs,
                      int vectors) {
    int o = 0;
    const auto block = [&]<int kOutputs>() __attribute__((always_inline)) {
        for (; o + kOutputs <= outputs; o += kOutputs)
            dense_block<kActivation, kOutputs>(weights + o, outputs, bias ? bias + o : nullptr, in, inputs,
                                               out + o * kTile, vectors);
    };
    block.template operator()<4>();
    block.template operator()<3>();
    block.template operator()<2>();
    block.template operator()<1>();
}

template <int kOutputs, int kInputs>
AQT_INLINE void outer_block(const Floats* delta, const Floats* in, Floats* sums, int stride, int vectors) {
    Floats sum[kOutputs][kInputs];
#pragma GCC unroll 4
    for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 4
        for (int i = 0; i < kInputs; ++i) sum[o][i] = sums[o * stride + i];
    for (int n = 0; n < vectors; ++n)
#pragma GCC unroll 4
        for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 4
            for (int i = 0; i < kInputs; ++i) sum[o][i] += delta[o * kTile + n] * in[i * kTile + n];
#pragma GCC unroll 4
    for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 4
        for (int i = 0; i < kInputs; ++i) sums[o * stride + i] = sum[o][i];
}

template <int kOutputs>
AQT_INLINE void outer_rows(const Floats* delta, const Floats* in, int inputs, Floats* sums, int vectors) {
    int i = 0;
    for (; i + kInputBlock <= inputs; i += kInputBlock)
        outer_block<kOutputs, kInputBlock>(delta, in + i * kTile, sums + i, inputs, vectors);
    for (; i < inputs; ++i) outer_block<kOutputs, 1>(delta, in + i * kTile, sums + i, inputs, vectors);
}

/// The gradients of a layer's weights, [outputs][inputs], and bias, lane by lane: what its outputs' gradient `delta`
/// and its inputs add to them.
AQT_INLINE void accumulate_gradient(const Floats* delta, int outputs, const Floats* in, int inputs, Floats* weight_sums,
                                    Floats* bias_sums, int vectors) {
    int o = 0;
    for (; o + 4 <= outputs; o += 4) outer_rows<4>(delta + o * kTile, in, inputs, weight_sums + o * inputs, vectors);
    if (outputs - o == 3) outer_rows<3>(delta + o * kTile, in, inputs, weight_sums + o * inputs, vectors);
    if (outputs - o == 2) outer_rows<2>(delta + o * kTile, in, inputs, weight_sums + o * inputs, vectors);
    for (o = 0; o < outputs; ++o) {
        Floats sum = splat(0.0f);
        for (int n = 0; n < vectors; ++n) sum += delta[o * kTile + n];
        bias_sums[o] += sum;
    }
}

/// Adds the lanes of `count` sums to as many floats.
AQT_INLINE void flush(const Floats* sums, int count, float* gradient) {
    for (int i = 0; i < count; ++i) gradient[i] += sum_of_lanes(sums[i]);
}

/// [outputs][inputs] to [inputs][outputs].
AQT_INLINE void transpose(const float* matrix, int outputs, int inputs, float* transposed) {
    for (int o = 0; o < outputs; ++o)
        for (int i = 0; i < inputs; ++i) transposed[i * outputs + o] = matrix[o * inputs + i];
}

}  // namespace aquatint::AQT_ISA
