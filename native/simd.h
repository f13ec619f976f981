// The vectors that the kernels are written in: GNU vector extensions, as wide as the instruction set being compiled for.
//
// A kernel source is compiled once per instruction set with AQT_ISA set to its name; everything in it lives in the
// namespace aquatint::AQT_ISA, so that no inline function of one instruction set can be linked into another.
#pragma once
#include <cstdint>
#include <cstring>

#ifndef AQT_ISA
#error "simd.h is for kernel sources, which are compiled with AQT_ISA"
#endif

namespace aquatint::AQT_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef int32_t Ints __attribute__((vector_size(kLanes * 4)));
typedef uint32_t Uints __attribute__((vector_size(kLanes * 4)));

#define AQT_INLINE static inline __attribute__((always_inline))

AQT_INLINE Floats splat(float x) { return x - Floats{}; }
AQT_INLINE Ints splat(int32_t x) { return x - Ints{}; }

AQT_INLINE Floats load(const float* p) {
    Floats v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
AQT_INLINE void store(float* p, Floats v) { std::memcpy(p, &v, sizeof v); }

AQT_INLINE Floats max(Floats a, Floats b) { return a > b ? a : b; }
AQT_INLINE Floats min(Floats a, Floats b) { return a < b ? a : b; }
AQT_INLINE int min(int a, int b) { return a < b ? a : b; }
AQT_INLINE int max(int a, int b) { return a > b ? a : b; }
AQT_INLINE int clamp(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

}  // namespace aquatint::AQT_ISA
