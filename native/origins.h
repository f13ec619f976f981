// Learned origins that network parameters are counted from (docs/FORMAT.md, 2.2).
#pragma once
#include "parameters.h"

namespace aquatint {

constexpr int kOriginBits = 12;  // fraction bits of an origin's numbers

/// An origin in units of 2^-12, group by group: number 0 is all zeros, the others come from the table in origins.bin.
/// Throws `kUnsupported` if the table has no such origin.
std::array<std::vector<int>, kGroups> origin(const Architecture& architecture, int number);

/// A number of an origin in units of 2^-exponent, rounded.
int origin_integer(int value, int exponent);

}  // namespace aquatint
