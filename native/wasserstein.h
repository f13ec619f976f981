// Wasserstein distortion on the steerable stack, with its gradient, on a team of threads. Free of Python.
//
// src/aquatint/perception/wasserstein.py defines it, with overlap 1. Windows are tents, so the window of a width at a
// node is a sum of the next narrower ones: features go straight into the narrowest windows that count, batch by batch
// of rows, and are not kept. On the way back features are computed again, and the gradient of every window, interpolated
// bilinearly, meets them there. Where windows of one width count alone, nothing is kept at all: a row of windows is
// compared with the reference as soon as it is complete, and the way back follows a strip of rows behind.
//
// The finest level is half of the work. Where its gradient may be late it is looked at in every second call alone.
#pragma once
#include <vector>

#include "fit_memory.h"
#include "thread_pool.h"
#include "wasserstein_kernels.h"

namespace aquatint {

constexpr int kLevels = 5;   // of the pyramid
constexpr int kColours = 3;
constexpr int kWindows = 5;  // widths 2 to 32

/// The numbers of the stack; see src/aquatint/perception/steerable.py.
struct SteerableStack {
    float colours[kColours * 3];
    float pixel_gain, even_gain, odd_gain;
};

/// Windows of one width on one level of the pyramid.
struct Windows {
    Windows(int level, int height, int width);

    int level;                // width 2^level
    int rows, columns;        // of nodes
    bool active = false;      // whether any node has a weight
    OwnedPlane weight;        // of every node in the distortion
    std::vector<float> down;  // 1 / sum of the window, by row of nodes
    OwnedPlane across;        // and by column
};

/// One level of the pyramid, for all colours.
struct PyramidLevel {
    PyramidLevel(int height, int width, const float* log2_sigma, const float* importance, float weight);

    int height, width;
    bool pointwise = false;
    OwnedPlane pointwise_weight;
    std::vector<Windows> windows;  // from the narrowest that counts to the widest
};

/// The features of one colour on one level.
struct SteerableMap {
    int colour, level;
    Gains gains;
    OwnedPlane moments;  // in the narrowest of several windows: kMoments rows for each row of nodes
    std::vector<OwnedPlane> mean, deviation;  // of the reference, by window: kFeatures rows for each row of nodes
};

/// What a worker needs for itself.
struct WassersteinWorker {
    WassersteinWorker(int height, int width);

    MomentRows moment_rows(const Buffer& rows) const { return {rows.data() + kMargin, stride}; }

    std::ptrdiff_t stride;  // of all rows below
    Buffer upper, lower;    // kMoments rows: the gradient at the rows of nodes around a strip
    Buffer ahead;           // and sums for the next row of nodes that are not complete
    Buffer around;          // three sets of kBatch + 2 rows
    Buffer line;
    std::vector<OwnedPlane> halos;  // for every map, a plane of what falls above and what falls below its rows
    std::vector<OwnedPlane> sums;   // of one feature and its square, in windows wider than the narrowest
    std::vector<double> values;     // of the distortion, by map
    double squares = 0;             // of the errors of pixels
};

class Wasserstein {
public:
    /// `pixels` are three contiguous planes; log2_sigma and importance have one map of contiguous rows for each level of
    /// the pyramid, the first 0 to 5. The value is weight times the distortion, to which places contribute by their
    /// importance, plus pixel_weight times the mean squared error. With `holds_finest` every second call takes over what
    /// the one before has found at the finest level.
    Wasserstein(const float* pixels, int height, int width, const std::vector<const float*>& log2_sigma,
                const std::vector<const float*>& importance, const SteerableStack& stack, float weight,
                float pixel_weight, bool holds_finest, int threads, Isa isa);

    int height() const { return levels_[0].height; }
    int width() const { return levels_[0].width; }

    /// The value for an image, and its gradient; both images are three contiguous planes.
    double differentiate(const float* image, float* gradient);

private:
    void describe(const float* image, int worker, std::size_t first_map, bool record);
    void accumulate(const SteerableMap& map, int node, MomentRows upper, MomentRows lower);
    void start_sums(const SteerableMap& map, int node, WassersteinWorker& own);
    MomentRows sum(const SteerableMap& map, int node, WassersteinWorker& own);
    void collect_moments(SteerableMap& map, int worker, bool record);
    double compare_sums(SteerableMap& map, int node, MomentRows sums, bool record);
    double compare_windows(SteerableMap& map, int feature, WassersteinWorker& own, bool record);
    double compare_nodes(SteerableMap& map, int window, int feature, int y, float* sum, float* square, bool record);
    double backward(SteerableMap& map, const OwnedPlane& halos, int worker);
    void add_halos(std::size_t index);
    FeatureRows feature_rows(const SteerableMap& map, int begin, int end, MomentRows upper, MomentRows lower) const;
    OwnedPlane& plane(std::vector<OwnedPlane>& planes, int colour, int level) {
        return planes[colour * kLevels + level];
    }

    const WassersteinKernels& kernels_;
    const SteerableStack stack_;
    const float pixel_weight_;
    const bool holds_finest_;
    bool is_held_ = false;  // whether the next call takes over
    std::vector<float> target_;
    std::vector<PyramidLevel> levels_;
    std::vector<OwnedPlane> picture_, reference_, gradient_;  // pyramids: [colour * kLevels + level]
    OwnedPlane held_;                 // gradient of the finest level
    std::vector<SteerableMap> maps_;  // the first one is that of the finest level
    std::vector<WassersteinWorker> workers_;
    ThreadPool pool_;
};

}  // namespace aquatint
