// The stages of the fit for one instruction set.
#include "fit_kernels.h"

#include "fit_entropy.h"
#include "fit_octaves.h"
#include "fit_optimiser.h"
#include "fit_quantise.h"
#include "fit_synthesis.h"
#include "fit_upsample.h"

namespace aquatint::AQT_ISA {

extern const FitKernels kFitKernels;
const FitKernels kFitKernels{quantise,
                             rate,
                             noise,
                             upsample,
                             upsample_backward,
                             synthesise,
                             synthesise_backward,
                             residual,
                             residual_backward,
                             squared_error,
                             export_picture,
                             import_gradient,
                             block_means,
                             subtract_means,
                             adam};

}  // namespace aquatint::AQT_ISA
