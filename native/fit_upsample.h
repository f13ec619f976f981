// Learned doubling of a channel, and its transpose (FORMAT.md, 2.5).
//
// Output m of a doubled line is made of four samples around c = m / 2, those outside the line being its nearest end:
//   even m: k0 p[c-2] + k2 p[c-1] + k3 p[c] + k1 p[c+1]
//   odd m:  k1 p[c-1] + k3 p[c] + k2 p[c+1] + k0 p[c+2]
#pragma once
#include "fit_kernels.h"
#include "noise.h"
#include "simd_math.h"

namespace aquatint::AQT_ISA {

/// Which samples make up output m of a line of `length` samples, and the taps that weigh them.
struct Stencil {
    int sample[4], tap[4];
};

AQT_INLINE Stencil stencil(int m, int length) {
    constexpr int kTaps[2][4] = {{0, 2, 3, 1}, {1, 3, 2, 0}};
    const int odd = m & 1, first = (m >> 1) - 2 + odd;
    Stencil s;
    for (int t = 0; t < 4; ++t) {
        s.sample[t] = clamp(first + t, 0, length - 1);
        s.tap[t] = kTaps[odd][t];
    }
    return s;
}

/// A row of scratch memory for the samples of a line, with room for what the filters read and vectors write around it.
AQT_INLINE float* scratch_row(float* scratch, int index, int width) { return scratch + index * (width + 64) + kMargin; }

/// Row m of the vertically doubled channel, with two replicated samples at both ends.
AQT_INLINE void double_vertically(const Plane& coarse, int m, const float* taps, float* out) {
    const Stencil s = stencil(m, coarse.height);
    const float* rows[4];
    Floats weights[4];
    for (int t = 0; t < 4; ++t) {
        rows[t] = coarse.data + s.sample[t] * coarse.stride;
        weights[t] = splat(taps[s.tap[t]]);
    }
    for (int x = 0; x < coarse.width; x += kLanes)
        store(out + x, weights[0] * load(rows[0] + x) + weights[1] * load(rows[1] + x) +
                           weights[2] * load(rows[2] + x) + weights[3] * load(rows[3] + x));
    out[-2] = out[-1] = out[0];
    out[coarse.width] = out[coarse.width + 1] = out[coarse.width - 1];
}

static void noise(int k, Plane grid, int begin, int end) {
    for (int y = begin; y < end; ++y) noise_row(k, y, grid.width, grid.data + y * grid.stride);
}

static void upsample(Plane coarse, Plane fine, const float* taps, int begin, int end, float* scratch) {
    const Floats k0 = splat(taps[0]), k1 = splat(taps[1]), k2 = splat(taps[2]), k3 = splat(taps[3]);
    float* line = scratch_row(scratch, 0, coarse.width);
    for (int m = begin; m < end; ++m) {
        double_vertically(coarse, m, taps, line);
        float* out = fine.data + m * fine.stride;
        for (int x = 0; x < coarse.width; x += kLanes) {
            const Floats a = load(line + x - 2), b = load(line + x - 1), c = load(line + x), d = load(line + x + 1),
                         e = load(line + x + 2);
            Floats left, right;
            interleave(k0 * a + k2 * b + k3 * c + k1 * d, k1 * b + k3 * c + k2 * d + k0 * e, left, right);
            store(out + 2 * x, left);
            store(out + 2 * x + kLanes, right);
        }
    }
}

/// Splits a row of the doubled channel's gradient into its even and odd columns, as lines of `width` samples with zeros
/// around.
AQT_INLINE void split_columns(const Plane& fine, int m, int width, float* even, float* odd) {
    const float* row = fine.data + m * fine.stride;
    for (int x = 0; x < width; x += kLanes) {
        Floats e, o;
        deinterleave(load(row + 2 * x), load(row + 2 * x + kLanes), e, o);
        store(even + x, keep_below(e, x, width));
        store(odd + x, keep_below(o, x, fine.width / 2));
    }
    for (int i = 1; i <= 4; ++i) even[-i] = odd[-i] = even[width + i - 1] = odd[width + i - 1] = 0.0f;
}

/// The transpose of horizontal doubling, for a line of `width` samples.
AQT_INLINE void halve_horizontally(const float* even, const float* odd, const float* taps, int width, float* out) {
    const auto at = [&](const auto& read, int x) __attribute__((always_inline)) {
        return taps[0] * (read(even, x + 2) + read(odd, x - 2)) + taps[1] * (read(even, x - 1) + read(odd, x + 1)) +
               taps[2] * (read(even, x + 1) + read(odd, x - 1)) + taps[3] * (read(even, x) + read(odd, x));
    };
    const auto vector = [](const float* line, int x) __attribute__((always_inline)) { return load(line + x); };
    const auto sample = [](const float* line, int x) __attribute__((always_inline)) { return line[x]; };
    for (int x = 0; x < width; x += kLanes) store(out + x, at(vector, x));
    // What belongs to the replicated samples belongs to the ends.
    out[0] += at(sample, -1) + at(sample, -2);
    out[width - 1] += at(sample, width) + at(sample, width + 1);
}

/// Adds what row m of the doubled channel contributes to the gradient of the taps, lane by lane: horizontally from
/// `line`, the vertically doubled row, and vertically from `line_gradient`.
AQT_INLINE void add_tap_gradient(const Plane& coarse, int m, const float* line, const float* even, const float* odd,
                                 const float* line_gradient, Floats* sums) {
    const Stencil s = stencil(m, coarse.height);
    const float* rows[4];
    for (int t = 0; t < 4; ++t) rows[t] = coarse.data + s.sample[t] * coarse.stride;
    Floats horizontal[4] = {}, vertical[4] = {};
    for (int x = 0; x < coarse.width; x += kLanes) {
        const Floats e = load(even + x), o = load(odd + x);
        const Floats before = load(line + x - 1), after = load(line + x + 1);
        horizontal[0] += e * load(line + x - 2) + o * load(line + x + 2);
        horizontal[1] += e * after + o * before;
        horizontal[2] += e * before + o * after;
        horizontal[3] += (e + o) * load(line + x);
        const Floats g = keep_below(load(line_gradient + x), x, coarse.width);
        for (int t = 0; t < 4; ++t) vertical[t] += g * load(rows[t] + x);
    }
    for (int t = 0; t < 4; ++t) {
        sums[t] += horizontal[t];
        sums[s.tap[t]] += vertical[t];
    }
}

static void upsample_backward(Plane coarse, Plane fine_gradient, const float* taps, float* coarse_gradient, bool add,
                              float* tap_gradient, int begin, int end, float* scratch) {
    const int width = coarse.width;
    float* line = scratch_row(scratch, 0, width);
    float* even = scratch_row(scratch, 1, width);
    float* odd = scratch_row(scratch, 2, width);
    // Row n of the coarse channel went into the eight rows 2n-3 to 2n+4 of the doubled one; a ring holds their
    // gradients.
    constexpr int kReach = 8;
    float* ring[kReach];
    for (int i = 0; i < kReach; ++i) ring[i] = scratch_row(scratch, 3 + i, width);
    Floats tap_sums[4] = {};
    int ready = max(2 * begin - 3, 0);
    for (int n = begin; n < end; ++n) {
        for (; ready < min(2 * n + 5, fine_gradient.height); ++ready) {
            float* gradient = ring[ready % kReach];
            split_columns(fine_gradient, ready, width, even, odd);
            halve_horizontally(even, odd, taps, width, gradient);
            if (tap_gradient && ready >= 2 * begin && ready < 2 * end) {
                double_vertically(coarse, ready, taps, line);
                add_tap_gradient(coarse, ready, line, even, odd, gradient, tap_sums);
            }
        }
        if (!coarse_gradient) continue;
        float weights[kReach] = {};
        const float* rows[kReach];
        for (int i = 0; i < kReach; ++i) {
            const int m = 2 * n - 3 + i;
            const bool inside = m >= 0 && m < fine_gradient.height;
            rows[i] = ring[(inside ? m : 2 * n) % kReach];
            const Stencil s = stencil(m, coarse.height);
            for (int t = 0; t < 4; ++t)
                if (inside && s.sample[t] == n) weights[i] += taps[s.tap[t]];
        }
        float* out = coarse_gradient + n * coarse.stride;
        for (int x = 0; x < width; x += kLanes) {
            Floats sum = add ? load(out + x) : splat(0.0f);
#pragma GCC unroll 8
            for (int i = 0; i < kReach; ++i) sum += weights[i] * load(rows[i] + x);
            store(out + x, sum);
        }
    }
    if (tap_gradient)
        for (int t = 0; t < 4; ++t) tap_gradient[t] += sum_of_lanes(tap_sums[t]);
}

}  // namespace aquatint::AQT_ISA
