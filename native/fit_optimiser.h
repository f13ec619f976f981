// Adam (Kingma and Ba, ICLR 2015). Its moments are forgotten much faster than usual, the mean most of all: noise averages
// out in the latents themselves, which a long mean lets overshoot (docs/notes/overfitted-fit.md).
#pragma once
#include "fit_kernels.h"
#include "simd_math.h"

namespace aquatint::AQT_ISA {

static void adam(const Adam& step, const float* gradient, const float* slopes, float* latents, float* mean,
                 float* square, int width) {
    for (int x = 0; x < width; x += kLanes) {
        const Floats g = load(gradient + x) * load(slopes + x);
        const Floats m = kMeanDecay * load(mean + x) + (1 - kMeanDecay) * g;
        const Floats v = step.square_decay * load(square + x) + (1 - step.square_decay) * g * g;
        store(mean + x, m);
        store(square + x, v);
        const Floats change = step.rate * step.first_correction * m / (sqrt(v * step.second_correction) + step.epsilon);
        store(latents + x, min(max(load(latents + x) - change, splat(-kLatentLimit)), splat(kLatentLimit)));
    }
}

}  // namespace aquatint::AQT_ISA
