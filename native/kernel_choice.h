// The kernels of an instruction set, and memory for them.
#pragma once
#include <memory>
#include <new>

#include "decode_kernels.h"
#include "dispatch.h"

namespace aquatint {

inline const DecodeKernels& kernels_for(Isa isa) {
    switch (isa) {
#ifdef AQT_HAS_AVX2
        case Isa::avx2: return avx2::decode_kernels;
#endif
#ifdef AQT_HAS_AVX512
        case Isa::avx512: return avx512::decode_kernels;
#endif
        default: return portable::decode_kernels;
    }
}

struct AlignedDelete {
    void operator()(void* memory) const { ::operator delete(memory, std::align_val_t{64}); }
};
template <class T>
using AlignedArray = std::unique_ptr<T[], AlignedDelete>;

template <class T>
AlignedArray<T> aligned_array(size_t size) {
    return AlignedArray<T>(static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t{64})));
}

}  // namespace aquatint
