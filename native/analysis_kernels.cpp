// The kernel of the analysis; compiled once per instruction set.
#include "analysis_kernels.h"

#include "simd.h"

namespace aquatint::AQT_ISA {
namespace {

void row(const AnalysisNetwork& network, const float* rows, std::ptrdiff_t stride, int width, float* latents) {
    constexpr int kUnits = kAnalysisUnits;
    for (int x = 0; x < width; x += kLanes) {
        Floats hidden[kUnits + 1];
        for (int u = 0; u <= kUnits; ++u) hidden[u] = splat(network.first_bias[u]);
        for (int i = 0; i < kAnalysisInputs; ++i) {
            const Floats input = load(rows + i / kAnalysisSide * stride + x + i % kAnalysisSide);
            for (int u = 0; u <= kUnits; ++u) hidden[u] += input * network.first[i][u];
        }
        Floats latent = hidden[kUnits];
        for (int u = 0; u < kUnits; ++u) hidden[u] = max(hidden[u], Floats{});
        for (int v = 0; v < kUnits; ++v) {
            Floats sum = splat(network.second_bias[v]);
            for (int u = 0; u < kUnits; ++u) sum += hidden[u] * network.second[v][u];
            latent += max(sum, Floats{}) * network.out[v];
        }
        store(latents + x, latent);
    }
}

}  // namespace

const AnalysisKernels analysis_kernels = {row};

}  // namespace aquatint::AQT_ISA
