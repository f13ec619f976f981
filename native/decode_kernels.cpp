// The kernels of the overfitted decoder; compiled once per instruction set.
#include "decode_kernels.h"

#include "synthesis.h"
#include "wavefront.h"

namespace aquatint::AQT_ISA {

const DecodeKernels decode_kernels = {decode_band,    write_band,   measure_band,
                                      workspace_size, render_strip, noise_row};

}  // namespace aquatint::AQT_ISA
