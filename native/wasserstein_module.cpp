// The Python class SteerableWasserstein: checks of its arguments around the distortion.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <stdexcept>
#include <string>

#include "wasserstein.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace aquatint {
namespace {

using Array = nb::ndarray<nb::numpy, float>;
using Pixels = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Map = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const float, nb::shape<3, 3>, nb::c_contig, nb::device::cpu>;

constexpr int kMaxSide = 65535;
constexpr int kMaxWeight = 1000000;

void require(bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument(message);
}

template <class T>
std::string shape_of(const T& array) {
    std::string text;
    for (std::size_t i = 0; i < array.ndim(); ++i) text += (i ? "x" : "") + std::to_string(array.shape(i));
    return text;
}

class SteerableWasserstein {
public:
    SteerableWasserstein(const Pixels& pixels, const std::vector<Map>& log2_sigma, const std::vector<Map>& importance,
                         const Matrix& colours, float pixel_gain, float even_gain, float odd_gain, float weight,
                         float pixel_weight, bool holds_finest, int threads, const std::string& isa)
        : distortion_(checked(pixels).data(), static_cast<int>(pixels.shape(1)), static_cast<int>(pixels.shape(2)),
                      checked("log2 sigma", log2_sigma, pixels, kWindows),
                      checked("importance", importance, pixels, kMaxWeight),
                      checked(colours, pixel_gain, even_gain, odd_gain),
                      checked("weight", weight), checked("pixel_weight", pixel_weight), holds_finest,
                      checked_threads(threads), choose_isa(isa)) {}

    std::pair<double, Array> call(const Pixels& image) {
        const std::size_t height = distortion_.height(), width = distortion_.width();
        require(image.shape(0) == 3 && image.shape(1) == height && image.shape(2) == width,
                "the image must be 3x" + std::to_string(height) + "x" + std::to_string(width) + ", not " +
                    shape_of(image));
        if (busy_.test_and_set()) throw std::runtime_error("the distortion is at work already, in another thread");
        float* data = new float[3 * height * width];
        const Array gradient(data, {3, height, width}, nb::capsule(data, [](void* p) noexcept {
                                 delete[] static_cast<float*>(p);
                             }));
        double value;
        {
            const nb::gil_scoped_release release;
            value = distortion_.differentiate(image.data(), data);
        }
        busy_.clear();
        return {value, gradient};
    }

private:
    static const Pixels& checked(const Pixels& pixels) {
        require(pixels.shape(0) == 3 && pixels.shape(1) > 0 && pixels.shape(2) > 0,
                "pixels must be 3xHxW, not " + shape_of(pixels));
        require(pixels.shape(1) <= kMaxSide && pixels.shape(2) <= kMaxSide,
                "a picture has at most 65535 rows and columns, not " + shape_of(pixels));
        require(std::all_of(pixels.data(), pixels.data() + pixels.size(), [](float x) { return std::isfinite(x); }),
                "pixels must be finite");
        return pixels;
    }

    static std::vector<const float*> checked(const std::string& name, const std::vector<Map>& given,
                                             const Pixels& pixels, int most) {
        require(given.size() == kLevels, "there must be " + std::to_string(kLevels) + " maps of " + name + ", not " +
                                             std::to_string(given.size()));
        std::size_t height = pixels.shape(1), width = pixels.shape(2);
        std::vector<const float*> maps;
        for (const Map& map : given) {
            require(map.shape(0) == height && map.shape(1) == width,
                    "map " + std::to_string(maps.size()) + " of " + name + " must be " + std::to_string(height) + "x" +
                        std::to_string(width) + ", not " + shape_of(map));
            require(std::all_of(map.data(), map.data() + map.size(),
                                [most](float x) { return x >= 0 && x <= static_cast<float>(most); }),
                    name + " must be from 0 to " + std::to_string(most));
            maps.push_back(map.data());
            height = (height + 1) / 2, width = (width + 1) / 2;
        }
        return maps;
    }

    static float checked(const char* name, float weight) {
        require(weight >= 0 && weight <= kMaxWeight,
                std::string(name) + " must be from 0 to 1e6, not " + std::to_string(weight));
        return weight;
    }

    static SteerableStack checked(const Matrix& colours, float pixel_gain, float even_gain, float odd_gain) {
        SteerableStack stack{{}, pixel_gain, even_gain, odd_gain};
        std::copy_n(colours.data(), 9, stack.colours);
        const float* numbers = stack.colours;
        require(std::all_of(numbers, numbers + 9, [](float x) { return std::isfinite(x); }) &&
                    std::isfinite(pixel_gain) && std::isfinite(even_gain) && std::isfinite(odd_gain),
                "colours and gains must be finite");
        return stack;
    }

    static int checked_threads(int threads) {
        require(threads >= 0 && threads <= 256, "threads must be from 0 to 256, not " + std::to_string(threads));
        return threads ? threads : std::max(static_cast<int>(std::thread::hardware_concurrency()), 1);
    }

    Wasserstein distortion_;
    std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
};

}  // namespace

void bind_wasserstein(nb::module_& module) {
    nb::class_<SteerableWasserstein>(module, "SteerableWasserstein",
                                     "Wasserstein distortion from a picture on the steerable stack, with its gradient.")
        .def(nb::init<const Pixels&, const std::vector<Map>&, const std::vector<Map>&, const Matrix&, float, float, float,
                      float, float, bool, int, const std::string&>(),
             "pixels"_a, "log2_sigma"_a, "importance"_a, nb::kw_only(), "colours"_a, "pixel_gain"_a, "even_gain"_a, "odd_gain"_a,
             "weight"_a = 1.0f, "pixel_weight"_a = 0.0f, "holds_finest"_a = false, "threads"_a = 0, "isa"_a = "auto")
        .def("__call__", &SteerableWasserstein::call, "image"_a);
}

}  // namespace aquatint
