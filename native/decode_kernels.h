// The kernels of the overfitted stream that are compiled once per instruction set, and the plain data they work on.
//
// Nothing here may have functions of its own: an inline function would exist once per instruction set under one name.
#pragma once
#include <cstddef>
#include <cstdint>

#include "rans.h"

namespace aquatint {

constexpr int kMaxGrids = 9;
constexpr int kMaxContext = 24;
constexpr int kMaxParents = 4;
constexpr int kMaxInputs = 24;
constexpr int kMaxHidden = 64;
constexpr int kMaxResiduals = 4;
constexpr int kMaxNoise = 3;
constexpr int kLatentLimit = 511;

// ---- Latents (docs/FORMAT.md, 2.4)

constexpr int kBandRows = 16;  // rows decoded side by side, one in each lane
constexpr int kLag = 5;        // columns that a row stays behind the one above it

/// The integer entropy network. Weights come in pairs, two 16-bit numbers in one 32-bit word, the even input's below.
/// The biases include the one half that rounds the sum.
struct EntropyNetwork {
    int context, parents;
    int32_t w1[kMaxInputs][kMaxInputs / 2], w2[kMaxInputs][kMaxInputs / 2], w3[2][kMaxInputs / 2];
    int32_t b1[kMaxInputs], b2[kMaxInputs], b3[2];
};

/// A grid of latents in C order.
struct GridView {
    int height, width;
    int16_t* latents;  // null: all are zero
};

/// Sixteen rows of a grid, or the rest of it, that are to be coded.
struct Band {
    GridView grid;
    GridView coarser;  // the parents' grid
    int first_row;
    int16_t* skewed;  // at least skewed_size(...) numbers, aligned to 64 bytes; overwritten
};

/// Size of Band::skewed: 16-bit numbers in one step of the wavefront, times the steps (and those before the first).
constexpr int kSkewedLead = 32;
static constexpr size_t skewed_stride(int parents) { return 32 + 16 * static_cast<size_t>(parents); }
static constexpr size_t skewed_size(int width, int parents) {
    return (kSkewedLead + static_cast<size_t>(width) + kLag * kBandRows) * skewed_stride(parents);
}

// ---- Picture (docs/FORMAT.md, 2.5)

/// What the learned taps are counted from, and the taps that noise is upsampled with.
constexpr float kDefaultTaps[4] = {-3 / 256.f, -9 / 256.f, 67 / 256.f, 201 / 256.f};

/// Upsampling and synthesis, in floating point.
struct PictureNetwork {
    int grids, hidden, residuals, noise;
    float taps[kMaxGrids - 1][4];
    float s1[kMaxGrids + kMaxNoise][kMaxHidden];  // transposed: [channel][hidden unit]
    float t1[kMaxHidden];
    float s2[3][kMaxHidden];
    float t2[3];
    float r[kMaxResiduals][3][3][3][3];
    float u[kMaxResiduals][3];
};

struct PictureFormat {
    int depth;  // 8 or 16
    bool grayscale;
};

/// Rows of the picture that are made together, so that memory is bounded by the width.
constexpr int kStripRows = 64;

struct DecodeKernels {
    /// Decodes a band into the grid; returns the first latent out of range, or 0. Check the reader for its end as well.
    int (*decode_band)(const EntropyNetwork&, const Band&, const uint16_t* tables, RansReader&);
    /// Appends the symbols of a band, at most kSymbolsPerNumber a latent, to `out`; returns the new end.
    Symbol* (*write_band)(const EntropyNetwork&, const Band&, const uint16_t* tables, Symbol* out);
    /// The bits of a band.
    double (*measure_band)(const EntropyNetwork&, const Band&, const uint16_t* tables, const float* costs);
    /// Bytes of working memory that `render_strip` needs.
    size_t (*workspace_size)(const PictureNetwork&, int height, int width);
    /// Writes the rows from `first_row` of a strip into `picture`, which is the whole picture.
    void (*render_strip)(const PictureNetwork&, const GridView* grids, const PictureFormat&, int first_row,
                         void* workspace, void* picture);
    /// A row of a noise grid; writes whole vectors of up to 16 numbers.
    void (*noise_row)(int grid, int row, int width, float* out);
};

namespace portable {
extern const DecodeKernels decode_kernels;
}
namespace avx2 {
extern const DecodeKernels decode_kernels;
}
namespace avx512 {
extern const DecodeKernels decode_kernels;
}

}  // namespace aquatint
