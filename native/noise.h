// Common randomness: noise that encoder and decoder both know, without a bit in the stream (docs/FORMAT.md, 2.5).
//
// Every sample is a function of its grid, row and column alone, in integers modulo 2^32, so that all machines have the
// same ones, in any order.
#pragma once
#include "simd_math.h"

namespace aquatint::AQT_ISA {

/// A hash of 32 bits (the "lowbias32" constants of C. Wellons' hash prospector); T is uint32_t or a vector of it.
template <class T>
AQT_INLINE T mix(T h) {
    h ^= h >> 16;
    h *= 0x7feb352du;
    h ^= h >> 15;
    h *= 0x846ca68bu;
    h ^= h >> 16;
    return h;
}

/// Row `y` of noise grid `k`: the sum of four bytes, nearly normal, less its mean, with a deviation of 0.036, so that its
/// weights become about as large as those of latents. Writes whole vectors.
AQT_INLINE void noise_row(int k, int y, int width, float* out) {
    const uint32_t key = mix(mix(static_cast<uint32_t>(k)) + static_cast<uint32_t>(y));
    for (int x = 0; x < width; x += kLanes) {
        // The odd stride of its own keeps a row from being a piece of another one.
        const Uints hash = mix((Uints)(lane_index() + splat(int32_t{x})) * (key | 1) + key);
        const Uints pairs = (hash & 0x00ff00ffu) + (hash >> 8 & 0x00ff00ffu);
        store(out + x, to_floats((Ints)((pairs & 0xffffu) + (pairs >> 16)) - 510) * 0x1p-12f);
    }
}

}  // namespace aquatint::AQT_ISA
