#include <nanobind/nanobind.h>

namespace aquatint {
void bind_fitter(nanobind::module_&) {}
}  // namespace aquatint
