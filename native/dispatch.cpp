#include "dispatch.h"

#include <cstdlib>
#include <stdexcept>

namespace aquatint {

std::vector<Isa> available_isas() {
    std::vector<Isa> isas{Isa::portable};
#ifdef AQT_HAS_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) isas.push_back(Isa::avx2);
#endif
#ifdef AQT_HAS_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"))
        isas.push_back(Isa::avx512);
#endif
    return isas;
}

const char* name_of(Isa isa) {
    constexpr const char* names[] = {"portable", "avx2", "avx512"};
    return names[static_cast<int>(isa)];
}

Isa choose_isa(const std::string& name) {
    const auto isas = available_isas();
    if (name == "auto") {
        const char* forced = std::getenv("AQUATINT_SIMD");
        return forced == nullptr || std::string(forced) == "auto" ? isas.back() : choose_isa(forced);
    }
    std::string known;
    for (Isa isa : isas) {
        if (name == name_of(isa)) return isa;
        known += std::string(known.empty() ? "" : ", ") + name_of(isa);
    }
    throw std::invalid_argument("instruction set '" + name + "' is not available here; choose auto, " + known);
}

}  // namespace aquatint
