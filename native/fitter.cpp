// The Python class Fitter: checks of its arguments around the fit.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>

#include "fit.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace aquatint {
namespace {

using Array = nb::ndarray<nb::numpy, float>;
using Pixels = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Latents = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr int kMaxThreads = 256;
constexpr int kMaxSide = 65535;
constexpr double kGreatestDecay = 0.9999;

void require(bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument(message);
}

void require_between(const char* name, double value, double low, double high) {
    const auto text = [](double x) {
        char buffer[32];
        std::snprintf(buffer, sizeof buffer, "%g", x);
        return std::string(buffer);
    };
    require(value >= low && value <= high,
            std::string(name) + " must be from " + text(low) + " to " + text(high) + ", not " + text(value));
}

template <class T>
std::string shape_of(const T& array) {
    std::string text;
    for (std::size_t i = 0; i < array.ndim(); ++i) text += (i ? "x" : "") + std::to_string(array.shape(i));
    return text;
}

/// An array with memory of its own, not yet filled.
Array new_array(std::initializer_list<std::size_t> shape) {
    std::size_t size = 1;
    for (std::size_t n : shape) size *= n;
    float* data = new float[size];
    return Array(data, shape, nb::capsule(data, [](void* p) noexcept { delete[] static_cast<float*>(p); }));
}

Array to_array(const std::vector<float>& values) {
    Array array = new_array({values.size()});
    std::copy(values.begin(), values.end(), array.data());
    return array;
}

class Fitter {
public:
    Fitter(const Pixels& pixels, int grids, int context, int parents, int hidden, int residuals, int noise,
           bool skip_finest, int threads, const std::string& isa)
        : fit_(checked(pixels).data(), static_cast<int>(pixels.shape(1)), static_cast<int>(pixels.shape(2)),
               checked({grids, context, parents, hidden, residuals, noise}), checked_skip(skip_finest, grids),
               checked_threads(threads), choose_isa(isa)),
          picture_(3 * fit_.pixels()) {}

    Array parameters() { return to_array(fit_.parameters()); }

    void set_parameters(const Vector& values) {
        const Turn turn(*this);
        const std::vector<float> checked = checked_vector("parameters", values);
        std::copy(checked.begin(), checked.end(), fit_.parameters().begin());
    }

    void set_origin(const Vector& values) {
        const Turn turn(*this);
        fit_.origin() = checked_vector("origin", values);
    }

    void separate_finest(const std::optional<Latents>& shares) {
        const Turn turn(*this);
        if (!shares) {
            fit_.separation().reset();
            return;
        }
        const Grid& grid = fit_.grids()[fit_.first_grid()];
        require(shares->shape(0) == std::size_t(grid.height) && shares->shape(1) == std::size_t(grid.width),
                "shares must be " + std::to_string(grid.height) + "x" + std::to_string(grid.width) + ", not " +
                    shape_of(*shares));
        require(std::all_of(shares->data(), shares->data() + shares->size(), [](float x) { return x >= 0 && x <= 1; }),
                "shares must be from 0 to 1");
        const Separation& separation = fit_.separation().emplace(grid.height, grid.width);
        for (int y = 0; y < grid.height; ++y)
            std::copy_n(shares->data() + std::size_t(y) * grid.width, grid.width, separation.shares.row(y));
    }

    Array latents(int k) {
        const Grid& grid = checked_grid(k);
        return copy_of(grid, grid.latents);
    }

    void set_latents(int k, const Latents& values) {
        const Turn turn(*this);
        const Grid& grid = checked_grid(k);
        const std::string expected = std::to_string(grid.height) + "x" + std::to_string(grid.width);
        require(values.shape(0) == std::size_t(grid.height) && values.shape(1) == std::size_t(grid.width),
                "latents of grid " + std::to_string(k) + " must be " + expected + ", not " + shape_of(values));
        require(std::all_of(values.data(), values.data() + values.size(),
                            [](float x) { return std::abs(x) <= kLatentLimit; }),
                "latents must be finite and from -511 to 511");
        require(k >= fit_.first_grid() || std::all_of(values.data(), values.data() + values.size(),
                                                      [](float x) { return x == 0; }),
                "the finest grid is skipped: its latents must be 0");
        for (int y = 0; y < grid.height; ++y)
            std::copy_n(values.data() + std::size_t(y) * grid.width, grid.width, grid.latents.row(y));
    }

    std::pair<double, double> step(double temperature, double noise, double lagrangian, double latent_rate,
                                   double network_rate, uint32_t seed, const nb::object& distortion) {
        const Turn turn(*this);
        require_between("latent_rate", latent_rate, 0, 1);
        require_between("network_rate", network_rate, 0, 1);
        require(latent_rate == 0 || temperature != 0,
                "hard-rounded latents (temperature 0) have no gradient: latent_rate must be 0");
        const Pass pass = checked_pass(temperature, noise, lagrangian, seed, latent_rate > 0, network_rate > 0);
        const auto result = differentiate(pass, distortion);
        const nb::gil_scoped_release release;
        fit_.descend(pass, static_cast<float>(latent_rate), static_cast<float>(network_rate));
        return result;
    }

    std::tuple<double, double, Array, std::vector<Array>> gradients(double temperature, double noise, double lagrangian,
                                                                    uint32_t seed, const nb::object& distortion) {
        const Turn turn(*this);
        const auto [value, bits] =
            differentiate(checked_pass(temperature, noise, lagrangian, seed, true, true), distortion);
        std::vector<Array> latent_gradients;
        for (const Grid& grid : fit_.grids()) {
            Array array = copy_of(grid, grid.gradient);
            float* p = array.data();
            for (int y = 0; y < grid.height; ++y)
                for (int x = 0; x < grid.width; ++x) *p++ *= grid.slopes.row(y)[x];
            latent_gradients.push_back(array);
        }
        return {value, bits, to_array(fit_.parameter_gradient()), latent_gradients};
    }

    std::pair<double, std::vector<double>> evaluate() {
        const Turn turn(*this);
        const nb::gil_scoped_release release;
        const std::vector<double> bits = fit_.forward(Pass{});
        return {fit_.squared_error(false), bits};
    }

    Array render() {
        const Turn turn(*this);
        Array picture = new_array({3, std::size_t(fit_.height()), std::size_t(fit_.width())});
        const nb::gil_scoped_release release;
        fit_.forward(Pass{});
        fit_.export_picture(picture.data());
        return picture;
    }

    void reset_optimiser(double latent_decay, double network_decay) {
        const Turn turn(*this);
        require_between("latent_decay", latent_decay, 0, kGreatestDecay);
        require_between("network_decay", network_decay, 0, kGreatestDecay);
        fit_.reset_optimiser(static_cast<float>(latent_decay), static_cast<float>(network_decay));
    }

private:
    /// One caller at a time: the interpreter's lock is released during the work, and the distortion is foreign code.
    class Turn {
    public:
        explicit Turn(Fitter& fitter) : busy_(fitter.busy_) {
            if (busy_.test_and_set())
                throw std::runtime_error("the fitter is at work already, in another thread or around this call");
        }
        ~Turn() { busy_.clear(); }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

    private:
        std::atomic_flag& busy_;
    };

    static const Pixels& checked(const Pixels& pixels) {
        require(pixels.shape(0) == 3 && pixels.shape(1) > 0 && pixels.shape(2) > 0,
                "pixels must be 3xHxW, not " + shape_of(pixels));
        require(pixels.shape(1) <= kMaxSide && pixels.shape(2) <= kMaxSide,
                "a picture has at most 65535 rows and columns, not " + shape_of(pixels));
        require(std::all_of(pixels.data(), pixels.data() + pixels.size(), [](float x) { return std::isfinite(x); }),
                "pixels must be finite");
        return pixels;
    }

    std::vector<float> checked_vector(const std::string& name, const Vector& values) {
        const std::size_t size = fit_.parameters().size();
        require(values.shape(0) == size,
                name + " must be " + std::to_string(size) + " numbers, not " + shape_of(values));
        std::vector<float> numbers(values.data(), values.data() + size);
        require(std::all_of(numbers.begin(), numbers.end(), [](float x) { return std::isfinite(x); }),
                name + " must be finite");
        return numbers;
    }

    static NetworkShape checked(const NetworkShape& shape) {
        require_between("grids", shape.grids, 1, kMaxGrids);
        require_between("context", shape.context, 0, kMaxInputs);
        require_between("parents", shape.parents, 0, 4);
        const int inputs = shape.context + shape.parents;
        require(inputs == 8 || inputs == 16 || inputs == 24,
                "context + parents must be 8, 16 or 24, not " + std::to_string(inputs));
        require_between("hidden", shape.hidden, 4, kMaxHidden);
        require(shape.hidden % 4 == 0, "hidden must be a multiple of 4, not " + std::to_string(shape.hidden));
        require_between("residuals", shape.residuals, 0, 4);
        require_between("noise", shape.noise, 0, std::min(kMaxNoise, shape.grids));
        return shape;
    }

    static bool checked_skip(bool skip_finest, int grids) {
        require(!skip_finest || grids > 1, "the only grid cannot be skipped");
        return skip_finest;
    }

    static int checked_threads(int threads) {
        require_between("threads", threads, 0, kMaxThreads);
        return threads ? threads : std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);
    }

    const Grid& checked_grid(int k) {
        require_between("grid", k, 0, static_cast<double>(fit_.grids().size()) - 1);
        return fit_.grids()[k];
    }

    static Pass checked_pass(double temperature, double noise, double lagrangian, uint32_t seed, bool latents,
                             bool networks) {
        if (temperature != 0) require_between("temperature", temperature, 0.01, 100);
        require_between("noise", noise, 0, 1);
        require_between("lagrangian", lagrangian, 0, 1e6);
        return {static_cast<float>(temperature),
                static_cast<float>(noise),
                static_cast<float>(lagrangian),
                seed,
                latents,
                networks};
    }

    static Array copy_of(const Grid& grid, const OwnedPlane& plane) {
        Array array = new_array({std::size_t(grid.height), std::size_t(grid.width)});
        for (int y = 0; y < grid.height; ++y)
            std::copy_n(plane.row(y), grid.width, array.data() + std::size_t(y) * grid.width);
        return array;
    }

    /// Value of the distortion and bits, with the gradients of `pass` left in the fit.
    std::pair<double, double> differentiate(const Pass& pass, const nb::object& distortion) {
        double bits = 0, value = 0;
        {
            const nb::gil_scoped_release release;
            for (double b : fit_.forward(pass)) bits += b;
            if (distortion.is_none())
                value = fit_.squared_error(pass.gradient());
            else
                fit_.export_picture(picture_.data());
        }
        if (!distortion.is_none()) value = call(distortion);
        const nb::gil_scoped_release release;
        if (pass.gradient()) fit_.backward(pass);
        return {value, bits};
    }

    double call(const nb::object& distortion) {
        const std::size_t height = fit_.height(), width = fit_.width();
        const Array picture(picture_.data(), {3, height, width}, nb::find(this));
        const auto [value, gradient] = nb::cast<std::pair<double, Pixels>>(distortion(picture));
        require(gradient.shape(0) == 3 && gradient.shape(1) == height && gradient.shape(2) == width,
                "the distortion's gradient must be 3x" + std::to_string(height) + "x" + std::to_string(width) +
                    ", not " + shape_of(gradient));
        require(fit_.import_gradient(gradient.data()), "the distortion's gradient must be finite");
        return value;
    }

    Fit fit_;
    Buffer picture_;  // what the distortion sees
    std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
};

}  // namespace

void bind_fitter(nb::module_& module) {
    nb::class_<Fitter>(module, "Fitter", "The fit of an overfitted codec to one picture, on the CPU.")
        .def(nb::init<const Pixels&, int, int, int, int, int, int, bool, int, const std::string&>(), "pixels"_a,
             nb::kw_only(), "grids"_a, "context"_a, "parents"_a, "hidden"_a, "residuals"_a, "noise"_a = 0,
             "skip_finest"_a = false, "threads"_a = 0, "isa"_a = "auto")
        // The array is new: the policy says that it need not be tied to the fitter.
        .def_prop_rw("parameters", &Fitter::parameters, &Fitter::set_parameters, nb::for_getter(nb::rv_policy::move))
        .def("set_origin", &Fitter::set_origin, "values"_a)
        .def("separate_finest", &Fitter::separate_finest, "shares"_a.none())
        .def("latents", &Fitter::latents, "k"_a)
        .def("set_latents", &Fitter::set_latents, "k"_a, "values"_a)
        .def("step", &Fitter::step, "temperature"_a, "noise"_a, "lagrangian"_a, "latent_rate"_a, "network_rate"_a,
             "seed"_a, "distortion"_a = nb::none())
        .def("gradients", &Fitter::gradients, "temperature"_a, "noise"_a, "lagrangian"_a, "seed"_a,
             "distortion"_a = nb::none())
        .def("evaluate", &Fitter::evaluate)
        .def("render", &Fitter::render)
        .def("reset_optimiser", &Fitter::reset_optimiser, "latent_decay"_a, "network_decay"_a);
}

}  // namespace aquatint
