// Which instruction set the kernels run with.
#pragma once
#include <string>
#include <vector>

namespace aquatint {

enum class Isa { portable, avx2, avx512 };

/// The instruction sets that this build has and this processor can run, narrowest first.
std::vector<Isa> available_isas();

/// "portable", "avx2" or "avx512".
const char* name_of(Isa isa);

/// The instruction set called `name`. For "auto" the one that the environment variable AQUATINT_SIMD names, or the
/// widest available one if it is not set. Throws std::invalid_argument if the instruction set is not available.
Isa choose_isa(const std::string& name);

}  // namespace aquatint
