#include <nanobind/nanobind.h>

namespace aquatint {
void bind_decoder(nanobind::module_&) {}
}  // namespace aquatint
