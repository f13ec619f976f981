// Coding the latents of a band of sixteen rows as a wavefront (docs/FORMAT.md, section 2.4).
//
// Decoding one latent after the other is bound by latency: about 150 cycles from the neighbours through the network and
// the entropy coder to the next neighbour. So sixteen rows are decoded side by side, each five columns behind the one
// above, because then nothing in a step depends on anything else in it. The latents of a step lie next to each other in
// a skewed copy of the band, in which a neighbour's offset is the same for all rows and loads are contiguous.
//
// Encoding and measuring take the same way with known latents.
#pragma once
#include <cstring>

#include "decode_kernels.h"
#include "entropy_network.h"

namespace aquatint::AQT_ISA {

struct Offset {
    int row, column;
};

constexpr Offset kNeighbours[kMaxContext] = {
    {0, -1},  {-1, 0}, {-1, -1}, {-1, 1}, {0, -2},  {-2, 0}, {-1, -2}, {-1, 2}, {-2, -1}, {-2, 1},  {0, -3}, {-3, 0},
    {-2, -2}, {-2, 2}, {-1, -3}, {-1, 3}, {-3, -1}, {-3, 1}, {-2, -3}, {-2, 3}, {0, -4},  {-3, -2}, {-3, 2}, {-1, 4}};

constexpr int kRowsAbove = 3;
constexpr int kFirstLane = 16;  // a step of the skewed copy: 13 unused, 3 rows above the band, its 16 rows, the parents
constexpr int kParentLanes = kFirstLane + kBandRows;
constexpr int kActivationScale = 64;

// ---- The skewed copy

struct Skewed {
    int16_t* origin;  // lane 0 of step 0
    ptrdiff_t stride;

    // The latent of row `lane` (counted in the band, negative above it) that is decoded in a step.
    ptrdiff_t at(int step, int lane) const { return step * stride + kFirstLane + lane; }
};

AQT_INLINE void copy_rows_above(const Skewed& skewed, const Band& band) {
    const int width = band.grid.width;
    for (int above = 1; above <= kRowsAbove && above <= band.first_row; above++) {
        const int16_t* row = band.grid.latents + static_cast<ptrdiff_t>(band.first_row - above) * width;
        int16_t* out = skewed.origin + skewed.at(-kLag * above, -above);
        for (int x = 0; x < width; x++) out[x * skewed.stride] = static_cast<int16_t>(kActivationScale * row[x]);
    }
}

/// Steps whose parents are copied together, just before they are needed: few enough to stay in the fastest cache.
constexpr int kParentSteps = 64;

/// Copies the parents of the latents of kParentSteps steps. Parent 0 is in the cell above the latent; the others are in
/// the nearest cells beside it.
AQT_INLINE void copy_parents(const Skewed& skewed, const Band& band, int parents, int rows, int first_step) {
    const GridView& coarser = band.coarser;
    if (coarser.latents == nullptr) return;
    for (int lane = 0; lane < rows; lane++) {
        const int y = band.first_row + lane;
        const int first = first_step - kLag * lane, last = first + kParentSteps;
        for (int parent = 0; parent < parents; parent++) {
            const int parent_row = (y >> 1) + (parent < 2 ? 0 : y % 2 ? 1 : -1);
            if (parent_row < 0 || parent_row >= coarser.height) continue;
            const int16_t* row = coarser.latents + static_cast<ptrdiff_t>(parent_row) * coarser.width;
            int16_t* out = skewed.origin + skewed.stride * kLag * lane + kParentLanes + kBandRows * parent + lane;
            const int aside = parent % 2;
            // Two columns share a cell. One more at either end is copied again, or never looked at.
            const int end = (last + 1) >> 1 < coarser.width ? (last + 1) >> 1 : coarser.width;
            for (int cell = first > 0 ? first >> 1 : 0; cell < end; cell++) {
                const int left = cell >= aside ? row[cell - aside] : 0;
                const int right = cell + aside < coarser.width ? row[cell + aside] : 0;
                out[2 * cell * skewed.stride] = static_cast<int16_t>(kActivationScale * left);
                out[(2 * cell + 1) * skewed.stride] = static_cast<int16_t>(kActivationScale * right);
            }
        }
    }
}

// ---- The wavefront

/// The placements of the sixteen latents of a step, field by field so that vectors can fill them.
struct Placements {
    int base[kBandRows], shift[kBandRows], table[kBandRows];

    Placements(const int32_t* z0, const int32_t* z1) {
        auto clamp = [](int v, int low, int high) { return v < low ? low : v > high ? high : v; };
        for (int lane = 0; lane < kBandRows; lane++) {
            const int mean = clamp((z0[lane] + 2) >> 2, -8192, 8191);
            const Placement placement = place(mean, clamp(40 + ((z1[lane] + 4) >> 3), 0, kScales - 1));
            base[lane] = placement.base;
            shift[lane] = placement.shift;
            table[lane] = placement.table;
        }
    }

    Placement operator[](int lane) const { return {base[lane], shift[lane], table[lane]}; }
};

/// Calls `code(latent, placement)` for every latent in coding order; it reads or writes the latent. Returns the first
/// latent out of range, or 0; `stop()` is asked after every step whether to go on.
template <int inputs, class Code, class Stop>
AQT_INLINE int code_band(const EntropyNetwork& network, const Band& band, Code code, Stop stop) {
    const int width = band.grid.width;
    const int rows_left = band.grid.height - band.first_row;
    const int rows = rows_left < kBandRows ? rows_left : kBandRows;
    const auto stride = static_cast<ptrdiff_t>(skewed_stride(network.parents));
    const Skewed skewed{band.skewed + kSkewedLead * stride, stride};
    std::memset(band.skewed, 0, skewed_size(width, network.parents) * sizeof(int16_t));
    copy_rows_above(skewed, band);

    ptrdiff_t offsets[inputs];
    for (int i = 0; i < inputs; i++) {
        const int parent = i - network.context;
        offsets[i] = parent >= 0 ? kParentLanes + kBandRows * parent
                                 : skewed.at(kNeighbours[i].column + kLag * kNeighbours[i].row, kNeighbours[i].row);
    }

    int16_t* const first = band.grid.latents + static_cast<ptrdiff_t>(band.first_row) * width;
    const int steps = width + kLag * (rows - 1);
    for (int step = 0; step < steps; step++) {
        if (step % kParentSteps == 0) copy_parents(skewed, band, network.parents, rows, step);
        int16_t* lanes = skewed.origin + step * stride;
        int32_t z0[kBandRows], z1[kBandRows];
        for (int lane = 0; lane < kBandRows; lane += kLanes)
            evaluate<inputs>(network, lanes + lane, offsets, z0 + lane, z1 + lane);
        const Placements placements(z0, z1);
        const int begin = step < width ? 0 : (step - width) / kLag + 1;
        const int end = step / kLag < rows ? step / kLag + 1 : rows;
        for (int lane = begin; lane < end; lane++) {
            // Row `lane`, column step - 5 lane.
            int16_t& latent = first[step + static_cast<ptrdiff_t>(width - kLag) * lane];
            const int value = code(latent, placements[lane]);
            if (value < -kLatentLimit || value > kLatentLimit) [[unlikely]]
                return value;
            lanes[kFirstLane + lane] = static_cast<int16_t>(kActivationScale * value);
        }
        if (stop()) [[unlikely]]
            return 0;
    }
    return 0;
}

template <class Code, class Stop>
AQT_INLINE int code_band(const EntropyNetwork& network, const Band& band, Code code, Stop stop) {
    switch (network.context + network.parents) {
        case 8: return code_band<8>(network, band, code, stop);
        case 16: return code_band<16>(network, band, code, stop);
        default: return code_band<24>(network, band, code, stop);
    }
}

static int decode_band(const EntropyNetwork& network, const Band& band, const uint16_t* tables, RansReader& reader) {
    RansReader local = reader;  // so that the compiler knows that nothing else changes it
    auto code = [&](int16_t& latent, const Placement& placement) {
        const int value = read_number(local, tables, placement);
        latent = static_cast<int16_t>(value);
        return value;
    };
    const int outlier = code_band(network, band, code, [&] { return local.exhausted; });
    reader = local;
    return outlier;
}

static Symbol* write_band(const EntropyNetwork& network, const Band& band, const uint16_t* tables, Symbol* out) {
    auto code = [&](int16_t latent, const Placement& placement) {
        out = write_number(out, latent, tables, placement);
        return int{latent};
    };
    code_band(network, band, code, [] { return false; });
    return out;
}

static double measure_band(const EntropyNetwork& network, const Band& band, const uint16_t* tables,
                           const float* costs) {
    double bits = 0;
    auto code = [&](int16_t latent, const Placement& placement) {
        bits += cost_of_number(latent, tables, costs, placement);
        return int{latent};
    };
    code_band(network, band, code, [] { return false; });
    return bits;
}

}  // namespace aquatint::AQT_ISA
