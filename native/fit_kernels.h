// What the fitter asks of the kernels: one step of the fit, cut into stages that work on ranges of rows.
//
// Only plain data crosses this border. Sources compiled for different instruction sets include it, so it must not
// define functions with external linkage.
#pragma once
#include <cstddef>
#include <cstdint>

#include "dispatch.h"

namespace aquatint {

constexpr int kMaxGrids = 9;
constexpr int kMaxHidden = 64;
constexpr int kMaxInputs = 24;
constexpr int kMaxNoise = 3;
constexpr int kMaxChannels = kMaxGrids + kMaxNoise;  // that the synthesis sees
constexpr int kContextRows = 3;  // rows above a latent that its context reaches
constexpr int kMargin = 16;      // floats before every row of a plane, at least as many as any stage reads there
constexpr int kRowUnit = 32;     // rows are padded to a multiple of this: two of the widest vectors
constexpr float kLatentLimit = 511.0f;
constexpr int kOctaveBlock = 4;  // latents each way over which octaves are told apart, see fit_octaves.h

/// Rows of floats with margins. Row y starts at data + y * stride; the floats between its end and the next row's start
/// belong to it as well, and whoever writes a row may write up to the next multiple of kRowUnit.
struct Plane {
    float* data;
    std::ptrdiff_t stride;
    int height, width;
};

struct Picture {
    Plane channels[3];
};

/// The sizes of FORMAT.md, 2.1.
struct NetworkShape {
    int grids, context, parents, hidden, residuals, noise;
};

/// Pointers to the arrays of parameters, or of their gradients, in the order in which they are stored.
template <class T>
struct Parameters {
    T *w1, *b1, *w2, *b2, *w3, *b3, *taps, *s1, *t1, *s2, *t2, *r, *u;
};

/// The quantisation proxy of one grid: two soft roundings with uniform noise between them. Temperature 0: rounding.
struct Quantiser {
    float temperature, noise;
    uint32_t seed, grid;
};

/// The rate of one grid, and its gradients, for the rows of one worker. A null pointer leaves a result out.
struct RatePass {
    NetworkShape shape;
    Parameters<const float> parameters;
    Plane values;                 // the grid, zero outside for kContextRows rows above and kMargin columns
    Plane coarser;                // the next coarser grid, zero outside by one row and column; null for the coarsest
    float weight;                 // what a bit costs in the loss
    Parameters<float>* gradient;  // of the entropy network's parameters; added to
    int first_row;                // the first row of this worker, which owns the gradient's rows from there
    float* value_gradient;        // as values.data; rows from first_row on, added to
    float* above;             // row first_row - kContextRows of a plane of the worker's own: what falls above; added to
    float* coarser_gradient;  // row (first_row >> 1) - 1 of a plane of the worker's own; added to
};

/// One layer of the synthesis's tail: output = input + relu(conv3x3(input) + bias), or without the relu if it is the
/// last.
struct ResidualLayer {
    const float* weights;  // [3][3][3][3]
    const float* bias;     // [3]
    bool last;
};

constexpr float kMeanDecay = 0.5f;  // of Adam's mean, see fit_optimiser.h

struct Adam {
    float rate, square_decay;
    float first_correction, second_correction;  // 1 / (1 - decay^t) of mean and square
    float epsilon;
};

struct FitKernels {
    /// values = proxy(latents), slopes = its derivative (not written if null), for rows begin to end.
    void (*quantise)(const Quantiser&, Plane latents, Plane values, float* slopes, int begin, int end);

    /// Bits of the rows, and the gradients that the pass asks for.
    double (*rate)(const RatePass&, int begin, int end);

    /// Rows of noise grid k.
    void (*noise)(int k, Plane grid, int begin, int end);

    /// Rows of fine = doubled coarse. scratch: 2 (coarse.width + 64) floats.
    void (*upsample)(Plane coarse, Plane fine, const float* taps, int begin, int end, float* scratch);

    /// The transpose of upsample. Rows begin to end of coarse_gradient (left out if null; added to or set) and the part
    /// of the taps' gradient (left out if null; added to) that belongs to them. scratch: 12 (coarse.width + 64) floats.
    void (*upsample_backward)(Plane coarse, Plane fine_gradient, const float* taps, float* coarse_gradient, bool add,
                              float* tap_gradient, int begin, int end, float* scratch);

    /// Rows of output = s2 relu(s1 z + t1) + t2, z being the upsampled grids and noise, with replicated columns at both ends.
    void (*synthesise)(const NetworkShape&, const Parameters<const float>&, const Plane* upsampled, Picture output,
                       int begin, int end);

    /// Gradients of synthesise. That of the finest grid is added to finest_gradient (laid out as upsampled[0]), those
    /// of the other grids replace the upsampled values.
    void (*synthesise_backward)(const NetworkShape&, const Parameters<const float>&, const Plane* upsampled,
                                Picture output_gradient, float* finest_gradient, Parameters<float>* gradient, int begin,
                                int end);

    void (*residual)(const ResidualLayer&, Picture input, Picture output, int begin, int end);

    /// Gradients of residual; those of weights and bias are left out if null and added to. scratch: 12 (width + 64)
    /// floats.
    void (*residual_backward)(const ResidualLayer&, Picture input, Picture output, Picture output_gradient,
                              Picture input_gradient, float* weight_gradient, float* bias_gradient, int begin, int end,
                              float* scratch);

    /// Sum of (clamp(image, 0, 1) - target)^2; gradient (not written if null) = 2 scale (clamp(image, 0, 1) - target).
    double (*squared_error)(Picture image, Picture target, const Picture* gradient, float scale, int begin, int end);

    /// Rows of an image, clamped to [0, 1], to three contiguous planes.
    void (*export_picture)(Picture image, float* planes, int begin, int end);

    /// Rows of three contiguous planes to a gradient; false if a number in them is not finite.
    bool (*import_gradient)(const float* planes, Picture gradient, int begin, int end);

    /// Rows of the means of a gradient over blocks of kOctaveBlock each way; blocks at the ends may be smaller.
    void (*block_means)(Plane gradient, Plane means, int begin, int end);

    /// Rows of the gradient less shares of these means, interpolated linearly between the middles of blocks. scratch:
    /// means.width + 2 floats.
    void (*subtract_means)(Plane means, Plane shares, Plane gradient, int begin, int end, float* scratch);

    /// One step of Adam for a row of latents, which stay within the latent limit, with gradient * slopes.
    void (*adam)(const Adam&, const float* gradient, const float* slopes, float* latents, float* mean, float* square,
                 int width);
};

const FitKernels& fit_kernels(Isa isa);

}  // namespace aquatint
