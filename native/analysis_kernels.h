// The kernel of the analysis that gives a fit its first latents.
#pragma once
#include <cstddef>

namespace aquatint {

constexpr int kAnalysisSide = 5;    // of the neighbourhood
constexpr int kAnalysisUnits = 16;  // of both hidden layers
constexpr int kAnalysisInputs = 3 * kAnalysisSide * kAnalysisSide;
constexpr int kAnalysisMargin = 32;  // floats that the kernel may read or write beyond the end of a row

/// The network of one grid; the last unit of the first layer goes straight to the output.
struct AnalysisNetwork {
    float first[kAnalysisInputs][kAnalysisUnits + 1], first_bias[kAnalysisUnits + 1];
    float second[kAnalysisUnits][kAnalysisUnits], second_bias[kAnalysisUnits];
    float out[kAnalysisUnits];
};

struct AnalysisKernels {
    /// A row of latents from 3 x kAnalysisSide rows of a picture, colour by colour. They begin kAnalysisSide / 2
    /// columns before the row, and all rows have kAnalysisMargin more floats.
    void (*row)(const AnalysisNetwork& network, const float* rows, std::ptrdiff_t stride, int width, float* latents);
};

namespace portable { extern const AnalysisKernels analysis_kernels; }
namespace avx2 { extern const AnalysisKernels analysis_kernels; }
namespace avx512 { extern const AnalysisKernels analysis_kernels; }

}  // namespace aquatint
