// Python bindings of the overfitted stream.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "errors.h"
#include "kernel_choice.h"
#include "origins.h"
#include "stream.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace aquatint {
namespace {

constexpr int kMaxSide = 65535;

using Shape = std::tuple<int, int, int, int, int, int>;  // grids, context, parents, hidden, residuals, noise
using Integers = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Grid = nb::ndarray<const int16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

Architecture architecture_of(const Shape& shape) {
    const auto [grids, context, parents, hidden, residuals, noise] = shape;
    return {grids, context, parents, hidden, residuals, noise};
}

Parameters parameters_of(const std::array<Integers, kGroups>& values, const std::array<int, kGroups>& exponents,
                         int origin) {
    Parameters parameters{{}, exponents, origin};
    for (int group = 0; group < kGroups; group++)
        parameters.values[group].assign(values[group].data(), values[group].data() + values[group].size());
    return parameters;
}

GridViews views_of(const std::vector<Grid>& latents) {
    GridViews views;
    for (const Grid& grid : latents) {
        if (grid.shape(0) > INT32_MAX || grid.shape(1) > INT32_MAX)
            throw Error(kUsage, "a grid of latents has more than 2147483647 rows or columns");
        // Coding known latents only reads them.
        views.push_back(
            {static_cast<int>(grid.shape(0)), static_cast<int>(grid.shape(1)), const_cast<int16_t*>(grid.data())});
    }
    return views;
}

std::span<const uint8_t> span_of(const nb::bytes& payload) {
    return {static_cast<const uint8_t*>(payload.data()), payload.size()};
}

/// A NumPy array that owns the memory.
template <class T>
nb::ndarray<nb::numpy, T> array_of(std::unique_ptr<T[]> data, std::vector<size_t> shape) {
    T* const first = data.release();
    nb::capsule owner(first, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return nb::ndarray<nb::numpy, T>(first, shape.size(), shape.data(), owner);
}

nb::object decode(nb::bytes payload, int height, int width, int depth, bool grayscale, int threads,
                  const std::string& isa) {
    const Isa chosen = choose_isa(isa);
    const auto bytes = span_of(payload);
    Picture picture;
    {
        nb::gil_scoped_release release;
        StreamReader reader(bytes);
        const Latents latents = reader.latents(height, width, chosen);
        picture = render(reader.architecture, reader.parameters, latents, depth, grayscale, threads, chosen);
    }
    std::vector<size_t> shape{static_cast<size_t>(picture.height), static_cast<size_t>(picture.width)};
    if (picture.channels == 3) shape.push_back(3);
    uint8_t* const first = picture.samples.release();
    nb::capsule owner(first, [](void* p) noexcept { delete[] static_cast<uint8_t*>(p); });
    if (picture.depth == 8) return nb::cast(nb::ndarray<nb::numpy, uint8_t>(first, shape.size(), shape.data(), owner));
    return nb::cast(nb::ndarray<nb::numpy, uint16_t>(first, shape.size(), shape.data(), owner));
}

nb::list decode_latents(nb::bytes payload, int height, int width, const std::string& isa) {
    const Isa chosen = choose_isa(isa);
    const auto bytes = span_of(payload);
    Latents latents;
    {
        nb::gil_scoped_release release;
        latents = StreamReader(bytes).latents(height, width, chosen);
        for (size_t k = 0; k < latents.grids.size(); k++)
            if (latents.grids[k] == nullptr)
                latents.grids[k] =
                    std::make_unique<int16_t[]>(static_cast<size_t>(latents.sizes[k].height) * latents.sizes[k].width);
    }
    nb::list arrays;
    for (size_t k = 0; k < latents.grids.size(); k++)
        arrays.append(array_of(std::move(latents.grids[k]), {static_cast<size_t>(latents.sizes[k].height),
                                                             static_cast<size_t>(latents.sizes[k].width)}));
    return arrays;
}

nb::list arrays_of(const std::array<std::vector<int>, kGroups>& groups) {
    nb::list arrays;
    for (const auto& group : groups) {
        auto data = std::make_unique<int32_t[]>(group.size());
        std::copy(group.begin(), group.end(), data.get());
        arrays.append(array_of(std::move(data), {group.size()}));
    }
    return arrays;
}

nb::tuple decode_parameters(nb::bytes payload) {
    const StreamReader reader(span_of(payload));
    const Architecture& a = reader.architecture;
    return nb::make_tuple(Shape{a.grids, a.context, a.parents, a.hidden, a.residuals, a.noise},
                          arrays_of(reader.parameters.values), reader.parameters.exponents, reader.parameters.origin,
                          reader.mask);
}

nb::list origin_of(const Shape& shape, int which) {
    const Architecture architecture = architecture_of(shape);
    check_architecture(architecture, kUsage);
    require(kUsage, "number of the origin", which, 0, UINT8_MAX);
    return arrays_of(origin(architecture, which));
}

nb::bytes encode(const Shape& shape, const std::array<Integers, kGroups>& values,
                 const std::array<int, kGroups>& exponents, int origin, const std::vector<Grid>& latents,
                 const std::string& isa) {
    const Isa chosen = choose_isa(isa);
    const Parameters parameters = parameters_of(values, exponents, origin);
    const GridViews views = views_of(latents);
    std::vector<uint8_t> out;
    {
        nb::gil_scoped_release release;
        out = write_stream(architecture_of(shape), parameters, views, chosen);
    }
    return nb::bytes(out.data(), out.size());
}

std::tuple<std::vector<double>, std::array<double, kGroups>> measure(const Shape& shape,
                                                                     const std::array<Integers, kGroups>& values,
                                                                     const std::array<int, kGroups>& exponents,
                                                                     int origin, const std::vector<Grid>& latents,
                                                                     const std::string& isa) {
    const Isa chosen = choose_isa(isa);
    const Parameters parameters = parameters_of(values, exponents, origin);
    const GridViews views = views_of(latents);
    nb::gil_scoped_release release;
    const Costs costs = measure_stream(architecture_of(shape), parameters, views, chosen);
    return {costs.grids, costs.groups};
}

nb::ndarray<nb::numpy, float> noise(int grid, int height, int width, const std::string& isa) {
    require(kUsage, "grid", grid, 0, kMaxNoise - 1);
    require(kUsage, "height", height, 1, kMaxSide);
    require(kUsage, "width", width, 1, kMaxSide);
    const DecodeKernels& kernels = kernels_for(choose_isa(isa));
    const size_t size = static_cast<size_t>(height) * width;
    auto samples = std::make_unique_for_overwrite<float[]>(size);
    std::vector<float> row(static_cast<size_t>(width) + 15);
    for (int y = 0; y < height; y++) {
        kernels.noise_row(grid, y, width, row.data());
        std::copy_n(row.data(), width, samples.get() + static_cast<size_t>(y) * width);
    }
    return array_of(std::move(samples), {static_cast<size_t>(height), static_cast<size_t>(width)});
}

void raise(const char* kind, const char* message) {
    const nb::object type = nb::module_::import_("aquatint.errors").attr(kind);
    PyErr_SetString(type.ptr(), message);
}

}  // namespace

void bind_decoder(nb::module_& module) {
    nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
        try {
            std::rethrow_exception(thrown);
        } catch (const Error& error) {
            raise(error.kind, error.what());
        } catch (const std::invalid_argument& error) {
            raise(kUsage, error.what());
        }
    });
    module.def("decode", &decode, "payload"_a, "height"_a, "width"_a, "depth"_a = 8, "grayscale"_a = false,
               "threads"_a = 0, "isa"_a = "auto");
    module.def("decode_latents", &decode_latents, "payload"_a, "height"_a, "width"_a, "isa"_a = "auto");
    module.def("decode_parameters", &decode_parameters, "payload"_a);
    module.def("origin", &origin_of, "architecture"_a, "which"_a);
    module.def("encode", &encode, "architecture"_a, "parameters"_a.noconvert(), "exponents"_a, "origin"_a,
               "latents"_a.noconvert(), "isa"_a = "auto");
    module.def("measure", &measure, "architecture"_a, "parameters"_a.noconvert(), "exponents"_a, "origin"_a,
               "latents"_a.noconvert(), "isa"_a = "auto");
    module.def("noise", &noise, "grid"_a, "height"_a, "width"_a, "isa"_a = "auto");
}

}  // namespace aquatint
