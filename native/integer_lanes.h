// Sixteen lanes of the integer arithmetic that the entropy network needs, one lane a latent.
//
// `Pairs` holds two 16-bit numbers in each lane, the even one below, and `Sums` one 32-bit number. Sums are modulo 2^32,
// so that every instruction set gives exactly the same.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "simd.h"

namespace aquatint::AQT_ISA {

constexpr int kParts = 16 / kLanes;

struct Pairs {
    Ints part[kParts];
};
struct Sums {
    Uints part[kParts];
};

AQT_INLINE Ints even_of(Ints pairs) { return pairs << 16 >> 16; }
AQT_INLINE Ints odd_of(Ints pairs) { return pairs >> 16; }

/// sum + x.even * weights.even + x.odd * weights.odd.
AQT_INLINE Uints add_product(Uints sum, Ints x, Ints weights) {
#if defined(__AVX512VNNI__)
    return (Uints)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)x, (__m512i)weights);
#elif defined(__AVX2__)
    return sum + (Uints)_mm256_madd_epi16((__m256i)x, (__m256i)weights);
#elif defined(__SSE2__)
    return sum + (Uints)_mm_madd_epi16((__m128i)x, (__m128i)weights);
#else
    return sum + (Uints)(even_of(x) * even_of(weights)) + (Uints)(odd_of(x) * odd_of(weights));
#endif
}

/// The pairs of sixteen even and sixteen odd numbers.
AQT_INLINE Pairs load_pairs(const int16_t* even, const int16_t* odd) {
    typedef uint16_t Shorts __attribute__((vector_size(kLanes * 2)));
    auto widen = [](const int16_t* p) {
        Shorts shorts;
        std::memcpy(&shorts, p, sizeof shorts);
        return __builtin_convertvector(shorts, Ints);
    };
    Pairs pairs;
    for (int i = 0; i < kParts; i++) pairs.part[i] = widen(even + i * kLanes) | widen(odd + i * kLanes) << 16;
    return pairs;
}

AQT_INLINE Sums sums_of(int32_t x) {
    Sums sums;
    for (Uints& part : sums.part) part = (Uints)splat(x);
    return sums;
}

/// Adds the dot product of every lane's pair with a pair of weights.
AQT_INLINE void accumulate(Sums& sums, const Pairs& x, int32_t weights) {
    for (int i = 0; i < kParts; i++) sums.part[i] = add_product(sums.part[i], x.part[i], splat(weights));
}

/// The activations clamp((sum >> shift) + x, 0, 32767) of the even and the odd outputs.
template <int shift>
AQT_INLINE Pairs activate(const Sums& even, const Sums& odd, const Pairs& x) {
    auto clamp = [](Ints v) {
        v = v > 0 ? v : Ints{};
        return v < 32767 ? v : splat(32767);
    };
    Pairs y;
    for (int i = 0; i < kParts; i++)
        y.part[i] = clamp(((Ints)even.part[i] >> shift) + even_of(x.part[i])) |
                    clamp(((Ints)odd.part[i] >> shift) + odd_of(x.part[i])) << 16;
    return y;
}

/// Writes sum >> shift of the sixteen lanes.
template <int shift>
AQT_INLINE void store_shifted(int32_t* out, const Sums& sums) {
    for (int i = 0; i < kParts; i++) {
        const Ints shifted = (Ints)sums.part[i] >> shift;
        std::memcpy(out + i * kLanes, &shifted, sizeof shifted);
    }
}

}  // namespace aquatint::AQT_ISA
