// The probability tables of the overfitted stream (docs/FORMAT.md, section 2.3).
#pragma once
#include <cstdint>

namespace aquatint {

constexpr int kScales = 96;      // scale indices: the Laplace scale is 2^((s - 40) / 8)
constexpr int kBaseScales = 52;  // the ones below this have tables; the others add raw bits
constexpr int kFractions = 16;   // positions of the mean between two integers
constexpr int kSymbols = 32;     // the differences -15..15, and the escape
constexpr int kEscape = 31;
constexpr int kLargestDifference = 15;

/// All base tables in one array: table `16 s + f` begins at 32 (16 s + f) and holds c_0 .. c_31.
///
/// What follows every table is a zero (the next one's c_0), which is c_32 = 65536 modulo 2^16. So the frequency of any
/// symbol is the 16-bit difference of two neighbours in the array.
const uint16_t* cumulative_tables();

/// Costs of the symbols in bits, in the same layout; infinite for a frequency of zero.
const float* symbol_costs();

}  // namespace aquatint
