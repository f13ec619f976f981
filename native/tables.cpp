#include "tables.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

namespace aquatint {
namespace {

constexpr int kEntries = kBaseScales * kFractions * kSymbols;

// r_s: 4096 log2(e) / (16 b), rounded. Listed and not computed, so that no floating point decides a probability.
constexpr int kRates[kBaseScales] = {11819, 10838, 9938, 9113, 8357, 7663, 7027, 6444, 5909, 5419, 4969, 4557, 4178,
                                     3832,  3514,  3222, 2955, 2709, 2485, 2278, 2089, 1916, 1757, 1611, 1477, 1355,
                                     1242,  1139,  1045, 958,  878,  806,  739,  677,  621,  570,  522,  479,  439,
                                     403,   369,   339,  311,  285,  261,  239,  220,  201,  185,  169,  155,  142};

// K_j: 2^(-2^-j) in units of 2^-31.
constexpr uint64_t kRoots[12] = {1518500250, 1805811301, 1969251188, 2056437387, 2101467502, 2124350982,
                                 2135885998, 2141676973, 2144578345, 2146030505, 2146756953, 2147120270};

/// 2^(-x / 4096) in units of 2^-31.
uint64_t tail(int x) {
    uint64_t value = (x >> 12) > 31 ? 0 : (uint64_t{1} << 31) >> (x >> 12);
    for (int j = 1; j <= 12; j++)
        if ((x >> (12 - j)) & 1) value = (value * kRoots[j - 1]) >> 31;
    return value;
}

/// The Laplace distribution function at n sixteenths of a latent from the mean, in units of 2^-31.
uint64_t distribution(int rate, int n) {
    return n < 0 ? tail(-n * rate) >> 1 : (uint64_t{1} << 31) - (tail(n * rate) >> 1);
}

struct Tables {
    alignas(64) uint16_t cumulative[kEntries + 1];
    float costs[kEntries];

    Tables() {
        uint16_t* table = cumulative;
        for (int rate : kRates)
            for (int fraction = 0; fraction < kFractions; fraction++)
                for (int j = 0; j < kSymbols; j++) {
                    // The lower edge of the bin of a difference, seen from a mean (fraction - 8) sixteenths above 0.
                    auto edge = [&](int symbol) {
                        return distribution(rate, 16 * (symbol - kLargestDifference) - 8 - (fraction - 8));
                    };
                    *table++ = static_cast<uint16_t>(std::min<uint64_t>(65535, (edge(j) - edge(0)) >> 15));
                }
        *table = 0;
        for (int i = 0; i < kEntries; i++) {
            const auto frequency = static_cast<uint16_t>(cumulative[i + 1] - cumulative[i]);
            costs[i] = frequency == 0 ? std::numeric_limits<float>::infinity()
                                      : static_cast<float>(16 - std::log2(static_cast<double>(frequency)));
        }
    }
};

const Tables& tables() {
    static const auto built = std::make_unique<const Tables>();
    return *built;
}

}  // namespace

const uint16_t* cumulative_tables() { return tables().cumulative; }
const float* symbol_costs() { return tables().costs; }

}  // namespace aquatint
