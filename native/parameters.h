// Sizes and parameters of the networks as they are in the stream (docs/FORMAT.md, 2.1 and 2.2), and the networks they
// make.
#pragma once
#include <array>
#include <cstddef>
#include <vector>

#include "decode_kernels.h"

namespace aquatint {

struct Architecture {
    int grids, context, parents, hidden, residuals, noise;

    int inputs() const { return context + parents; }
};

enum Group {
    kEntropyWeights,
    kEntropyBiases,
    kUpsampling,
    kSynthesisWeights,
    kSynthesisBiases,
    kResidualWeights,
    kResidualBiases
};
constexpr int kGroups = 7;
constexpr const char* kGroupNames[kGroups] = {"entropy weights",   "entropy biases",   "upsampling",
                                              "synthesis weights", "synthesis biases", "residual weights",
                                              "residual biases"};

/// Integers times 2^-exponent, in seven groups, and the origin that the stream counts them from.
struct Parameters {
    std::array<std::vector<int>, kGroups> values;
    std::array<int, kGroups> exponents{};
    int origin = 0;
};

/// The number of parameters in every group.
std::array<size_t, kGroups> group_sizes(const Architecture& architecture);

/// Checks against the limits of the format; `kind` is the error to raise.
void check_architecture(const Architecture& architecture, const char* kind);
void check_exponent(int group, int exponent, bool empty, const char* kind);
void check_parameter(int group, int exponent, int value, const char* kind);

EntropyNetwork entropy_network(const Architecture& architecture, const Parameters& parameters);
PictureNetwork picture_network(const Architecture& architecture, const Parameters& parameters);

}  // namespace aquatint
