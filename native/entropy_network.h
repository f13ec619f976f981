// The integer entropy network (docs/FORMAT.md, section 2.4), for as many latents at once as a vector has lanes.
//
// A lane of a vector is a latent. Activations are 16-bit and travel in pairs, two in a 32-bit lane, the even one below,
// because multiply-and-add of such pairs is what processors do fastest. Sums are modulo 2^32, so that every instruction
// set gives exactly the same.
#pragma once
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "decode_kernels.h"
#include "simd.h"

namespace aquatint::AQT_ISA {

constexpr int kFractionBits = 10;  // that the weights have and the activations have not

AQT_INLINE Ints even_of(Ints pairs) { return pairs << 16 >> 16; }
AQT_INLINE Ints odd_of(Ints pairs) { return pairs >> 16; }

AQT_INLINE Ints load_pairs(const int16_t* even, const int16_t* odd) {
    typedef uint16_t Shorts __attribute__((vector_size(kLanes * 2)));
    auto widen = [](const int16_t* p) {
        Shorts shorts;
        std::memcpy(&shorts, p, sizeof shorts);
        return __builtin_convertvector(shorts, Ints);
    };
    return widen(even) | widen(odd) << 16;
}

/// sum + even * weights.even + odd * weights.odd.
AQT_INLINE Uints add_product(Uints sum, Ints pairs, int32_t weights) {
#if defined(__AVX512VNNI__)
    return (Uints)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)pairs, (__m512i)splat(weights));
#elif defined(__AVX2__)
    return sum + (Uints)_mm256_madd_epi16((__m256i)pairs, (__m256i)splat(weights));
#elif defined(__SSE2__)
    return sum + (Uints)_mm_madd_epi16((__m128i)pairs, (__m128i)splat(weights));
#else
    const Ints w = splat(weights);
    return sum + (Uints)(even_of(pairs) * even_of(w)) + (Uints)(odd_of(pairs) * odd_of(w));
#endif
}

template <int inputs>
AQT_INLINE Ints output(const int32_t* weights, int32_t bias, const Ints* x) {
    Uints sum = (Uints)splat(bias);
#pragma GCC unroll 12
    for (int i = 0; i < inputs / 2; i++) sum = add_product(sum, x[i], weights[i]);
    return (Ints)sum >> kFractionBits;
}

/// y = clamp((W x + b) + x, 0, 32767).
template <int inputs>
AQT_INLINE void hidden_layer(const int32_t (*weights)[kMaxInputs / 2], const int32_t* biases, const Ints* x, Ints* y) {
    auto clamp = [](Ints v) {
        v = v > 0 ? v : Ints{};
        return v < 32767 ? v : splat(32767);
    };
#pragma GCC unroll 12
    for (int i = 0; i < inputs / 2; i++) {
        const Ints even = output<inputs>(weights[2 * i], biases[2 * i], x) + even_of(x[i]);
        const Ints odd = output<inputs>(weights[2 * i + 1], biases[2 * i + 1], x) + odd_of(x[i]);
        y[i] = clamp(even) | clamp(odd) << 16;
    }
}

/// Both outputs for kLanes latents; input i of the first is at step[offsets[i]], those of the others follow it.
///
/// Not inlined: the unrolled loops are long, three callers share them, and in a loop over vectors the compiler would
/// broadcast all weights ahead into memory.
template <int inputs>
[[gnu::noinline]] static void evaluate(const EntropyNetwork& network, const int16_t* step, const ptrdiff_t* offsets,
                                       int32_t* z0, int32_t* z1) {
    Ints x[inputs / 2], h[inputs / 2], g[inputs / 2];
#pragma GCC unroll 12
    for (int i = 0; i < inputs / 2; i++) x[i] = load_pairs(step + offsets[2 * i], step + offsets[2 * i + 1]);
    hidden_layer<inputs>(network.w1, network.b1, x, h);
    hidden_layer<inputs>(network.w2, network.b2, h, g);
    const Ints outputs[2] = {output<inputs>(network.w3[0], network.b3[0], g),
                             output<inputs>(network.w3[1], network.b3[1], g)};
    std::memcpy(z0, &outputs[0], sizeof outputs[0]);
    std::memcpy(z1, &outputs[1], sizeof outputs[1]);
}

}  // namespace aquatint::AQT_ISA
