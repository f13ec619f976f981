#include "origins.h"

#include <cstdint>
#include <numeric>

#include "errors.h"

namespace aquatint {

extern const uint8_t kOriginsFile[];  // origins.bin, which CMake turns into a source file
extern const size_t kOriginsFileSize;

namespace {

constexpr int kTableGrids = 7;     // that every origin of the table has
constexpr int kHeaderNumbers = 5;  // context, parents, hidden, residuals, rows
constexpr int kOriginsPerRow = 16;

/// The i-th number of the file.
int table(size_t i) { return static_cast<int16_t>(kOriginsFile[2 * i] | kOriginsFile[2 * i + 1] << 8); }

/// Where the table has the rows for the networks of an architecture; none if it has not.
struct Rows {
    size_t first = 0, length = 0;
    int count = 0;
};

Rows find_rows(const Architecture& wanted) {
    for (size_t i = 0; i < kOriginsFileSize / 2;) {
        const auto sizes = group_sizes({kTableGrids, table(i), table(i + 1), table(i + 2), table(i + 3), 0});
        const Rows rows{i + kHeaderNumbers, std::accumulate(sizes.begin(), sizes.end(), size_t{0}), table(i + 4)};
        if (table(i) == wanted.context && table(i + 1) == wanted.parents && table(i + 2) == wanted.hidden &&
            table(i + 3) == wanted.residuals)
            return rows;
        i = rows.first + rows.length * rows.count;
    }
    return {};
}

/// Whether the i-th number of a group is one of the first layer's weights, whose rows have one number a grid.
bool is_first_layer(const Architecture& architecture, int group, int i) {
    return group == kSynthesisWeights && i < architecture.hidden * kTableGrids;
}

/// Whether a parameter of networks for seven grids exists in those for fewer: the last taps do not, nor do the last
/// columns of the synthesis' first layer.
bool exists(const Architecture& architecture, int group, int i) {
    if (group == kUpsampling) return i < 4 * (architecture.grids - 1);
    return !is_first_layer(architecture, group, i) || i % kTableGrids < architecture.grids;
}

}  // namespace

std::array<std::vector<int>, kGroups> origin(const Architecture& architecture, int which) {
    std::array<std::vector<int>, kGroups> groups;
    if (which == 0) {
        const auto sizes = group_sizes(architecture);
        for (int group = 0; group < kGroups; group++) groups[group].assign(sizes[group], 0);
        return groups;
    }
    const Rows rows = find_rows(architecture);
    const int row = (which - 1) / kOriginsPerRow, fraction = (which - 1) % kOriginsPerRow;
    if (architecture.grids > kTableGrids || row + (fraction > 0) >= rows.count)
        throw Error(kUnsupported, "origin " + number(which) + " is not known for networks of these sizes");
    Architecture full = architecture;
    full.grids = kTableGrids;
    full.noise = 0;
    const auto sizes = group_sizes(full);
    size_t above = rows.first + row * rows.length;
    const size_t step = fraction > 0 ? rows.length : 0;
    for (int group = 0; group < kGroups; group++)
        for (int i = 0; i < static_cast<int>(sizes[group]); i++, above++) {
            if (exists(architecture, group, i)) {
                const int sum = (kOriginsPerRow - fraction) * table(above) + fraction * table(above + step);
                groups[group].push_back((sum + kOriginsPerRow / 2) >> 4);
            }
            // Weights of noise follow those of the grids in every row, and count from zero.
            if (is_first_layer(architecture, group, i) && i % kTableGrids == kTableGrids - 1)
                groups[group].insert(groups[group].end(), architecture.noise, 0);
        }
    return groups;
}

int origin_integer(int value, int exponent) {
    if (exponent >= kOriginBits) return value * (1 << (exponent - kOriginBits));
    return (value + (1 << (kOriginBits - 1 - exponent))) >> (kOriginBits - exponent);
}

}  // namespace aquatint
