// The kernel of networks with integer weights at single places (docs/FORMAT.md, 3.2).
#pragma once

namespace aquatint {

constexpr int kColumnUnit = 16;  // outputs whose weights lie next to each other

struct ColumnKernels {
    /// sums[o * columns + j] = bias[o] + sum over i of weights[i * kColumnUnit + o] x[i * columns + j], for kColumnUnit
    /// outputs. All numbers are integers, and exact in any order while sums stay below 2^53.
    void (*multiply)(const float* weights, const double* bias, int inputs, const double* x, int columns,
                     double* sums);
};

namespace portable { extern const ColumnKernels column_kernels; }
namespace avx2 { extern const ColumnKernels column_kernels; }
namespace avx512 { extern const ColumnKernels column_kernels; }

}  // namespace aquatint
