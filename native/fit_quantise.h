// The quantisation proxy: what the fit sees in place of rounded latents.
//
// y = s(s(x) + noise u) with the soft rounding s of temperature T,
//   s(x) = floor(x) + 1/2 + tanh((x - floor(x) - 1/2) / T) / (2 tanh(1 / (2 T))),
// as in Cool-Chic (Kim et al., "C3", CVPR 2024, section 3.2). The noise u is uniform in [-1/2, 1/2):
//   h = mix(mix(mix(mix(floor(seed / 16) + 0x9E3779B9) + grid) + row) + column) + 2^28 reverse(seed mod 16),
//   u = (h >> 8) / 2^24 - 1/2,
// with arithmetic modulo 2^32 and the four bits in reverse order. It depends on nothing else, so that engines and thread
// counts draw the same. So sixteen steps with seeds one after the other are one stratified sample of every latent's
// noise (van der Corput 1935), which takes fewer steps to average than independent ones.
#pragma once

#include "fit_kernels.h"
#include "noise.h"
#include "simd_math.h"

namespace aquatint::AQT_ISA {

struct SoftRound {
    float sharpness;  // 2 log2(e) / T: tanh(t / T) = 1 - 2 / (2^(sharpness t) + 1)
    float height;     // 1 / (2 tanh(1 / (2 T)))
    float slope;      // 4 height / T: the derivative is this times e / (e + 1)^2

    Floats operator()(Floats x, Floats& derivative) const __attribute__((always_inline)) {
        const Floats centre = floor(x) + 0.5f;
        // 2^60 leaves its square finite, and the tanh exactly 1.
        const Floats e = exp2(min(max((x - centre) * sharpness, splat(-60.0f)), splat(60.0f)));
        const Floats r = 1.0f / (e + 1.0f);
        derivative = e * r * r * slope;
        return centre + height * (1.0f - 2.0f * r);
    }
};

static void quantise(const Quantiser& q, Plane latents, Plane values, float* slopes, int begin, int end) {
    const float height = q.temperature > 0 ? 0.5f / __builtin_tanhf(0.5f / q.temperature) : 0;
    const SoftRound soft_round{2.8853901f / q.temperature, height, 4 * height / q.temperature};
    const uint32_t grid_key = mix(mix(q.seed / 16 + 0x9E3779B9u) + q.grid);
    const uint32_t stratum = (q.seed & 1) << 31 | (q.seed & 2) << 29 | (q.seed & 4) << 27 | (q.seed & 8) << 25;
    for (int y = begin; y < end; ++y) {
        const float* x = latents.data + y * latents.stride;
        float* out = values.data + y * values.stride;
        float* slope = slopes ? slopes + y * values.stride : nullptr;
        const uint32_t row_key = mix(grid_key + uint32_t(y));
        for (int column = 0; column < latents.width; column += kLanes) {
            const Floats latent = load(x + column);
            Floats value = floor(latent + 0.5f), derivative = splat(0.0f);
            if (q.temperature > 0) {
                const Uints hash = mix((Uints)(lane_index() + splat(int32_t{column})) + row_key) + stratum;
                const Floats uniform = to_floats((Ints)(hash >> 8)) * 0x1p-24f - 0.5f;
                Floats first, second;
                value = soft_round(soft_round(latent, first) + q.noise * uniform, second);
                derivative = first * second;
            }
            store(out + column, keep_below(value, column, latents.width));
            if (slope) store(slope + column, keep_below(derivative, column, latents.width));
        }
    }
}

}  // namespace aquatint::AQT_ISA
