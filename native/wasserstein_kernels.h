// What the Wasserstein distortion asks of the kernels: stages that work on ranges of rows.
//
// Only plain data crosses this border; see fit_kernels.h.
#pragma once
#include "fit_kernels.h"

namespace aquatint {

constexpr int kResponses = 9;              // the level itself, four even and four odd directions
constexpr int kFeatures = 2 * kResponses;  // positive sides, then negative ones
constexpr int kMoments = 2 * kFeatures;    // sums of the features, then of their squares
constexpr int kBatch = 8;                  // rows that are filtered together
constexpr float kVarianceFloor = 1e-5f;

/// From a level of a colour's pyramid to its responses: what is taken from it first, and gains.
struct Gains {
    float centre, pixel, even, odd;
};

/// Rows for all moments, each with a margin of kMargin floats before it; row i starts at data + i * stride.
struct MomentRows {
    float* data;
    std::ptrdiff_t stride;
};

/// Statistics of one feature in windows of one width, at `count` nodes of a row.
struct NodeRow {
    float *sum, *square;        // windowed sums of a feature and of its square; become the gradient
    float *mean, *deviation;    // of the reference
    const float* weight;        // of each node in the distortion
    const float* window;        // 1 / sum of the window across, which is cut at the borders
    float row_window;           // and down
    int count;
};

/// How features of a batch of rows enter the distortion.
struct FeatureRows {
    Plane level;  // with replicated columns at both ends
    Gains gains;
    int begin, end;  // up to kBatch rows
    // Windows of the finest width. The batch lies between two rows of nodes; row `begin` has the offset `offset` from
    // the upper one, as a part of their distance, and every row has `step` more than the one above it.
    float offset, step;
    MomentRows upper, lower;
    bool first;  // whether the batch is the first one between these nodes: sums for the lower one begin with it
    // Pointwise comparison with the reference; null weights if there is none.
    Plane reference;
    Plane weights;
};

struct WassersteinKernels {
    /// Rows of a colour: the weighted sum of the three planes of a picture, and replicated columns at both ends.
    void (*colour)(const float* const* planes, std::ptrdiff_t stride, const float* weights, Plane colour, int begin,
                   int end);

    /// Rows of the next level of a pyramid, and replicated columns at both ends. scratch: fine.width + 64 floats.
    void (*decimate)(Plane fine, Plane coarse, int begin, int end, float* scratch);

    /// The transpose of decimate, added to rows of the finer level's gradient. scratch: fine.width + 64 floats.
    void (*decimate_backward)(Plane coarse_gradient, Plane fine_gradient, int begin, int end, float* scratch);

    /// Adds a batch to the vertically windowed sums of the two rows of nodes around it.
    void (*accumulate)(const FeatureRows&);

    /// From the value at every column of `count` rows to sums in windows of width 2^level, in their place; the first
    /// column is the first node. Returns the number of nodes.
    int (*window)(MomentRows rows, int count, int width, int level);

    /// The transpose of window for rows of nodes: to `width` columns.
    void (*window_backward)(MomentRows rows, int count, int width, int level);

    /// out = at + (above + below) / 2.
    void (*widen)(const float* above, const float* at, const float* below, float* out, int width);

    /// to += from.
    void (*add)(const float* from, float* to, int width);

    /// Records the statistics of the reference.
    void (*record)(const NodeRow&);

    /// Compares with them: the distortion, and its gradient with respect to the sums in their place.
    double (*compare)(const NodeRow&);

    /// The gradient of a batch: `upper` and `lower` hold that of the windowed sums. What a response's gradient says
    /// about the columns before, at and after it becomes rows begin - 1 to end, which start at around[0..2] and follow
    /// each other at a distance of `stride`; the first two of them are added to. Returns the pointwise part of the
    /// distortion.
    double (*differentiate)(const FeatureRows&, float* const* around, std::ptrdiff_t stride);

    /// A row of the level's gradient from such a row; its ends get what belongs to the replicated columns.
    void (*gather)(const float* before, const float* at, const float* after, float* gradient, int width);

    /// Rows of the gradient of the picture's three planes, of `size` samples each: that of the colours through the
    /// transpose of their matrix, and pixel_slope times the difference of image and target. Returns the sum of its
    /// squares.
    double (*combine)(const Plane* colours, const float* matrix, const float* image, const float* target,
                    float pixel_slope, float* gradient, std::ptrdiff_t size, int begin, int end);
};

const WassersteinKernels& wasserstein_kernels(Isa isa);

}  // namespace aquatint
