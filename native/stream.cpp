#include "stream.h"

#include <algorithm>
#include <string>

#include "errors.h"
#include "kernel_choice.h"
#include "origins.h"
#include "rans_bytes.h"

namespace aquatint {
namespace {

constexpr int kMaxSide = 65535;
constexpr size_t kFixedBytes = 4 + kGroups + 2;  // architecture, exponents and code scales, mask
constexpr int kCodeScales = 16;

Placement parameter_placement(int code_scale) { return place(0, 4 + 5 * code_scale); }

void check_parameters(const Architecture& architecture, const Parameters& parameters) {
    require(kUsage, "number of the origin", parameters.origin, 0, UINT8_MAX);
    const auto sizes = group_sizes(architecture);
    for (int group = 0; group < kGroups; group++) {
        const auto& values = parameters.values[group];
        if (values.size() != sizes[group])
            throw Error(kUsage, std::string("the ") + kGroupNames[group] + " are " + number(values.size()) +
                                    " numbers, not " + number(sizes[group]));
        check_exponent(group, parameters.exponents[group], values.empty(), kUsage);
        for (int value : values) check_parameter(group, parameters.exponents[group], value, kUsage);
    }
}

void check_grids(const Architecture& architecture, const GridViews& grids) {
    if (grids.size() != static_cast<size_t>(architecture.grids))
        throw Error(kUsage, number(grids.size()) + " grids of latents given, not " + number(architecture.grids));
    require(kUsage, "height", grids[0].height, 1, kMaxSide);
    require(kUsage, "width", grids[0].width, 1, kMaxSide);
    for (int k = 0; k < architecture.grids; k++) {
        const auto [height, width] = grid_size(grids[0].height, grids[0].width, k);
        const GridView& grid = grids[k];
        if (grid.height != height || grid.width != width)
            throw Error(kUsage, "grid " + number(k) + " has " + number(grid.height) + "x" + number(grid.width) +
                                    " latents, not " + number(height) + "x" + number(width));
        for (const int16_t* p = grid.latents; p != grid.latents + static_cast<size_t>(height) * width; p++)
            if (*p < -kLatentLimit || *p > kLatentLimit)
                throw Error(kUsage, "a latent of grid " + number(k) + " is " + number(*p) + ", outside " +
                                        number(-kLatentLimit) + " to " + number(kLatentLimit));
    }
}

/// Calls visit(k, band) for all bands of all grids with latents, in coding order.
template <class Visit>
void for_each_band(const Architecture& architecture, const GridViews& grids, Visit visit) {
    int width = 0;
    for (const GridView& grid : grids)
        if (grid.latents != nullptr) width = std::max(width, grid.width);
    const auto skewed = aligned_array<int16_t>(skewed_size(width, architecture.parents));
    for (int k = architecture.grids - 1; k >= 0; k--) {
        if (grids[k].latents == nullptr) continue;
        const GridView coarser = k + 1 < architecture.grids ? grids[k + 1] : GridView{0, 0, nullptr};
        for (int row = 0; row < grids[k].height; row += kBandRows) visit(k, Band{grids[k], coarser, row, skewed.get()});
    }
}

// ---- Writing

/// Grids of zeros have no latents to code.
GridViews without_zero_grids(GridViews grids) {
    for (GridView& grid : grids) {
        const auto* end = grid.latents + static_cast<size_t>(grid.height) * grid.width;
        if (std::all_of(static_cast<const int16_t*>(grid.latents), end, [](int16_t latent) { return latent == 0; }))
            grid.latents = nullptr;
    }
    return grids;
}

/// What is coded of the parameters: their differences from the origin.
std::array<std::vector<int>, kGroups> differences_from_origin(const Architecture& architecture,
                                                              const Parameters& parameters) {
    auto differences = origin(architecture, parameters.origin);
    for (int group = 0; group < kGroups; group++)
        for (size_t i = 0; i < differences[group].size(); i++)
            differences[group][i] = parameters.values[group][i] -
                                    origin_integer(differences[group][i], parameters.exponents[group]);
    return differences;
}

double cost_of_group(const std::vector<int>& values, int code_scale) {
    const Placement placement = parameter_placement(code_scale);
    double bits = 0;
    for (int value : values) bits += cost_of_number(value, cumulative_tables(), symbol_costs(), placement);
    return bits;
}

int best_code_scale(const std::vector<int>& values) {
    int best = 0;
    double least = cost_of_group(values, 0);
    for (int scale = 1; scale < kCodeScales; scale++) {
        const double bits = cost_of_group(values, scale);
        if (bits < least) {
            least = bits;
            best = scale;
        }
    }
    return best;
}

}  // namespace

GridSize grid_size(int height, int width, int k) {
    const int last = (1 << k) - 1;
    return {(height + last) >> k, (width + last) >> k};
}

// ---- Reading

StreamReader::StreamReader(std::span<const uint8_t> payload) {
    if (payload.size() < kFixedBytes + kStateBytes)
        throw Error(kTruncated, "the stream has " + number(payload.size()) + " bytes, fewer than the " +
                                    number(kFixedBytes + kStateBytes) + " of its fixed part");
    architecture = {payload[0] & 15, payload[1] & 31, payload[1] >> 5, payload[2] & ~3, payload[0] >> 4, payload[2] & 3};
    check_architecture(architecture, kCorrupt);
    parameters.origin = payload[3];
    const auto origins = origin(architecture, parameters.origin);
    const auto sizes = group_sizes(architecture);
    std::array<int, kGroups> code_scales;
    for (int group = 0; group < kGroups; group++) {
        const uint8_t byte = payload[4 + group];
        parameters.exponents[group] = byte & 15;
        code_scales[group] = byte >> 4;
        check_exponent(group, parameters.exponents[group], sizes[group] == 0, kCorrupt);
        if (sizes[group] == 0)
            require(kCorrupt, std::string("code scale of the absent ") + kGroupNames[group], code_scales[group], 0, 0);
    }
    mask = payload[4 + kGroups] | payload[5 + kGroups] << 8;
    require(kCorrupt, "mask of grids", mask, 0, (1 << architecture.grids) - 1);

    reader_ = open_reader(payload.subspan(kFixedBytes));

    for (int group = 0; group < kGroups; group++) {
        const Placement placement = parameter_placement(code_scales[group]);
        auto& values = parameters.values[group];
        values.reserve(sizes[group]);
        for (size_t i = 0; i < sizes[group]; i++) {
            const int value = read_number(reader_, cumulative_tables(), placement) +
                              origin_integer(origins[group][i], parameters.exponents[group]);
            if (reader_.exhausted)
                throw Error(kTruncated, "the stream's " + number(payload.size()) + " bytes end at number " + number(i) +
                                            " of the " + number(sizes[group]) + " " + kGroupNames[group]);
            check_parameter(group, parameters.exponents[group], value, kCorrupt);
            values.push_back(value);
        }
    }
}

Latents StreamReader::latents(int height, int width, Isa isa) {
    require(kUsage, "height", height, 1, kMaxSide);
    require(kUsage, "width", width, 1, kMaxSide);
    Latents latents;
    latents.grids.resize(architecture.grids);
    GridViews views;
    for (int k = 0; k < architecture.grids; k++) {
        const auto size = grid_size(height, width, k);
        latents.sizes.push_back(size);
        views.push_back({size.height, size.width, nullptr});
    }
    const EntropyNetwork network = entropy_network(architecture, parameters);
    const DecodeKernels& kernels = kernels_for(isa);
    const auto skewed = aligned_array<int16_t>(skewed_size(width, architecture.parents));
    for (int k = architecture.grids - 1; k >= 0; k--) {
        if ((mask >> k & 1) == 0) continue;
        // Only now, so that a stream that fails in a coarse grid has not taken the memory of the fine ones.
        GridView& grid = views[k];
        latents.grids[k] = std::make_unique_for_overwrite<int16_t[]>(static_cast<size_t>(grid.height) * grid.width);
        grid.latents = latents.grids[k].get();
        const GridView coarser = k + 1 < architecture.grids ? views[k + 1] : GridView{0, 0, nullptr};
        for (int row = 0; row < grid.height; row += kBandRows) {
            const int outlier =
                kernels.decode_band(network, Band{grid, coarser, row, skewed.get()}, cumulative_tables(), reader_);
            const std::string where = "grid " + number(k) + ", rows from " + number(row) + " of " + number(grid.height);
            if (reader_.exhausted) throw Error(kTruncated, "the stream ends in " + where);
            if (outlier != 0) require(kCorrupt, "a latent in " + where, outlier, -kLatentLimit, kLatentLimit);
        }
    }
    check_end(reader_);
    return latents;
}

std::vector<uint8_t> write_stream(const Architecture& architecture, const Parameters& parameters,
                                  const GridViews& grids, Isa isa) {
    check_architecture(architecture, kUsage);
    check_parameters(architecture, parameters);
    check_grids(architecture, grids);
    const GridViews coded = without_zero_grids(grids);

    std::vector<uint8_t> out = {static_cast<uint8_t>(architecture.grids | architecture.residuals << 4),
                                static_cast<uint8_t>(architecture.context | architecture.parents << 5),
                                static_cast<uint8_t>(architecture.hidden | architecture.noise),
                                static_cast<uint8_t>(parameters.origin)};
    const auto differences = differences_from_origin(architecture, parameters);
    std::vector<Symbol> symbols;
    for (int group = 0; group < kGroups; group++) {
        const int code_scale = best_code_scale(differences[group]);
        out.push_back(static_cast<uint8_t>(parameters.exponents[group] | code_scale << 4));
        for (int value : differences[group]) {
            Symbol written[kSymbolsPerNumber];
            const Symbol* end = write_number(written, value, cumulative_tables(), parameter_placement(code_scale));
            symbols.insert(symbols.end(), std::begin(written), written + (end - written));
        }
    }
    unsigned mask = 0;
    for (int k = 0; k < architecture.grids; k++) mask |= static_cast<unsigned>(coded[k].latents != nullptr) << k;
    out.push_back(static_cast<uint8_t>(mask));
    out.push_back(static_cast<uint8_t>(mask >> 8));

    const EntropyNetwork network = entropy_network(architecture, parameters);
    const size_t most = static_cast<size_t>(kSymbolsPerNumber) * kBandRows * grids[0].width;
    const auto written = std::make_unique_for_overwrite<Symbol[]>(most);
    for_each_band(architecture, coded, [&](int, const Band& band) {
        const Symbol* end = kernels_for(isa).write_band(network, band, cumulative_tables(), written.get());
        symbols.insert(symbols.end(), static_cast<const Symbol*>(written.get()), end);
    });
    append_coded(symbols, out);
    return out;
}

Costs measure_stream(const Architecture& architecture, const Parameters& parameters, const GridViews& grids, Isa isa) {
    check_architecture(architecture, kUsage);
    check_parameters(architecture, parameters);
    check_grids(architecture, grids);
    Costs costs{std::vector<double>(grids.size(), 0.0), {}};
    const auto differences = differences_from_origin(architecture, parameters);
    for (int group = 0; group < kGroups; group++)
        costs.groups[group] = cost_of_group(differences[group], best_code_scale(differences[group]));
    const EntropyNetwork network = entropy_network(architecture, parameters);
    for_each_band(architecture, without_zero_grids(grids), [&](int k, const Band& band) {
        costs.grids[k] += kernels_for(isa).measure_band(network, band, cumulative_tables(), symbol_costs());
    });
    return costs;
}

}  // namespace aquatint
