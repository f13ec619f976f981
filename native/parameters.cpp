#include "parameters.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "errors.h"

namespace aquatint {
namespace {

constexpr int kMaxParameter = 32767;
constexpr int kWeightBits = 10;  // fraction bits of the entropy network's weights
constexpr int kBiasBits = 16;    // and of its biases
constexpr int kMaxExponents[kGroups] = {kWeightBits, 15, 15, 15, 15, 15, 15};

/// Takes the integers of a group one after the other.
class Values {
  public:
    Values(const Parameters& parameters, int group)
        : next_(parameters.values[group].data()), step_(std::ldexp(1.f, -parameters.exponents[group])) {}

    int integer() { return *next_++; }
    float real() { return static_cast<float>(integer()) * step_; }

  private:
    const int* next_;
    float step_;
};

}  // namespace

std::array<size_t, kGroups> group_sizes(const Architecture& a) {
    const auto inputs = static_cast<size_t>(a.inputs()), hidden = static_cast<size_t>(a.hidden);
    const auto grids = static_cast<size_t>(a.grids), residuals = static_cast<size_t>(a.residuals);
    const auto noise = static_cast<size_t>(a.noise);
    return {2 * inputs * inputs + 2 * inputs,
            2 * inputs + 2,
            4 * (grids - 1),
            hidden * (grids + noise + 3),
            hidden + 3,
            81 * residuals,
            3 * residuals};
}

void check_architecture(const Architecture& a, const char* kind) {
    require(kind, "number of grids", a.grids, 1, kMaxGrids);
    require(kind, "number of residual layers", a.residuals, 0, kMaxResiduals);
    require(kind, "number of causal neighbours", a.context, 0, kMaxContext);
    require(kind, "number of parents", a.parents, 0, kMaxParents);
    if (a.inputs() != 8 && a.inputs() != 16 && a.inputs() != 24)
        throw Error(kind, "the entropy network has " + number(a.inputs()) + " inputs, not 8, 16 or 24");
    require(kind, "hidden width", a.hidden, 4, kMaxHidden);
    if (a.hidden % 4 != 0) throw Error(kind, "hidden width is " + number(a.hidden) + ", not a multiple of 4");
    require(kind, "number of noise grids", a.noise, 0, std::min(kMaxNoise, a.grids));
}

void check_exponent(int group, int exponent, bool empty, const char* kind) {
    require(kind, std::string("step exponent of the ") + kGroupNames[group], exponent, 0,
            empty ? 0 : kMaxExponents[group]);
}

void check_parameter(int group, int exponent, int value, const char* kind) {
    int limit = kMaxParameter;
    // The entropy network's weights have 16 bits; its biases 31, which leaves room for rounding.
    if (group == kEntropyWeights) limit = std::min(limit, kMaxParameter >> (kWeightBits - exponent));
    if (group == kEntropyBiases) limit = std::min<int>(limit, ((1 << 30) - 1) >> (kBiasBits - exponent));
    if (value < -limit || value > limit)
        throw Error(kind, std::string("a parameter of the ") + kGroupNames[group] + " is " + number(value) +
                              ", outside " + number(-limit) + " to " + number(limit));
}

EntropyNetwork entropy_network(const Architecture& architecture, const Parameters& parameters) {
    EntropyNetwork network{};
    network.context = architecture.context;
    network.parents = architecture.parents;
    const int inputs = architecture.inputs();
    const int weight_unit = 1 << (kWeightBits - parameters.exponents[kEntropyWeights]);
    const int bias_unit = 1 << (kBiasBits - parameters.exponents[kEntropyBiases]);

    Values weights(parameters, kEntropyWeights);
    auto fill_weights = [&](int32_t (*rows)[kMaxInputs / 2], int outputs) {
        for (int o = 0; o < outputs; o++)
            for (int i = 0; i < inputs / 2; i++) {
                const auto even = static_cast<uint16_t>(weights.integer() * weight_unit);
                const auto odd = static_cast<uint16_t>(weights.integer() * weight_unit);
                rows[o][i] = static_cast<int32_t>(even | uint32_t{odd} << 16);
            }
    };
    fill_weights(network.w1, inputs);
    fill_weights(network.w2, inputs);
    fill_weights(network.w3, 2);

    Values biases(parameters, kEntropyBiases);
    auto fill_biases = [&](int32_t* out, int outputs) {
        for (int o = 0; o < outputs; o++) out[o] = biases.integer() * bias_unit + (1 << (kWeightBits - 1));
    };
    fill_biases(network.b1, inputs);
    fill_biases(network.b2, inputs);
    fill_biases(network.b3, 2);
    return network;
}

PictureNetwork picture_network(const Architecture& architecture, const Parameters& parameters) {
    PictureNetwork network{};
    network.grids = architecture.grids;
    network.hidden = architecture.hidden;
    network.residuals = architecture.residuals;
    network.noise = architecture.noise;

    Values taps(parameters, kUpsampling);
    for (int k = 0; k < architecture.grids - 1; k++)
        for (int i = 0; i < 4; i++) network.taps[k][i] = kDefaultTaps[i] + taps.real();

    Values weights(parameters, kSynthesisWeights);
    for (int o = 0; o < architecture.hidden; o++)
        for (int k = 0; k < architecture.grids + architecture.noise; k++) network.s1[k][o] = weights.real();
    for (auto& row : network.s2)
        for (int o = 0; o < architecture.hidden; o++) row[o] = weights.real();

    Values biases(parameters, kSynthesisBiases);
    for (int o = 0; o < architecture.hidden; o++) network.t1[o] = biases.real();
    for (float& bias : network.t2) bias = 0.5f + biases.real();

    Values residual_weights(parameters, kResidualWeights), residual_biases(parameters, kResidualBiases);
    float* r = &network.r[0][0][0][0][0];
    for (int i = 0; i < 81 * architecture.residuals; i++) r[i] = residual_weights.real();
    for (int layer = 0; layer < architecture.residuals; layer++)
        for (float& bias : network.u[layer]) bias = residual_biases.real();
    return network;
}

}  // namespace aquatint
