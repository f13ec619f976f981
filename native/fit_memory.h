// The memory of a fit. All of it is allocated, and touched, before the first step.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "fit_kernels.h"

namespace aquatint {

/// Zeroed floats, aligned for the widest vectors.
class Buffer {
public:
    explicit Buffer(std::size_t size) {
        const std::size_t bytes = (size * sizeof(float) + 63) / 64 * 64;
        memory_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
        if (!memory_) throw std::bad_alloc();
        std::memset(memory_.get(), 0, bytes);
    }
    float* data() const { return memory_.get(); }

private:
    struct Free {
        void operator()(float* p) const { std::free(p); }
    };
    std::unique_ptr<float[], Free> memory_;
};

/// A zeroed plane with `above` rows before its first one and a row after its last one.
class OwnedPlane {
public:
    OwnedPlane(int height, int width, int above = 0)
        : stride_(kMargin + (width + kRowUnit - 1) / kRowUnit * kRowUnit),
          height_(height),
          width_(width),
          offset_(above * stride_ + kMargin),
          memory_((height + above + 1) * stride_ + kMargin + kRowUnit) {}

    operator Plane() const { return {data(), stride_, height_, width_}; }
    float* data() const { return memory_.data() + offset_; }
    float* row(int y) const { return data() + y * stride_; }

private:
    std::ptrdiff_t stride_;
    int height_, width_;
    std::ptrdiff_t offset_;
    Buffer memory_;
};

class OwnedPicture {
public:
    OwnedPicture(int height, int width) {
        for (int c = 0; c < 3; ++c) channels.emplace_back(height, width);
    }
    operator Picture() const { return {channels[0], channels[1], channels[2]}; }

    std::vector<OwnedPlane> channels;
};

/// A grid of latents, what the quantisation proxy makes of them, and the state of their optimiser.
struct Grid {
    Grid(int height, int width)
        : height(height),
          width(width),
          latents(height, width),
          values(height, width, kContextRows),
          slopes(height, width),
          gradient(height, width),
          mean(height, width),
          square(height, width) {}

    int height, width;
    OwnedPlane latents, values, slopes, gradient, mean, square;
};

/// How far latents of a grid are kept to their octave, and the means that are taken from their gradient.
struct Separation {
    Separation(int height, int width)
        : shares(height, width),
          means((height + kOctaveBlock - 1) / kOctaveBlock, (width + kOctaveBlock - 1) / kOctaveBlock) {}

    OwnedPlane shares, means;
};

/// Rows of a plane.
struct Range {
    int begin, end;
};

/// The share of one of `parts` workers.
inline Range share(int rows, int part, int parts) {
    const auto at = [&](int i) { return static_cast<int>(static_cast<std::int64_t>(rows) * i / parts); };
    return {at(part), at(part + 1)};
}

/// What a worker sums up for itself, because other workers sum up the same or own where it belongs.
struct Worker {
    Worker(const std::vector<Grid>& grids, std::size_t parameters, int part, int parts)
        : gradient(parameters), bits(grids.size()), scratch(12 * (grids[0].width + 64)) {
        for (const Grid& grid : grids) {
            const Range rows = share(grid.height, part, parts);
            above.emplace_back(kContextRows, grid.width);
            coarser.emplace_back((rows.end - rows.begin) / 2 + 3, (grid.width + 1) / 2);
        }
    }

    std::vector<float> gradient;      // of the networks' parameters
    std::vector<OwnedPlane> above;    // gradient of the kContextRows rows before this worker's share of a grid
    std::vector<OwnedPlane> coarser;  // gradient of the next coarser grid from the row before its share's parents
    std::vector<double> bits;         // one number a grid
    double squared_error = 0;
    Buffer scratch;
};

}  // namespace aquatint
