// Elementary functions of vectors of floats, accurate to about one part in ten million.
#pragma once
#include "simd.h"

namespace aquatint::AQT_ISA {

AQT_INLINE Floats to_floats(Ints x) { return __builtin_convertvector(x, Floats); }
AQT_INLINE Ints truncate(Floats x) { return __builtin_convertvector(x, Ints); }

AQT_INLINE Floats select(Ints mask, Floats yes, Floats no) { return mask ? yes : no; }

AQT_INLINE Floats abs(Floats x) { return (Floats)((Ints)x & 0x7fffffff); }

/// For |x| < 2^31.
AQT_INLINE Floats floor(Floats x) {
    const Floats t = to_floats(truncate(x));
    return t - select(t > x, splat(1.0f), splat(0.0f));
}

/// 2^x; below -126 it stays at 2^-126, above 126 at 2^126. Relative error 1e-7: a minimax polynomial of degree 5 on
/// [-1/2, 1/2].
AQT_INLINE Floats exp2(Floats x) {
    x = min(max(x, splat(-126.0f)), splat(126.0f));
    const Floats n = floor(x + 0.5f);
    const Floats f = x - n;
    Floats p = splat(1.3276471e-3f);
    p = p * f + 9.6755419e-3f;
    p = p * f + 5.5507131e-2f;
    p = p * f + 2.4022120e-1f;
    p = p * f + 6.9314694e-1f;
    p = p * f + 1.0f;
    return (Floats)((Ints)p + (truncate(n) << 23));
}

/// log2(x) for normal x > 0, absolute error 1e-7: log2 m = 2 log2(e) atanh((m - 1) / (m + 1)) for m in [sqrt 1/2, sqrt
/// 2).
AQT_INLINE Floats log2(Floats x) {
    constexpr int32_t kSqrtHalf = 0x3f3504f3;
    const Ints bits = (Ints)x;
    const Ints exponent = (bits - kSqrtHalf) >> 23;
    const Floats f = (Floats)(bits - (exponent << 23)) - 1.0f;
    const Floats s = f / (f + 2.0f);
    const Floats z = s * s;
    return to_floats(exponent) + s * (2.8853901f + z * (0.96179669f + z * (0.57707802f + z * 0.41219859f)));
}

AQT_INLINE Floats sqrt(Floats x) {
    for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
    return x;
}

AQT_INLINE float sum_of_lanes(Floats x) {
    float lanes[kLanes];
    store(lanes, x);
    for (int width = kLanes / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    return lanes[0];
}

AQT_INLINE Ints lane_index() {
    Ints index;
    for (int i = 0; i < kLanes; ++i) index[i] = i;
    return index;
}

/// `v` where the column, `x` in the first lane and rising by one, is below `width`; zero elsewhere.
AQT_INLINE Floats keep_below(Floats v, int x, int width) {
    return select(lane_index() + splat(int32_t{x}) < splat(int32_t{width}), v, splat(0.0f));
}

/// Even and odd elements of two consecutive vectors.
AQT_INLINE void deinterleave(Floats a, Floats b, Floats& even, Floats& odd) {
#if defined(__AVX512F__)
    even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif defined(__AVX2__)
    even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
    even = __builtin_shufflevector(a, b, 0, 2, 4, 6);
    odd = __builtin_shufflevector(a, b, 1, 3, 5, 7);
#endif
}

/// The inverse of deinterleave.
AQT_INLINE void interleave(Floats even, Floats odd, Floats& a, Floats& b) {
#if defined(__AVX512F__)
    a = __builtin_shufflevector(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    b = __builtin_shufflevector(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif defined(__AVX2__)
    a = __builtin_shufflevector(even, odd, 0, 8, 1, 9, 2, 10, 3, 11);
    b = __builtin_shufflevector(even, odd, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    a = __builtin_shufflevector(even, odd, 0, 4, 1, 5);
    b = __builtin_shufflevector(even, odd, 2, 6, 3, 7);
#endif
}

}  // namespace aquatint::AQT_ISA
