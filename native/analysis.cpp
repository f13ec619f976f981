// The Python function analyse: latents of one grid from a level of a picture's pyramid.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "analysis_kernels.h"
#include "dispatch.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace aquatint {
namespace {

constexpr int kUnits = kAnalysisUnits;

template <class Shape>
using Input = nb::ndarray<const float, Shape, nb::c_contig, nb::device::cpu>;
using Level = Input<nb::ndim<3>>;
using First = Input<nb::shape<kUnits + 1, kAnalysisInputs>>;
using FirstBias = Input<nb::shape<kUnits + 1>>;
using Square = Input<nb::shape<kUnits, kUnits>>;
using Units = Input<nb::shape<kUnits>>;

const AnalysisKernels& analysis_kernels_for(Isa isa) {
    switch (isa) {
#ifdef AQT_HAS_AVX2
        case Isa::avx2: return avx2::analysis_kernels;
#endif
#ifdef AQT_HAS_AVX512
        case Isa::avx512: return avx512::analysis_kernels;
#endif
        default: return portable::analysis_kernels;
    }
}

nb::ndarray<nb::numpy, float> analyse(const Level& level, const First& first, const FirstBias& first_bias,
                                      const Square& second, const Units& second_bias, const Units& out,
                                      const std::string& isa) {
    if (level.shape(0) != 3 || level.size() == 0 || std::max(level.shape(1), level.shape(2)) > 65535)
        throw std::invalid_argument("the level must be 3xHxW, H and W from 1 to 65535");
    AnalysisNetwork network;
    for (int i = 0; i < kAnalysisInputs; ++i)
        for (int u = 0; u <= kUnits; ++u) network.first[i][u] = first(u, i);
    std::copy_n(first_bias.data(), kUnits + 1, network.first_bias);
    std::copy_n(second.data(), kUnits * kUnits, network.second[0]);
    std::copy_n(second_bias.data(), kUnits, network.second_bias);
    std::copy_n(out.data(), kUnits, network.out);

    const int height = static_cast<int>(level.shape(1)), width = static_cast<int>(level.shape(2));
    float* latents = new float[static_cast<std::size_t>(height) * width];
    const nb::ndarray<nb::numpy, float> result(
        latents, {static_cast<std::size_t>(height), static_cast<std::size_t>(width)},
        nb::capsule(latents, [](void* p) noexcept { delete[] static_cast<float*>(p); }));
    const AnalysisKernels& kernels = analysis_kernels_for(choose_isa(isa));

    const nb::gil_scoped_release release;
    constexpr int kBorder = kAnalysisSide / 2;
    const std::ptrdiff_t stride = width + 2 * kBorder + kAnalysisMargin;
    std::vector<float> rows(3 * kAnalysisSide * stride), row(width + kAnalysisMargin);
    for (int y = 0; y < height; ++y) {
        float* to = rows.data();
        for (int colour = 0; colour < 3; ++colour)
            for (int dy = -kBorder; dy <= kBorder; ++dy, to += stride) {
                const float* from = level.data() + (static_cast<std::ptrdiff_t>(colour) * height +
                                                    std::clamp(y + dy, 0, height - 1)) * width;
                std::fill_n(to, kBorder, from[0]);
                std::copy_n(from, width, to + kBorder);
                std::fill_n(to + kBorder + width, kBorder, from[width - 1]);
            }
        kernels.row(network, rows.data(), stride, width, row.data());
        std::copy_n(row.data(), width, latents + static_cast<std::ptrdiff_t>(y) * width);
    }
    return result;
}

}  // namespace

void bind_analysis(nb::module_& module) {
    module.def("analyse", &analyse, "level"_a, "first"_a, "first_bias"_a, "second"_a, "second_bias"_a, "out"_a,
               nb::kw_only(), "isa"_a = "auto", "Latents of a grid from a level of a picture's pyramid, (3, H, W).");
}

}  // namespace aquatint
