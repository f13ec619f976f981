// The rate of quantised latents under the entropy network, and its gradients (FORMAT.md, 2.4, in floating point).
//
// For the context a of a latent y: h = relu(W1 a + b1 + a), g = relu(W2 h + b2 + h), (mu, l) = W3 g + b3, and y costs
// -log2(P + 2^-24) bits, where P is the mass of [y - 1/2, y + 1/2] under a Laplace distribution of mean mu and scale
// b = 2^clamp(l, -5, 6.875). The sums h = W a + a are taken as one product with W + 1.
#pragma once
#include "fit_dense.h"
#include "fit_kernels.h"

namespace aquatint::AQT_ISA {

struct Offset {
    int row, column;
};

constexpr Offset kContext[kMaxInputs] = {{0, -1},  {-1, 0}, {-1, -1}, {-1, 1}, {0, -2},  {-2, 0},  {-1, -2}, {-1, 2},
                                         {-2, -1}, {-2, 1}, {0, -3},  {-3, 0}, {-2, -2}, {-2, 2},  {-1, -3}, {-1, 3},
                                         {-3, -1}, {-3, 1}, {-2, -3}, {-2, 3}, {0, -4},  {-3, -2}, {-3, 2},  {-1, 4}};

constexpr float kLeastLogScale = -5.0f, kGreatestLogScale = 6.875f;
constexpr float kLog2e = 1.44269504f, kLn2 = 0.69314718f;

/// Bits of values y under Laplace distributions, and the derivatives of the bits by mean and log2 of the scale.
AQT_INLINE Floats laplace_bits(Floats y, Floats mean, Floats log_scale, Floats& by_mean, Floats& by_log_scale) {
    const Floats clamped = min(max(log_scale, splat(kLeastLogScale)), splat(kGreatestLogScale));
    const Floats sharpness = exp2(-clamped);  // 1 / b
    const Floats d = y - mean;
    const Floats a = abs(d);
    // The distribution's tails beyond the interval's ends, doubled. Away from the mean both ends lie on one side, and
    // the mass is the difference of two tails; 1 minus something would lose it in rounding.
    const Floats near = exp2(abs(a - 0.5f) * sharpness * -kLog2e);
    const Floats far = exp2((a + 0.5f) * sharpness * -kLog2e);
    const Floats mass = select(a < splat(0.5f), 1.0f - 0.5f * (near + far), 0.5f * (near - far));
    const Floats p = mass + 0x1p-24f;
    const Floats bits_by_mass = -kLog2e / p;
    const Floats by_distance = bits_by_mass * 0.5f * sharpness * (far - near);
    by_mean = select(d < splat(0.0f), by_distance, -by_distance);
    by_log_scale = bits_by_mass * (-0.5f * kLn2) * sharpness * ((a + 0.5f) * far - (a - 0.5f) * near);
    by_log_scale = select(clamped == log_scale, by_log_scale, splat(0.0f));
    return -log2(p);
}

/// The entropy network's matrices as the passes multiply with them.
struct EntropyWeights {
    float w1[kMaxInputs * kMaxInputs], w2[kMaxInputs * kMaxInputs];  // W + 1, [output][input]
    float w1_transposed[kMaxInputs * kMaxInputs], w2_transposed[kMaxInputs * kMaxInputs];
    float w3_transposed[kMaxInputs * 2];

    EntropyWeights(const Parameters<const float>& p, int inputs) {
        for (int i = 0; i < inputs * inputs; ++i) {
            const float identity = i % (inputs + 1) == 0;
            w1[i] = p.w1[i] + identity;
            w2[i] = p.w2[i] + identity;
        }
        transpose(w1, inputs, inputs, w1_transposed);
        transpose(w2, inputs, inputs, w2_transposed);
        transpose(p.w3, 2, inputs, w3_transposed);
    }
};

/// Lane by lane sums of the parameters' gradients.
struct EntropySums {
    Floats w1[kMaxInputs * kMaxInputs], b1[kMaxInputs], w2[kMaxInputs * kMaxInputs], b2[kMaxInputs], w3[2 * kMaxInputs],
        b3[2];
};

/// The inputs of the network for a tile of latents from (y, x) on.
AQT_INLINE void gather_context(const RatePass& pass, int y, int x, int vectors, Floats* context) {
    const float* centre = pass.values.data + y * pass.values.stride + x;
    for (int i = 0; i < pass.shape.context; ++i) {
        const float* p = centre + kContext[i].row * pass.values.stride + kContext[i].column;
        for (int n = 0; n < vectors; ++n) context[i * kTile + n] = load(p + n * kLanes);
    }
    for (int parent = 0; parent < pass.shape.parents; ++parent) {
        Floats* out = context + (pass.shape.context + parent) * kTile;
        if (!pass.coarser.data) {
            for (int n = 0; n < vectors; ++n) out[n] = splat(0.0f);
            continue;
        }
        const int row = (y >> 1) + (parent < 2 ? 0 : y % 2 ? 1 : -1);
        const int side = parent % 2;  // its column is that of the parent, or the one beside it that is nearer
        const float* p = pass.coarser.data + row * pass.coarser.stride + x / 2;
        for (int n = 0; n < vectors; n += 2, p += kLanes)
            interleave(load(p - side), load(p + side), out[n], out[n + 1]);
    }
}

AQT_INLINE void add(float* p, Floats v) { store(p, load(p) + v); }

/// The transpose of gather_context: adds the gradient of the inputs to that of the latents they came from.
AQT_INLINE void scatter_context(const RatePass& pass, int y, int x, int vectors, const Floats* gradient) {
    const std::ptrdiff_t stride = pass.values.stride;
    for (int i = 0; i < pass.shape.context; ++i) {
        const int row = y + kContext[i].row;
        float* p = row >= pass.first_row ? pass.value_gradient + row * stride
                                         : pass.above + (row - pass.first_row + kContextRows) * stride;
        p += x + kContext[i].column;
        for (int n = 0; n < vectors; ++n) add(p + n * kLanes, gradient[i * kTile + n]);
    }
    if (!pass.coarser.data) return;
    for (int parent = 0; parent < pass.shape.parents; ++parent) {
        const Floats* in = gradient + (pass.shape.context + parent) * kTile;
        const int row = (y >> 1) + (parent < 2 ? 0 : y % 2 ? 1 : -1);
        const int side = parent % 2;
        float* p = pass.coarser_gradient + (row - (pass.first_row >> 1) + 1) * pass.coarser.stride + x / 2;
        for (int n = 0; n < vectors; n += 2, p += kLanes) {
            Floats even, odd;
            deinterleave(in[n], in[n + 1], even, odd);
            add(p - side, even);
            add(p + side, odd);
        }
    }
}

static double rate(const RatePass& pass, int begin, int end) {
    const int inputs = pass.shape.context + pass.shape.parents, width = pass.values.width;
    const Parameters<const float>& p = pass.parameters;
    const EntropyWeights weights(p, inputs);
    EntropySums sums;
    if (pass.gradient) sums = {};
    Floats context[kMaxInputs * kTile], first[kMaxInputs * kTile], second[kMaxInputs * kTile];
    Floats output[2 * kTile], output_gradient[2 * kTile];
    double bits = 0;
    for (int y = begin; y < end; ++y) {
        const float* row = pass.values.data + y * pass.values.stride;
        Floats row_bits = splat(0.0f);
        for (int x = 0; x < width; x += kTile * kLanes) {
            const int vectors = vectors_of_tile(x, width);
            gather_context(pass, y, x, vectors, context);
            dense<Activation::relu>(weights.w1_transposed, p.b1, context, inputs, first, inputs, vectors);
            dense<Activation::relu>(weights.w2_transposed, p.b2, first, inputs, second, inputs, vectors);
            dense<Activation::none>(weights.w3_transposed, p.b3, second, inputs, output, 2, vectors);
            for (int n = 0; n < vectors; ++n) {
                const int column = x + n * kLanes;
                Floats by_mean, by_log_scale;
                const Floats value_bits =
                    laplace_bits(load(row + column), output[n], output[kTile + n], by_mean, by_log_scale);
                row_bits += keep_below(value_bits, column, width);
                output_gradient[n] = keep_below(pass.weight * by_mean, column, width);
                output_gradient[kTile + n] = keep_below(pass.weight * by_log_scale, column, width);
            }
            if (!pass.gradient && !pass.value_gradient) continue;
            // Each activation makes room for its own gradient as soon as it has been used.
            if (pass.gradient) accumulate_gradient(output_gradient, 2, second, inputs, sums.w3, sums.b3, vectors);
            dense<Activation::gate>(p.w3, nullptr, output_gradient, 2, second, inputs, vectors);
            if (pass.gradient) accumulate_gradient(second, inputs, first, inputs, sums.w2, sums.b2, vectors);
            dense<Activation::gate>(weights.w2, nullptr, second, inputs, first, inputs, vectors);
            if (pass.gradient) accumulate_gradient(first, inputs, context, inputs, sums.w1, sums.b1, vectors);
            if (!pass.value_gradient) continue;
            dense<Activation::none>(weights.w1, nullptr, first, inputs, context, inputs, vectors);
            scatter_context(pass, y, x, vectors, context);
            float* own = pass.value_gradient + y * pass.values.stride + x;
            for (int n = 0; n < vectors; ++n) add(own + n * kLanes, -output_gradient[n]);
        }
        bits += sum_of_lanes(row_bits);
    }
    if (pass.gradient) {
        flush(sums.w1, inputs * inputs, pass.gradient->w1);
        flush(sums.b1, inputs, pass.gradient->b1);
        flush(sums.w2, inputs * inputs, pass.gradient->w2);
        flush(sums.b2, inputs, pass.gradient->b2);
        flush(sums.w3, 2 * inputs, pass.gradient->w3);
        flush(sums.b3, 2, pass.gradient->b3);
    }
    return bits;
}

}  // namespace aquatint::AQT_ISA
