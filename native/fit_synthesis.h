// The synthesis network that turns upsampled latents into a picture, and its gradients (FORMAT.md, 2.5).
#pragma once
#include "fit_dense.h"
#include "fit_kernels.h"

namespace aquatint::AQT_ISA {

/// Columns -1 and width of a row, where the 3x3 filters read, are those of the nearest edge.
AQT_INLINE void replicate_ends(float* row, int width) {
    row[-1] = row[0];
    row[width] = row[width - 1];
}

AQT_INLINE void load_tile(const Plane* planes, int count, int y, int x, int vectors, Floats* tile) {
    for (int c = 0; c < count; ++c)
        for (int n = 0; n < vectors; ++n)
            tile[c * kTile + n] = load(planes[c].data + y * planes[c].stride + x + n * kLanes);
}

AQT_INLINE void store_tile(const Plane& plane, int y, int x, int vectors, const Floats* channel) {
    for (int n = 0; n < vectors; ++n) store(plane.data + y * plane.stride + x + n * kLanes, channel[n]);
}

static void synthesise(const NetworkShape& shape, const Parameters<const float>& p, const Plane* upsampled,
                       Picture output, int begin, int end) {
    const int width = upsampled[0].width;
    const int inputs = shape.grids + shape.noise;
    float s1_transposed[kMaxChannels * kMaxHidden], s2_transposed[kMaxHidden * 3];
    transpose(p.s1, shape.hidden, inputs, s1_transposed);
    transpose(p.s2, 3, shape.hidden, s2_transposed);
    Floats in[kMaxChannels * kTile], hidden[kMaxHidden * kTile], out[3 * kTile];
    for (int y = begin; y < end; ++y) {
        for (int x = 0; x < width; x += kTile * kLanes) {
            const int vectors = vectors_of_tile(x, width);
            load_tile(upsampled, inputs, y, x, vectors, in);
            dense<Activation::relu>(s1_transposed, p.t1, in, inputs, hidden, shape.hidden, vectors);
            dense<Activation::none>(s2_transposed, p.t2, hidden, shape.hidden, out, 3, vectors);
            for (int c = 0; c < 3; ++c) store_tile(output.channels[c], y, x, vectors, out + c * kTile);
        }
        for (const Plane& plane : output.channels) replicate_ends(plane.data + y * plane.stride, width);
    }
}

/// Lane by lane sums of the parameters' gradients.
struct SynthesisSums {
    Floats s1[kMaxHidden * kMaxChannels], t1[kMaxHidden], s2[3 * kMaxHidden], t2[3];
};

static void synthesise_backward(const NetworkShape& shape, const Parameters<const float>& p, const Plane* upsampled,
                                Picture output_gradient, float* finest_gradient, Parameters<float>* gradient, int begin,
                                int end) {
    const int width = upsampled[0].width;
    const int inputs = shape.grids + shape.noise;
    float s1_transposed[kMaxChannels * kMaxHidden], s1_of_grids[kMaxHidden * kMaxGrids];
    transpose(p.s1, shape.hidden, inputs, s1_transposed);
    for (int o = 0; o < shape.hidden; ++o)
        for (int k = 0; k < shape.grids; ++k) s1_of_grids[o * shape.grids + k] = p.s1[o * inputs + k];
    SynthesisSums sums;
    if (gradient) sums = {};
    Floats in[kMaxChannels * kTile], hidden[kMaxHidden * kTile], out[3 * kTile];
    for (int y = begin; y < end; ++y)
        for (int x = 0; x < width; x += kTile * kLanes) {
            const int vectors = vectors_of_tile(x, width);
            load_tile(upsampled, inputs, y, x, vectors, in);
            load_tile(output_gradient.channels, 3, y, x, vectors, out);
            // Computing the hidden layer again is cheaper than keeping it.
            dense<Activation::relu>(s1_transposed, p.t1, in, inputs, hidden, shape.hidden, vectors);
            if (gradient) accumulate_gradient(out, 3, hidden, shape.hidden, sums.s2, sums.t2, vectors);
            dense<Activation::gate>(p.s2, nullptr, out, 3, hidden, shape.hidden, vectors);
            if (gradient) accumulate_gradient(hidden, shape.hidden, in, inputs, sums.s1, sums.t1, vectors);
            dense<Activation::none>(s1_of_grids, nullptr, hidden, shape.hidden, in, shape.grids, vectors);
            for (int k = 1; k < shape.grids; ++k) store_tile(upsampled[k], y, x, vectors, in + k * kTile);
            if (!finest_gradient) continue;
            float* finest = finest_gradient + y * upsampled[0].stride + x;
            for (int n = 0; n < vectors; ++n, finest += kLanes) store(finest, load(finest) + in[n]);
        }
    if (gradient) {
        flush(sums.s1, shape.hidden * inputs, gradient->s1);
        flush(sums.t1, shape.hidden, gradient->t1);
        flush(sums.s2, 3 * shape.hidden, gradient->s2);
        flush(sums.t2, 3, gradient->t2);
    }
}

/// The sum of a 3x3 filter bank over three channels for kVectors vectors of pixels from column x on. rows[channel][row]
/// are the rows that the filters see, weights are [output][channel][row][column].
template <int kVectors>
AQT_INLINE void convolve(const float* const (*rows)[3], int x, const float* weights, Floats (*sums)[kVectors]) {
    for (int c = 0; c < 3; ++c)
        for (int i = 0; i < 3; ++i) {
            const float* p = rows[c][i] + x - 1;
#pragma GCC unroll 3
            for (int j = 0; j < 3; ++j) {
                Floats w[3];
#pragma GCC unroll 3
                for (int o = 0; o < 3; ++o) w[o] = splat(weights[o * 27 + c * 9 + i * 3 + j]);
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; ++v) {
                    const Floats a = load(p + j + v * kLanes);
#pragma GCC unroll 3
                    for (int o = 0; o < 3; ++o) sums[o][v] += w[o] * a;
                }
            }
        }
}

/// Calls f.operator()<vectors>(x) for consecutive groups of vectors that cover `width` columns.
template <class F>
AQT_INLINE void for_columns(int width, const F& f) {
    int x = 0;
    for (; x + 2 * kLanes < width; x += 4 * kLanes) f.template operator()<4>(x);
    if (x < width) f.template operator()<2>(x);
}

/// The rows around y that a filter sees, those beyond the edge being the nearest.
AQT_INLINE void rows_around(const Picture& picture, int y, const float* (*rows)[3]) {
    for (int c = 0; c < 3; ++c)
        for (int i = 0; i < 3; ++i) {
            const Plane& plane = picture.channels[c];
            rows[c][i] = plane.data + clamp(y + i - 1, 0, plane.height - 1) * plane.stride;
        }
}

static void residual(const ResidualLayer& layer, Picture input, Picture output, int begin, int end) {
    const int width = input.channels[0].width;
    for (int y = begin; y < end; ++y) {
        const float* rows[3][3];
        rows_around(input, y, rows);
        float* out[3];
        for (int c = 0; c < 3; ++c) out[c] = output.channels[c].data + y * output.channels[c].stride;
        for_columns(width, [&]<int kVectors>(int x) __attribute__((always_inline)) {
            Floats sums[3][kVectors];
            for (int o = 0; o < 3; ++o)
                for (int v = 0; v < kVectors; ++v) sums[o][v] = splat(layer.bias[o]);
            convolve<kVectors>(rows, x, layer.weights, sums);
            for (int o = 0; o < 3; ++o)
                for (int v = 0; v < kVectors; ++v) {
                    const int column = x + v * kLanes;
                    const Floats change = layer.last ? sums[o][v] : max(sums[o][v], splat(0.0f));
                    store(out[o] + column, load(rows[o][1] + column) + change);
                }
        });
        for (float* row : out) replicate_ends(row, width);
    }
}

/// The gradient of a layer's filter sums in row y: that of its output, where the relu let it through, with zeros around
/// the row.
AQT_INLINE void gate_row(const ResidualLayer& layer, const Picture& input, const Picture& output,
                         const Picture& output_gradient, int y, float* const* gated) {
    for (int c = 0; c < 3; ++c) {
        const Plane &in = input.channels[c], &out = output.channels[c], &gradient = output_gradient.channels[c];
        for (int x = 0; x < in.width; x += kLanes) {
            Floats g = load(gradient.data + y * gradient.stride + x);
            if (!layer.last) {
                const Floats before = load(in.data + y * in.stride + x), after = load(out.data + y * out.stride + x);
                g = select(after > before, g, splat(0.0f));
            }
            store(gated[c] + x, keep_below(g, x, in.width));
        }
        gated[c][-1] = 0.0f;
        for (int i = 0; i < kLanes + 1; ++i) gated[c][in.width + i] = 0.0f;
    }
}

/// The gradients of filters and bias, lane by lane.
struct FilterSums {
    Floats weights[81] = {}, bias[3] = {};

    /// Adds what a row contributes, `gated` being the gradient of its filter sums and `rows` what the filters saw.
    void add(const float* const (*rows)[3], const float* const* gated, int width) __attribute__((always_inline)) {
        // As many rows of a filter at once as the registers hold sums for.
        constexpr int kRows = kLanes == 16 ? 3 : 1;
        for (int c = 0; c < 3; ++c)
            for (int first = 0; first < 3; first += kRows) {
                Floats* const totals = weights + c * 9 + first * 3;
                Floats sums[3][3 * kRows];
#pragma GCC unroll 3
                for (int o = 0; o < 3; ++o)
#pragma GCC unroll 9
                    for (int t = 0; t < 3 * kRows; ++t) sums[o][t] = totals[o * 27 + t];
                for (int x = 0; x < width; x += kLanes) {
                    const Floats g[3] = {load(gated[0] + x), load(gated[1] + x), load(gated[2] + x)};
#pragma GCC unroll 9
                    for (int t = 0; t < 3 * kRows; ++t) {
                        const Floats a = load(rows[c][first + t / 3] + x + t % 3 - 1);
#pragma GCC unroll 3
                        for (int o = 0; o < 3; ++o) sums[o][t] += g[o] * a;
                    }
                }
#pragma GCC unroll 3
                for (int o = 0; o < 3; ++o)
#pragma GCC unroll 9
                    for (int t = 0; t < 3 * kRows; ++t) totals[o * 27 + t] = sums[o][t];
            }
        for (int o = 0; o < 3; ++o)
            for (int x = 0; x < width; x += kLanes) bias[o] += load(gated[o] + x);
    }
};

/// The filters of the transposed convolution, [channel][output][row][column], for the rows of a picture.
///
/// The transpose of reading a replicated row is to add to the nearest one. At the top, where no gradient comes from
/// above, the place of that row is taken by what row 0 contributed to its replica; at the bottom likewise.
AQT_INLINE void transpose_filters(const float* weights, bool top, bool bottom, float* transposed) {
    for (int o = 0; o < 3; ++o)
        for (int c = 0; c < 3; ++c)
            for (int i = 0; i < 3; ++i)
                for (int j = 0; j < 3; ++j) {
                    const int row = (i == 0 && top) ? 0 : (i == 2 && bottom) ? 2 : 2 - i;
                    transposed[c * 27 + o * 9 + i * 3 + j] = weights[o * 27 + c * 9 + row * 3 + 2 - j];
                }
}

static void residual_backward(const ResidualLayer& layer, Picture input, Picture output, Picture output_gradient,
                              Picture input_gradient, float* weight_gradient, float* bias_gradient, int begin, int end,
                              float* scratch) {
    const int width = input.channels[0].width, height = input.channels[0].height;
    // A ring of the gated rows y - 1, y, y + 1; ring[row][channel].
    float* ring[4][3];
    for (int i = 0; i < 4; ++i)
        for (int c = 0; c < 3; ++c) ring[i][c] = scratch + (i * 3 + c) * (width + 64) + kMargin;
    FilterSums sums;
    int ready = max(begin - 1, 0);
    for (int y = begin; y < end; ++y) {
        for (; ready < min(y + 2, height); ++ready)
            gate_row(layer, input, output, output_gradient, ready, ring[ready % 4]);
        float transposed[81];
        transpose_filters(layer.weights, y == 0, y == height - 1, transposed);
        const float* gradients[3][3];
        for (int c = 0; c < 3; ++c)
            for (int i = 0; i < 3; ++i) gradients[c][i] = ring[clamp(y + i - 1, 0, height - 1) % 4][c];
        if (weight_gradient) {
            const float* inputs[3][3];
            rows_around(input, y, inputs);
            sums.add(inputs, ring[y % 4], width);
        }
        float* out[3];
        const float* direct[3];
        for (int c = 0; c < 3; ++c) {
            out[c] = input_gradient.channels[c].data + y * input_gradient.channels[c].stride;
            direct[c] = output_gradient.channels[c].data + y * output_gradient.channels[c].stride;
        }
        for_columns(width, [&]<int kVectors>(int x) __attribute__((always_inline)) {
            Floats sum[3][kVectors];
            for (int c = 0; c < 3; ++c)
                for (int v = 0; v < kVectors; ++v) sum[c][v] = load(direct[c] + x + v * kLanes);
            convolve<kVectors>(gradients, x, transposed, sum);
            for (int c = 0; c < 3; ++c)
                for (int v = 0; v < kVectors; ++v)
                    store(out[c] + x + v * kLanes, keep_below(sum[c][v], x + v * kLanes, width));
        });
        // What the first and last columns contributed to their replicas.
        for (int c = 0; c < 3; ++c)
            for (int o = 0; o < 3; ++o)
                for (int i = 0; i < 3; ++i) {
                    const float* filter = transposed + c * 27 + o * 9 + i * 3;
                    out[c][0] += filter[2] * gradients[o][i][0];
                    out[c][width - 1] += filter[0] * gradients[o][i][width - 1];
                }
    }
    if (weight_gradient) {
        flush(sums.weights, 81, weight_gradient);
        flush(sums.bias, 3, bias_gradient);
    }
}

static double squared_error(Picture image, Picture target, const Picture* gradient, float scale, int begin, int end) {
    double sum = 0;
    for (int y = begin; y < end; ++y)
        for (int c = 0; c < 3; ++c) {
            const Plane &a = image.channels[c], &b = target.channels[c];
            Floats row_sum = splat(0.0f);
            for (int x = 0; x < a.width; x += kLanes) {
                const Floats clamped = min(max(load(a.data + y * a.stride + x), splat(0.0f)), splat(1.0f));
                const Floats error = keep_below(clamped - load(b.data + y * b.stride + x), x, a.width);
                row_sum += error * error;
                if (gradient)
                    store(gradient->channels[c].data + y * gradient->channels[c].stride + x, 2.0f * scale * error);
            }
            sum += sum_of_lanes(row_sum);
        }
    return sum;
}

static void export_picture(Picture image, float* planes, int begin, int end) {
    for (int c = 0; c < 3; ++c) {
        const Plane& from = image.channels[c];
        for (int y = begin; y < end; ++y) {
            const float* row = from.data + y * from.stride;
            float* to = planes + (std::ptrdiff_t(c) * from.height + y) * from.width;
            int x = 0;
            for (; x + kLanes <= from.width; x += kLanes) store(to + x, min(max(load(row + x), splat(0.0f)), splat(1.0f)));
            for (; x < from.width; ++x) to[x] = row[x] > 0 ? (row[x] < 1 ? row[x] : 1) : 0;  // there are no margins
        }
    }
}

static bool import_gradient(const float* planes, Picture gradient, int begin, int end) {
    Ints endless = splat(int32_t{0});
    for (int c = 0; c < 3; ++c) {
        const Plane& to = gradient.channels[c];
        for (int y = begin; y < end; ++y) {
            float* row = to.data + y * to.stride;
            std::memcpy(row, planes + (std::ptrdiff_t(c) * to.height + y) * to.width, to.width * sizeof(float));
            for (int x = 0; x < to.width; x += kLanes) endless |= keep_below(load(row + x), x, to.width) * 0.0f != 0.0f;
        }
    }
    return sum_of_lanes(to_floats(endless)) == 0;
}

}  // namespace aquatint::AQT_ISA
