// The stages of the Wasserstein distortion for one instruction set. src/aquatint/perception/steerable.py says what the
// features are and wasserstein.py what becomes of them.
#include "wasserstein_kernels.h"

#include "simd_math.h"

namespace aquatint::AQT_ISA {

AQT_INLINE void replicate_ends(float* row, int width) {
    row[-1] = row[0];
    row[width] = row[width - 1];
}

static void colour(const float* const* planes, std::ptrdiff_t stride, const float* weights, Plane colour, int begin,
                   int end) {
    for (int y = begin; y < end; ++y) {
        const float *r = planes[0] + y * stride, *g = planes[1] + y * stride, *b = planes[2] + y * stride;
        float* out = colour.data + y * colour.stride;
        for (int x = 0; x < colour.width; ++x) out[x] = weights[0] * r[x] + weights[1] * g[x] + weights[2] * b[x];
        replicate_ends(out, colour.width);
    }
}

static void decimate(Plane fine, Plane coarse, int begin, int end, float* scratch) {
    float* line = scratch + kMargin;
    for (int y = begin; y < end; ++y) {
        const float* above = fine.data + max(2 * y - 1, 0) * fine.stride;
        const float* at = fine.data + 2 * y * fine.stride;
        const float* below = fine.data + min(2 * y + 1, fine.height - 1) * fine.stride;
        for (int x = 0; x < fine.width; x += kLanes)
            store(line + x, load(above + x) + 2.0f * load(at + x) + load(below + x));
        replicate_ends(line, fine.width);
        float* out = coarse.data + y * coarse.stride;
        for (int x = 0; x < coarse.width; ++x)
            out[x] = (line[2 * x - 1] + 2.0f * line[2 * x] + line[2 * x + 1]) * (1 / 16.0f);
        replicate_ends(out, coarse.width);
    }
}

static void decimate_backward(Plane coarse, Plane fine, int begin, int end, float* scratch) {
    float* line = scratch + kMargin;
    for (int y = begin; y < end; ++y) {
        // An even row is seen by one coarse row, twice, and at a border once more in place of the row beyond; an odd
        // row by those above and below it.
        const bool odd = y % 2;
        const int first = y / 2, second = min((y + 1) / 2, coarse.height - 1);
        const float weight = odd ? 1 / 16.0f : (2 + (y == 0) + (y == fine.height - 1)) / 16.0f;
        const float second_weight = odd && y + 1 < fine.height ? 1 / 16.0f : 0.0f;
        const float *a = coarse.data + first * coarse.stride, *b = coarse.data + second * coarse.stride;
        for (int x = 0; x < coarse.width; x += kLanes)
            store(line + x, weight * load(a + x) + second_weight * load(b + x));
        line[coarse.width] = 0;
        float* out = fine.data + y * fine.stride;
        for (int x = 0; x < fine.width / 2; ++x) {
            out[2 * x] += 2.0f * line[x];
            out[2 * x + 1] += line[x] + line[x + 1];
        }
        if (fine.width % 2) out[fine.width - 1] += 3.0f * line[coarse.width - 1];
        out[0] += line[0];
    }
}

/// A row under the filters b, d and l across.
struct Across {
    Floats b, d, l;
};

AQT_INLINE Across filter_across(const Plane& level, int y, int x) {
    const float* row = level.data + clamp(y, 0, level.height - 1) * level.stride + x;
    const Floats before = load(row - 1), at = load(row), after = load(row + 1);
    const Floats sum = before + after;
    return {0.25f * sum + 0.5f * at, 0.5f * (after - before), at - 0.5f * sum};
}

constexpr float kDiagonal = 0.70710678f;

/// The responses of a batch at kLanes columns: [response][row].
AQT_INLINE void respond(const Plane& level, const Gains& gains, int begin, int count, int x,
                        Floats (*responses)[kBatch]) {
    Across above = filter_across(level, begin - 1, x), at = filter_across(level, begin, x);
    for (int i = 0; i < count; ++i) {
        const int y = begin + i;
        const Across below = filter_across(level, y + 1, x);
        const Floats dx = gains.odd * (0.25f * (above.d + below.d) + 0.5f * at.d);
        const Floats dy = gains.odd * 0.5f * (below.b - above.b);
        const Floats xx = gains.even * (0.25f * (above.l + below.l) + 0.5f * at.l);
        const Floats yy = gains.even * (at.b - 0.5f * (above.b + below.b));
        const Floats xy = gains.even * -0.25f * (below.d - above.d);
        const Floats isotropic = 0.5f * (xx + yy);
        responses[0][i] = gains.pixel * (load(level.data + y * level.stride + x) - gains.centre);
        responses[1][i] = xx;
        responses[2][i] = isotropic + xy;
        responses[3][i] = yy;
        responses[4][i] = isotropic - xy;
        responses[5][i] = dx;
        responses[6][i] = kDiagonal * (dx + dy);
        responses[7][i] = dy;
        responses[8][i] = kDiagonal * (dy - dx);
        above = at;
        at = below;
    }
}

static void accumulate(const FeatureRows& rows) {
    const int count = rows.end - rows.begin;
    Floats responses[kResponses][kBatch];
    for (int x = 0; x < rows.level.width; x += kLanes) {
        respond(rows.level, rows.gains, rows.begin, count, x, responses);
        for (int k = 0; k < kResponses; ++k) {
            // Of positive and negative side and their squares: the sum over rows, and that weighted by the offset.
            Floats sums[4] = {}, weighted[4] = {};
            Floats offset = splat(rows.offset);
            for (int i = 0; i < count; ++i) {
                const Floats r = responses[k][i], positive = max(r, splat(0.0f)), negative = positive - r;
                const Floats terms[4] = {positive, negative, positive * positive, negative * negative};
                for (int j = 0; j < 4; ++j) {
                    sums[j] += terms[j];
                    weighted[j] += offset * terms[j];
                }
                offset += rows.step;
            }
            for (int j = 0; j < 4; ++j) {
                const std::ptrdiff_t at = (k + j * kResponses) * rows.upper.stride + x;
                store(rows.upper.data + at, load(rows.upper.data + at) + sums[j] - weighted[j]);
                store(rows.lower.data + at, rows.first ? weighted[j] : load(rows.lower.data + at) + weighted[j]);
            }
        }
    }
}

// The widest read past the end of a row of nodes, in floats.
constexpr int kTail = 4 * kLanes;

AQT_INLINE void clear_ends(float* row, int width) {
    row[-1] = 0;
    for (int x = 0; x < kTail; x += kLanes) store(row + width + x, splat(0.0f));
}

AQT_INLINE Floats tent(const float* at) { return load(at) + 0.5f * (load(at - 1) + load(at + 1)); }

// All rows go from width to width together, since what has just been written is slow to read.

static int window(MomentRows rows, int count, int width, int level) {
    for (int k = 0; k < count; ++k) clear_ends(rows.data + k * rows.stride, width);
    for (int i = 0; i < level; ++i) {
        width = width / 2 + 1;
        for (int k = 0; k < count; ++k) {
            float* row = rows.data + k * rows.stride;
            for (int x = 0; x < width; x += kLanes) {
                Floats sums, unused;
                deinterleave(tent(row + 2 * x), tent(row + 2 * x + kLanes), sums, unused);
                store(row + x, sums);
            }
            clear_ends(row, width);
        }
    }
    return width;
}

static void window_backward(MomentRows rows, int count, int width, int level) {
    for (int i = level; i > 0; --i) {
        // From `nodes` nodes to columns two to a node: backwards, so that nothing is overwritten before it is read.
        const int nodes = ((width - 1 + (1 << i) - 1) >> i) + 1;
        for (int k = 0; k < count; ++k) {
            float* row = rows.data + k * rows.stride;
            row[nodes] = 0;
            for (int x = (nodes - 1) / kLanes * kLanes; x >= 0; x -= kLanes) {
                const Floats at = load(row + x), after = load(row + x + 1);
                Floats a, b;
                interleave(at, 0.5f * (at + after), a, b);
                store(row + 2 * x, a);
                store(row + 2 * x + kLanes, b);
            }
        }
    }
}

static void widen(const float* above, const float* at, const float* below, float* out, int width) {
    for (int x = 0; x < width; x += kLanes) store(out + x, load(at + x) + 0.5f * (load(above + x) + load(below + x)));
}

static void add(const float* from, float* to, int width) {
    for (int x = 0; x < width; x += kLanes) store(to + x, load(to + x) + load(from + x));
}

static void record(const NodeRow& row) {
    for (int x = 0; x < row.count; ++x) {
        const float window = row.row_window * row.window[x], mean = window * row.sum[x];
        const float variance = window * row.square[x] - mean * mean;
        row.mean[x] = mean;
        row.deviation[x] = __builtin_sqrtf((variance > 0 ? variance : 0) + kVarianceFloor);
    }
}

constexpr int kPrefetched = 1024;  // floats of the reference's statistics to read ahead

static double compare(const NodeRow& row) {
    Floats value = splat(0.0f);
    for (int x = 0; x < row.count; x += kLanes) {
        // They are read once a call, in long streams, of which a row is too short a piece to be foreseen.
        __builtin_prefetch(row.mean + x + kPrefetched);
        __builtin_prefetch(row.deviation + x + kPrefetched);
        const Floats window = row.row_window * load(row.window + x), mean = window * load(row.sum + x);
        const Floats variance = window * load(row.square + x) - mean * mean;
        const Floats deviation = sqrt(max(variance, splat(0.0f)) + kVarianceFloor);
        const Floats weight = keep_below(load(row.weight + x), x, row.count);
        const Floats shift = mean - load(row.mean + x), spread = deviation - load(row.deviation + x);
        value += weight * (shift * shift + spread * spread);
        const Floats slope = spread / deviation;
        store(row.sum + x, 2.0f * weight * window * (shift - mean * slope));
        store(row.square + x, weight * window * slope);
    }
    return sum_of_lanes(value);
}

/// What the responses of a row say about the row above it, itself, or the one below: filtered across, and the centre.
struct Down {
    Floats b, d, l, centre;
};

/// The gradient with respect to a response under windows: `at` holds that of the sums of its sides and of their squares.
AQT_INLINE Floats windowed_gradient(Floats r, const Floats* at) {
    return select(r > splat(0.0f), at[0] + 2.0f * r * at[2],
                  select(r < splat(0.0f), 2.0f * r * at[3] - at[1], splat(0.0f)));
}

static double differentiate(const FeatureRows& rows, float* const* around, std::ptrdiff_t stride) {
    const int count = rows.end - rows.begin;
    const bool windowed = rows.upper.data != nullptr, pointwise = rows.weights.data != nullptr;
    Floats responses[kResponses][kBatch], reference[kResponses][kBatch];
    double value = 0;
    for (int x = 0; x < rows.level.width; x += kLanes) {
        respond(rows.level, rows.gains, rows.begin, count, x, responses);
        if (pointwise) respond(rows.reference, rows.gains, rows.begin, count, x, reference);
        Floats sum = splat(0.0f);
        for (int k = 0; k < kResponses; ++k) {
            Floats at[4] = {}, slope[4] = {};
            if (windowed)
                for (int j = 0; j < 4; ++j) {
                    const std::ptrdiff_t i = (k + j * kResponses) * rows.upper.stride + x;
                    at[j] = load(rows.upper.data + i);
                    slope[j] = load(rows.lower.data + i) - at[j];
                    at[j] += rows.offset * slope[j];
                    slope[j] *= rows.step;
                }
            for (int i = 0; i < count; ++i) {
                const Floats r = responses[k][i];
                Floats gradient = windowed_gradient(r, at);
                for (int j = 0; j < 4; ++j) at[j] += slope[j];
                if (pointwise) {
                    const float* weights = rows.weights.data + (rows.begin + i) * rows.weights.stride + x;
                    const Floats weight = keep_below(load(weights), x, rows.level.width), s = reference[k][i];
                    const Floats positive = max(r, splat(0.0f)) - max(s, splat(0.0f)), negative = positive - (r - s);
                    sum += weight * (positive * positive + negative * negative);
                    gradient += 2.0f * weight *
                                select(r > splat(0.0f), positive, select(r < splat(0.0f), -negative, splat(0.0f)));
                }
                responses[k][i] = gradient;
            }
        }
        if (pointwise) value += sum_of_lanes(sum);

        // The transposes of steering and of the filters down; those across are left to gather.
        const auto write = [&](int i, const Down& g) __attribute__((always_inline)) {
            const Floats at = 0.5f * g.b + g.l + g.centre, sides = 0.25f * g.b - 0.5f * g.l;
            const Floats terms[3] = {sides - 0.5f * g.d, at, sides + 0.5f * g.d};
            for (int j = 0; j < 3; ++j) {
                float* to = around[j] + i * stride + x;
                const Floats kept = keep_below(terms[j], x, rows.level.width);
                store(to, i < 2 ? load(to) + kept : kept);
            }
        };
        Down above{}, at{};
        for (int i = 0; i < count; ++i) {
            const auto g = [&](int k) __attribute__((always_inline)) { return responses[k][i]; };
            const Floats isotropic = 0.5f * (g(2) + g(4));
            const Floats dx = rows.gains.odd * (g(5) + kDiagonal * (g(6) - g(8)));
            const Floats dy = 0.5f * rows.gains.odd * (g(7) + kDiagonal * (g(6) + g(8)));
            const Floats xx = rows.gains.even * (g(1) + isotropic), yy = rows.gains.even * (g(3) + isotropic);
            const Floats xy = 0.25f * rows.gains.even * (g(2) - g(4));
            above.d += 0.25f * dx + xy;
            above.b -= dy + 0.5f * yy;
            above.l += 0.25f * xx;
            write(i, above);
            at.d += 0.5f * dx;
            at.b += yy;
            at.l += 0.5f * xx;
            at.centre = rows.gains.pixel * g(0);
            above = at;
            at = {dy - 0.5f * yy, 0.25f * dx - xy, 0.25f * xx, splat(0.0f)};
        }
        write(count, above);
        write(count + 1, at);
    }
    // What gather sees beyond the last vector.
    const int end = (rows.level.width + kLanes - 1) / kLanes * kLanes;
    for (int j = 0; j < 3; ++j)
        for (int i = 0; i < count + 2; ++i) around[j][i * stride + end] = 0;
    return value;
}

static void gather(const float* before, const float* at, const float* after, float* gradient, int width) {
    for (int x = 0; x < width; x += kLanes)
        store(gradient + x, load(at + x) + load(after + x - 1) + load(before + x + 1));
    gradient[0] += before[0];
    gradient[width - 1] += after[width - 1];
}

static double combine(const Plane* colours, const float* matrix, const float* image, const float* target,
                    float pixel_slope, float* gradient, std::ptrdiff_t size, int begin, int end) {
    const int width = colours[0].width;
    double squares = 0;
    for (int y = begin; y < end; ++y) {
        const float* rows[3];
        for (int c = 0; c < 3; ++c) rows[c] = colours[c].data + y * colours[c].stride;
        for (int k = 0; k < 3; ++k) {
            const std::ptrdiff_t at = k * size + static_cast<std::ptrdiff_t>(y) * width;
            const float m0 = matrix[k], m1 = matrix[3 + k], m2 = matrix[6 + k];
            Floats sum = splat(0.0f);
            int x = 0;
            for (; x + kLanes <= width; x += kLanes) {
                const Floats difference = load(image + at + x) - load(target + at + x);
                sum += difference * difference;
                store(gradient + at + x, m0 * load(rows[0] + x) + m1 * load(rows[1] + x) + m2 * load(rows[2] + x) +
                                             pixel_slope * difference);
            }
            for (; x < width; ++x) {  // these planes have no margins
                const float difference = image[at + x] - target[at + x];
                squares += difference * difference;
                gradient[at + x] = m0 * rows[0][x] + m1 * rows[1][x] + m2 * rows[2][x] + pixel_slope * difference;
            }
            squares += sum_of_lanes(sum);
        }
    }
    return squares;
}

extern const WassersteinKernels kWassersteinKernels;
const WassersteinKernels kWassersteinKernels{
    colour, decimate, decimate_backward, accumulate, window, window_backward, widen, add, record, compare,
    differentiate, gather, combine};

}  // namespace aquatint::AQT_ISA
