// The Python module aquatint.native.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "dispatch.h"

namespace nb = nanobind;

namespace aquatint {
void bind_analysis(nb::module_& module);
void bind_columns(nb::module_& module);
void bind_decoder(nb::module_& module);
void bind_fitter(nb::module_& module);
void bind_wasserstein(nb::module_& module);
void bind_symbols(nb::module_& module);
}  // namespace aquatint

NB_MODULE(native, module) {
    module.def("instruction_sets", [] {
        std::vector<std::string> names;
        for (auto isa : aquatint::available_isas()) names.emplace_back(aquatint::name_of(isa));
        return names;
    }, "Names of the instruction sets that the kernels can use here, narrowest first.");
    aquatint::bind_analysis(module);
    aquatint::bind_columns(module);
    aquatint::bind_decoder(module);
    aquatint::bind_fitter(module);
    aquatint::bind_wasserstein(module);
    aquatint::bind_symbols(module);
}
