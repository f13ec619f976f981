// An octave separated: what a grid can leave to the coarser ones, it leaves to them.
//
// Adam moves every latent by about the same amount. Along what varies slowly the fine grids, whose latents are many, then
// outrun the coarse ones and fill smooth places with constant latents, whose borders are seen as edges. A gradient less
// its own local mean has only what coarser grids cannot show. Shares say how much of the mean goes, latent by latent.
#pragma once
#include "fit_kernels.h"
#include "simd.h"

namespace aquatint::AQT_ISA {

static void block_means(Plane gradient, Plane means, int begin, int end) {
    for (int i = begin; i < end; ++i) {
        const int top = i * kOctaveBlock, rows = min(kOctaveBlock, gradient.height - top);
        for (int j = 0; j < means.width; ++j) {
            const int left = j * kOctaveBlock, columns = min(kOctaveBlock, gradient.width - left);
            float sum = 0;
            for (int y = top; y < top + rows; ++y)
                for (int x = left; x < left + columns; ++x) sum += gradient.data[y * gradient.stride + x];
            means.data[i * means.stride + j] = sum / static_cast<float>(rows * columns);
        }
    }
}

static void subtract_means(Plane means, Plane shares, Plane gradient, int begin, int end, float* scratch) {
    // How far the samples of a block are from its middle, in blocks; linear interpolation goes to the neighbour there.
    constexpr float kOffsets[kOctaveBlock] = {-0.375f, -0.125f, 0.125f, 0.375f};
    float* const line = scratch + 1;  // means at the height of a row, with replicated ends
    for (int y = begin; y < end; ++y) {
        const int i = y / kOctaveBlock;
        const float down = kOffsets[y % kOctaveBlock];
        const float* const at = means.data + i * means.stride;
        const float* const beside = means.data + clamp(i + (down < 0 ? -1 : 1), 0, means.height - 1) * means.stride;
        const float share = down < 0 ? -down : down;
        for (int j = 0; j < means.width; ++j) line[j] = at[j] + share * (beside[j] - at[j]);
        line[-1] = line[0], line[means.width] = line[means.width - 1];
        float* const row = gradient.data + y * gradient.stride;
        const float* const share_row = shares.data + y * shares.stride;
        for (int j = 0; j < means.width; ++j) {
            const float before = line[j - 1] - line[j], after = line[j + 1] - line[j];
            const float values[kOctaveBlock] = {line[j] - kOffsets[0] * before, line[j] - kOffsets[1] * before,
                                                line[j] + kOffsets[2] * after, line[j] + kOffsets[3] * after};
            const int left = j * kOctaveBlock, columns = min(kOctaveBlock, gradient.width - left);
            for (int x = 0; x < columns; ++x) row[left + x] -= share_row[left + x] * values[x];
        }
    }
}

}  // namespace aquatint::AQT_ISA
