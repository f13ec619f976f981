// From latents to pixels: upsampling, synthesis and residual layers (docs/FORMAT.md, section 2.5).
//
// The picture is made in strips of rows, so that working memory depends on its width alone. Within a strip the coarser
// levels of the pyramid are whole (they are small), and the finest goes from upsampling to samples one row at a time,
// which keeps it in the nearest caches.
#pragma once
#include "decode_kernels.h"
#include "noise.h"
#include "simd.h"
#include "simd_math.h"

namespace aquatint::AQT_ISA {

constexpr int kMargin = 16;  // floats before and after a row, for its replicated edges and for vectors that overhang
constexpr int kResidualRows = 4;  // rows kept of every layer; a power of two, and a 3x3 kernel sees three

static inline int smaller(int a, int b) { return a < b ? a : b; }
static inline int larger(int a, int b) { return a > b ? a : b; }
static inline int clamped(int index, int size) { return index < 0 ? 0 : index < size ? index : size - 1; }

/// Floats from one row to the next: a multiple of two vectors of the widest instruction set, and margins.
static inline ptrdiff_t row_stride(int width) { return (width + 31) / 32 * 32 + 2 * kMargin; }

/// Some rows of all channels of one level of the pyramid: its grid and those upsampled to it, coarser ones later, and
/// then its noise and that upsampled to it.
struct Level {
    int height, width;  // of the whole level
    int begin, end;     // the rows at hand
    int capacity;       // rows that fit
    int channels;
    ptrdiff_t stride;
    float* data;

    float* row(int channel, int y) const {
        return data + (static_cast<ptrdiff_t>(channel) * capacity + (y - begin)) * stride + kMargin;
    }
};

static inline int level_size(int size, int level) {
    return static_cast<int>((int64_t{size} + (1 << level) - 1) >> level);
}

static inline int latent_channels(const PictureNetwork& network, int level) { return network.grids - level; }
static inline int noise_channels(const PictureNetwork& network, int level) { return larger(0, network.noise - level); }

/// Everything that rendering a strip needs, laid out in one block of memory. With no block it only counts floats.
struct Workspace {
    Level levels[kMaxGrids];              // [0] is not stored: see `finest`
    float* finest[kMaxGrids + kMaxNoise];  // one row of every channel
    float* blend;                         // a row between vertical and horizontal doubling
    float* layers[kMaxResiduals + 1][3];  // kResidualRows rows of red, green, blue after each layer
    uint16_t* samples[3];                 // a row of the picture
    ptrdiff_t stride;                     // of the finest rows
    size_t floats;

    Workspace(const PictureNetwork& network, int height, int width, float* memory) : floats(0) {
        auto take = [&](ptrdiff_t count, int margin) {
            float* taken = memory == nullptr ? nullptr : memory + floats + margin;
            floats += static_cast<size_t>(count);
            return taken;
        };
        stride = row_stride(width);
        int rows = kStripRows + 2 * network.residuals;
        levels[0] = {height, width, 0, 0, 0, 0, stride, nullptr};
        for (int k = 1; k < network.grids; k++) {
            Level& level = levels[k];
            level.height = level_size(height, k);
            level.width = level_size(width, k);
            level.channels = latent_channels(network, k) + noise_channels(network, k);
            // Half the rows of the finer level, two taps on either side, and one for each odd end.
            rows = smaller(level.height, rows / 2 + 6);
            level.capacity = rows;
            level.stride = row_stride(level.width);
            level.data = take(level.channels * level.capacity * level.stride, 0);
        }
        for (int c = 0; c < network.grids + network.noise; c++) finest[c] = take(stride, kMargin);
        blend = take(stride, kMargin);
        for (int r = 0; r <= network.residuals; r++)
            for (float*& plane : layers[r]) plane = take(kResidualRows * stride, kMargin);
        for (uint16_t*& row : samples) row = reinterpret_cast<uint16_t*>(take(stride, 0));
    }

    float* layer_row(int layer, int channel, int y) const {
        return layers[layer][channel] + (y % kResidualRows) * stride;
    }
};

// ---- Upsampling

AQT_INLINE void latents_to_floats(const GridView& grid, int y, float* out) {
    const int16_t* row = grid.latents + static_cast<ptrdiff_t>(y) * grid.width;
    for (int x = 0; x < grid.width; x++) out[x] = row[x];
}

AQT_INLINE void zero(float* out, int count) {
    for (int x = 0; x < count; x++) out[x] = 0;
}

AQT_INLINE void grid_row(const GridView& grid, int width, int y, float* out) {
    if (grid.latents != nullptr)
        latents_to_floats(grid, y, out);
    else
        zero(out, width);
}

AQT_INLINE void replicate_edges(float* row, int size, int count) {
    for (int i = 1; i <= count; i++) {
        row[-i] = row[0];
        row[size - 1 + i] = row[size - 1];
    }
}

/// Doubles one channel of a level and writes row `y` of the finer one.
AQT_INLINE void double_row(const Level& coarse, int channel, const float* taps, int y, float* blend, float* out) {
    const int size = coarse.width;
    const float* rows[4];
    for (int i = 0; i < 4; i++) rows[i] = coarse.row(channel, clamped((y >> 1) - 2 + y % 2 + i, coarse.height));
    // From the first row (column) to the last: an even sample has the weights 0, 2, 3, 1, an odd one the reverse.
    const Floats even[4] = {splat(taps[0]), splat(taps[2]), splat(taps[3]), splat(taps[1])};
    const Floats odd[4] = {even[3], even[2], even[1], even[0]};
    const Floats* vertical = y % 2 ? odd : even;
    for (int x = 0; x < size; x += kLanes)
        store(blend + x, vertical[0] * load(rows[0] + x) + vertical[1] * load(rows[1] + x) +
                             vertical[2] * load(rows[2] + x) + vertical[3] * load(rows[3] + x));
    replicate_edges(blend, size, 2);
    for (int x = 0; x < size; x += kLanes) {
        const Floats p[5] = {load(blend + x - 2), load(blend + x - 1), load(blend + x), load(blend + x + 1),
                             load(blend + x + 2)};
        const Floats a = even[0] * p[0] + even[1] * p[1] + even[2] * p[2] + even[3] * p[3];
        const Floats b = odd[0] * p[1] + odd[1] * p[2] + odd[2] * p[3] + odd[3] * p[4];
        Floats low, high;
        interleave(a, b, low, high);
        store(out + 2 * x, low);
        store(out + 2 * x + kLanes, high);
    }
}

/// Row `y` of all channels of level `k`; `out(c)` is where channel c goes.
template <class Out>
AQT_INLINE void level_row(const PictureNetwork& network, const GridView* grids, const Workspace& space, int k, int y,
                          Out out) {
    const int latents = latent_channels(network, k), noise = noise_channels(network, k), width = space.levels[k].width;
    grid_row(grids[k], width, y, out(0));
    for (int c = 1; c < latents; c++)
        double_row(space.levels[k + 1], c - 1, network.taps[k], y, space.blend, out(c));
    if (noise > 0) noise_row(k, y, width, out(latents));
    for (int c = latents + 1; c < latents + noise; c++)
        double_row(space.levels[k + 1], c - 2, kDefaultTaps, y, space.blend, out(c));
}

/// Fills all levels but the finest with the rows that rows `begin` to `end` of the finest need.
AQT_INLINE void upsample(const PictureNetwork& network, const GridView* grids, Workspace& space, int begin, int end) {
    space.levels[0].begin = begin;
    space.levels[0].end = end;
    for (int k = 1; k < network.grids; k++) {
        const Level& finer = space.levels[k - 1];
        space.levels[k].begin = larger(0, (finer.begin >> 1) - 2);
        space.levels[k].end = smaller(space.levels[k].height, ((finer.end - 1) >> 1) + 3);
    }
    for (int k = network.grids - 1; k > 0; k--) {
        const Level& level = space.levels[k];
        for (int y = level.begin; y < level.end; y++)
            level_row(network, grids, space, k, y, [&](int c) { return level.row(c, y); });
    }
}

// ---- Synthesis

constexpr int kUnroll = 2;  // vectors of pixels done together, so that every weight that is loaded serves twice
constexpr int kBlock = kUnroll * kLanes;

/// A row of the picture before the residual layers: p = s2 max(0, s1 z + t1) + t2.
AQT_INLINE void synthesise_row(const PictureNetwork& network, float* const* channels, int width, float* const* out) {
    for (int x = 0; x < width; x += kBlock) {
        Floats p[3][kUnroll];
        for (int c = 0; c < 3; c++)
            for (Floats& sum : p[c]) sum = splat(network.t2[c]);
        for (int o = 0; o < network.hidden; o += 4) {
            Floats h[4][kUnroll];
            for (int i = 0; i < 4; i++)
                for (Floats& sum : h[i]) sum = splat(network.t1[o + i]);
            for (int k = 0; k < network.grids + network.noise; k++)
                for (int j = 0; j < kUnroll; j++) {
                    const Floats z = load(channels[k] + x + j * kLanes);
                    for (int i = 0; i < 4; i++) h[i][j] += splat(network.s1[k][o + i]) * z;
                }
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < kUnroll; j++) {
                    const Floats active = max(h[i][j], Floats{});
                    for (int c = 0; c < 3; c++) p[c][j] += splat(network.s2[c][o + i]) * active;
                }
        }
        for (int c = 0; c < 3; c++)
            for (int j = 0; j < kUnroll; j++) store(out[c] + x + j * kLanes, p[c][j]);
    }
}

/// Row `y` after residual layer `layer` (from 1): p + relu(conv3x3(p) + u), without the relu in the last layer.
AQT_INLINE void residual_row(const PictureNetwork& network, const Workspace& space, int layer, int y, int height,
                             int width) {
    const auto& weights = network.r[layer - 1];
    const float* rows[3][3];
    for (int c = 0; c < 3; c++)
        for (int dy = 0; dy < 3; dy++) rows[c][dy] = space.layer_row(layer - 1, c, clamped(y + dy - 1, height));
    const bool last = layer == network.residuals;
    for (int x = 0; x < width; x += kBlock) {
        Floats sums[3][kUnroll];
        for (int o = 0; o < 3; o++)
            for (Floats& sum : sums[o]) sum = splat(network.u[layer - 1][o]);
        for (int c = 0; c < 3; c++)
            for (int dy = 0; dy < 3; dy++)
                for (int dx = 0; dx < 3; dx++)
                    for (int j = 0; j < kUnroll; j++) {
                        const Floats p = load(rows[c][dy] + x + dx - 1 + j * kLanes);
                        for (int o = 0; o < 3; o++) sums[o][j] += splat(weights[o][c][dy][dx]) * p;
                    }
        for (int o = 0; o < 3; o++)
            for (int j = 0; j < kUnroll; j++) {
                const Floats change = last ? sums[o][j] : max(sums[o][j], Floats{});
                store(space.layer_row(layer, o, y) + x + j * kLanes, load(rows[o][1] + x + j * kLanes) + change);
            }
    }
}

// ---- Samples

/// Rounds a row to samples; what is not a number becomes 0.
AQT_INLINE void quantise_row(const float* p, int width, float white, uint16_t* out) {
    for (int x = 0; x < width; x++) {
        const float positive = p[x] > 0 ? p[x] : 0;
        out[x] = static_cast<uint16_t>(static_cast<int>((positive < 1 ? positive : 1) * white + 0.5f));
    }
}

template <class Sample>
AQT_INLINE void write_row(const Workspace& space, float* const* rgb, const PictureFormat& format, int width,
                          Sample* out) {
    const float white = sizeof(Sample) == 1 ? 255.f : 65535.f;
    if (format.grayscale) {
        for (int x = 0; x < width; x++) space.blend[x] = (rgb[0][x] + rgb[1][x] + rgb[2][x]) * (1 / 3.f);
        quantise_row(space.blend, width, white, space.samples[0]);
        for (int x = 0; x < width; x++) out[x] = static_cast<Sample>(space.samples[0][x]);
        return;
    }
    const uint16_t *red = space.samples[0], *green = space.samples[1], *blue = space.samples[2];
    for (int c = 0; c < 3; c++) quantise_row(rgb[c], width, white, space.samples[c]);
    for (int x = 0; x < width; x++) {
        out[3 * x] = static_cast<Sample>(red[x]);
        out[3 * x + 1] = static_cast<Sample>(green[x]);
        out[3 * x + 2] = static_cast<Sample>(blue[x]);
    }
}

/// The last layer has row `y`: puts it into the picture.
AQT_INLINE void finish_row(const Workspace& space, int layer, const PictureFormat& format, int y, int width,
                           void* picture) {
    float* const rgb[3] = {space.layer_row(layer, 0, y), space.layer_row(layer, 1, y), space.layer_row(layer, 2, y)};
    const ptrdiff_t first = static_cast<ptrdiff_t>(y) * width * (format.grayscale ? 1 : 3);
    if (format.depth == 8)
        write_row(space, rgb, format, width, static_cast<uint8_t*>(picture) + first);
    else
        write_row(space, rgb, format, width, static_cast<uint16_t*>(picture) + first);
}

static size_t workspace_size(const PictureNetwork& network, int height, int width) {
    return Workspace(network, height, width, nullptr).floats * sizeof(float);
}

static void render_strip(const PictureNetwork& network, const GridView* grids, const PictureFormat& format,
                         int first_row, void* workspace, void* picture) {
    const int height = grids[0].height, width = grids[0].width, last_layer = network.residuals;
    Workspace space(network, height, width, static_cast<float*>(workspace));
    const int strip_end = smaller(height, first_row + kStripRows);
    // A layer needs one row more than the next one on either side.
    auto layer_begin = [&](int layer) { return larger(0, first_row - (last_layer - layer)); };
    auto layer_end = [&](int layer) { return smaller(height, strip_end + (last_layer - layer)); };
    upsample(network, grids, space, layer_begin(0), layer_end(0));

    // Layer `layer` runs that many rows behind the synthesis, when the row below the one it makes is there.
    for (int front = layer_begin(0); front < strip_end + last_layer; front++) {
        for (int layer = 0; layer <= last_layer; layer++) {
            const int y = front - layer;
            if (y < layer_begin(layer) || y >= layer_end(layer)) continue;
            float* const out[3] = {space.layer_row(layer, 0, y), space.layer_row(layer, 1, y),
                                   space.layer_row(layer, 2, y)};
            if (layer == 0) {
                level_row(network, grids, space, 0, y, [&](int c) { return space.finest[c]; });
                synthesise_row(network, space.finest, width, out);
            } else {
                residual_row(network, space, layer, y, height, width);
            }
            for (float* row : out) replicate_edges(row, width, 1);
            if (layer == last_layer) finish_row(space, layer, format, y, width, picture);
        }
    }
}

}  // namespace aquatint::AQT_ISA
