// The Python class ColumnLayer: a layer with integer weights, at the places of a front.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "columns_kernels.h"
#include "dispatch.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace aquatint {
namespace {

const ColumnKernels& column_kernels_for(Isa isa) {
    switch (isa) {
#ifdef AQT_HAS_AVX2
        case Isa::avx2: return avx2::column_kernels;
#endif
#ifdef AQT_HAS_AVX512
        case Isa::avx512: return avx512::column_kernels;
#endif
        default: return portable::column_kernels;
    }
}

class ColumnLayer {
public:
    using Weights = nb::ndarray<const int16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
    using Bias = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
    using Columns = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

    ColumnLayer(const Weights& weights, const Bias& bias, int exponent, double limit, const std::string& isa)
        : kernels_(column_kernels_for(choose_isa(isa))),
          outputs_(static_cast<int>(weights.shape(0))),
          padded_((outputs_ + kColumnUnit - 1) / kColumnUnit * kColumnUnit),
          inputs_(static_cast<int>(weights.shape(1))),
          scale_(std::ldexp(1.0, -exponent)),
          limit_(limit),
          weights_(static_cast<std::size_t>(inputs_) * padded_),
          bias_(padded_) {
        if (bias.shape(0) != weights.shape(0)) throw std::invalid_argument("there must be a bias for each output");
        for (int i = 0; i < inputs_; ++i)
            for (int o = 0; o < outputs_; ++o)
                weights_[static_cast<std::size_t>(o / kColumnUnit * inputs_ + i) * kColumnUnit + o % kColumnUnit] =
                    weights(o, i);
        for (int o = 0; o < outputs_; ++o) bias_[o] = bias(o) + 0.5 / scale_;  // so that floor() rounds
    }

    nb::ndarray<nb::numpy, double> operator()(const Columns& columns) const {
        if (columns.shape(0) != static_cast<std::size_t>(inputs_))
            throw std::invalid_argument("columns must have " + std::to_string(inputs_) + " rows, not " +
                                        std::to_string(columns.shape(0)));
        const int count = static_cast<int>(columns.shape(1));
        auto sums = std::make_unique_for_overwrite<double[]>(static_cast<std::size_t>(padded_) * count);
        {
            const nb::gil_scoped_release release;
            for (int o = 0; o < padded_; o += kColumnUnit)
                kernels_.multiply(weights_.data() + static_cast<std::size_t>(o) * inputs_, bias_.data() + o, inputs_,
                                  columns.data(), count, sums.get() + static_cast<std::size_t>(o) * count);
            for (std::size_t k = 0; k < static_cast<std::size_t>(outputs_) * count; ++k)
                sums[k] = std::clamp(std::floor(sums[k] * scale_), -limit_, limit_);
        }
        double* const first = sums.release();
        const nb::capsule owner(first, [](void* p) noexcept { delete[] static_cast<double*>(p); });
        return {first, {static_cast<std::size_t>(outputs_), static_cast<std::size_t>(count)}, owner};
    }

private:
    const ColumnKernels& kernels_;
    int outputs_, padded_, inputs_;
    double scale_, limit_;
    std::vector<float> weights_;
    std::vector<double> bias_;
};

}  // namespace

void bind_columns(nb::module_& module) {
    nb::class_<ColumnLayer>(module, "ColumnLayer")
        .def(nb::init<const ColumnLayer::Weights&, const ColumnLayer::Bias&, int, double, const std::string&>(),
             "weights"_a.noconvert(), "bias"_a.noconvert(), "exponent"_a, "limit"_a, nb::kw_only(), "isa"_a = "auto")
        .def("__call__", &ColumnLayer::operator(), "columns"_a.noconvert());
}

}  // namespace aquatint
