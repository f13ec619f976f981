#include "wasserstein.h"

#include <cmath>
#include <numeric>

namespace aquatint {

namespace portable {
extern const WassersteinKernels kWassersteinKernels;
}
namespace avx2 {
extern const WassersteinKernels kWassersteinKernels;
}
namespace avx512 {
extern const WassersteinKernels kWassersteinKernels;
}

const WassersteinKernels& wasserstein_kernels(Isa isa) {
#ifdef AQT_HAS_AVX512
    if (isa == Isa::avx512) return avx512::kWassersteinKernels;
#endif
#ifdef AQT_HAS_AVX2
    if (isa == Isa::avx2) return avx2::kWassersteinKernels;
#endif
    static_cast<void>(isa);
    return portable::kWassersteinKernels;
}

namespace {

/// How many nodes of windows of width 2^level a line of samples has.
int nodes(int samples, int level) { return ((samples - 1 + (1 << level) - 1) >> level) + 1; }

/// Sums of a line weighted 1/2, 1, 1/2 around every second sample.
std::vector<double> widen(const std::vector<double>& line) {
    const int size = static_cast<int>(line.size());
    std::vector<double> wider(size / 2 + 1);
    for (int i = 0; i < size; ++i)
        for (int node : {i / 2, (i + 1) / 2}) wider[node] += line[i] / 2;
    return wider;
}

using Sums = std::vector<std::vector<double>>;

Sums rows_of(const float* map, int height, int width) {
    Sums rows;
    for (int y = 0; y < height; ++y) rows.emplace_back(map + std::size_t(y) * width, map + std::size_t(y + 1) * width);
    return rows;
}

/// The same across and down.
Sums widen(Sums sums) {
    for (auto& row : sums) row = widen(row);
    Sums wider(sums.size() / 2 + 1, std::vector<double>(sums[0].size()));
    for (int y = 0; y < static_cast<int>(sums.size()); ++y)
        for (int node : {y / 2, (y + 1) / 2})
            for (std::size_t x = 0; x < sums[y].size(); ++x) wider[node][x] += sums[y][x] / 2;
    return wider;
}

/// 1 / sum of the window at every node of a line.
std::vector<float> inverse_windows(int samples, int level) {
    std::vector<double> line(samples, 1.0);
    for (int i = 0; i < level; ++i) line = widen(line);
    std::vector<float> inverse;
    for (double sum : line) inverse.push_back(static_cast<float>(1 / sum));
    return inverse;
}

void copy_row(const float* from, int width, float* to) { std::copy_n(from, width, to); }

}  // namespace

Windows::Windows(int level, int height, int width)
    : level(level),
      rows(nodes(height, level)),
      columns(nodes(width, level)),
      weight(rows, columns),
      down(inverse_windows(height, level)),
      across(1, columns) {
    const auto inverse = inverse_windows(width, level);
    copy_row(inverse.data(), static_cast<int>(inverse.size()), across.row(0));
}

PyramidLevel::PyramidLevel(int height, int width, const float* log2_sigma, const float* importance, float weight)
    : height(height), width(width), pointwise_weight(height, width) {
    // Windowed sums of log2 sigma and of importance, first of windows of one sample.
    Sums sums = rows_of(log2_sigma, height, width), importances = rows_of(importance, height, width);
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
            const double counts = importances[y][x] * std::max(1 - sums[y][x], 0.0);
            pointwise = pointwise || counts > 0;
            pointwise_weight.row(y)[x] = static_cast<float>(weight * counts / (double(height) * width * kFeatures));
        }
    for (int level = 1; level <= kWindows; ++level) {
        sums = widen(std::move(sums)), importances = widen(std::move(importances));
        Windows window(level, height, width);
        const Plane grid = window.weight;
        const double scale = weight / (double(grid.height) * grid.width * kFeatures);
        for (int y = 0; y < grid.height; ++y)
            for (int x = 0; x < grid.width; ++x) {
                const double inverse = double(window.down[y]) * window.across.row(0)[x];
                const double counts = std::max(1 - std::abs(sums[y][x] * inverse - level), 0.0);
                // Rounding of the mean of a constant must not wake the next level.
                window.active = window.active || counts > 1e-6;
                window.weight.row(y)[x] = static_cast<float>(scale * importances[y][x] * inverse * counts);
            }
        if (window.active || !windows.empty()) windows.push_back(std::move(window));
    }
    while (!windows.empty() && !windows.back().active) windows.pop_back();
}

WassersteinWorker::WassersteinWorker(int height, int width)
    : stride((width + 2 * kRowUnit - 1) / kRowUnit * kRowUnit + 8 * kRowUnit),
      upper(kMoments * stride),
      lower(kMoments * stride),
      ahead(kMoments * stride),
      around(3 * (kBatch + 2) * stride),
      line(2 * stride) {
    for (int level = 1; level <= kWindows; ++level)
        for (int i = 0; i < 2; ++i) sums.emplace_back(nodes(height, level), nodes(width, level));
}

Wasserstein::Wasserstein(const float* pixels, int height, int width, const std::vector<const float*>& log2_sigma,
                         const std::vector<const float*>& importance, const SteerableStack& stack, float weight,
                         float pixel_weight, bool holds_finest, int threads, Isa isa)
    : kernels_(wasserstein_kernels(isa)),
      stack_(stack),
      pixel_weight_(pixel_weight),
      holds_finest_(holds_finest),
      target_(pixels, pixels + std::size_t(3) * height * width),
      held_(holds_finest ? height : 0, width),
      pool_(std::clamp(threads, 1, (height + 63) / 64)) {
    for (int level = 0; level < kLevels; ++level) {
        levels_.emplace_back(height, width, log2_sigma[level], importance[level], weight);
        height = (height + 1) / 2, width = (width + 1) / 2;
    }
    for (auto* pyramid : {&picture_, &reference_, &gradient_})
        for (int colour = 0; colour < kColours; ++colour)
            for (const PyramidLevel& level : levels_) pyramid->emplace_back(level.height, level.width);
    for (int colour = 0; colour < kColours; ++colour)
        for (int level = colour > 0; level < kLevels; ++level) {
            const Gains gains{colour == 0 ? 0.5f : 0.0f, stack.pixel_gain, stack.even_gain, stack.odd_gain};
            const auto& windows = levels_[level].windows;
            const bool kept = windows.size() > 1;
            OwnedPlane moments(kept ? windows[0].rows * kMoments : 0, kept ? windows[0].columns : 0);
            SteerableMap map{colour, level, gains, std::move(moments), {}, {}};
            for (const Windows& window : windows)
                for (auto* statistic : {&map.mean, &map.deviation})
                    statistic->emplace_back(window.active ? window.rows * kFeatures : 0, window.columns);
            maps_.push_back(std::move(map));
        }
    for (int worker = 0; worker < pool_.size(); ++worker) {
        workers_.emplace_back(this->height(), this->width());
        for (const SteerableMap& map : maps_) workers_.back().halos.emplace_back(2, levels_[map.level].width);
        workers_.back().values.resize(maps_.size());
    }
    pool_.run([&](int worker) { describe(target_.data(), worker, 0, true); });
    std::swap(picture_, reference_);
}

// Forward.

/// The pyramid of an image, for all workers together, and the statistics of the reference to record; or, of maps whose
/// windows have several widths, the value and the gradient of the distortion with respect to the moments.
void Wasserstein::describe(const float* image, int worker, std::size_t first_map, bool record) {
    WassersteinWorker& own = workers_[worker];
    float* line = own.line.data();
    const std::size_t size = std::size_t(height()) * width();
    const float* const planes[3] = {image, image + size, image + 2 * size};
    const Range rows = share(height(), worker, pool_.size());
    for (int c = 0; c < kColours; ++c)
        kernels_.colour(planes, width(), stack_.colours + 3 * c, plane(picture_, c, 0), rows.begin, rows.end);
    pool_.synchronise();
    for (int level = 1; level < kLevels; ++level) {
        const Range coarse = share(levels_[level].height, worker, pool_.size());
        for (int c = 0; c < kColours; ++c)
            kernels_.decimate(plane(picture_, c, level - 1), plane(picture_, c, level), coarse.begin, coarse.end, line);
        pool_.synchronise();
    }
    const auto windows = [&](std::size_t i) { return levels_[maps_[i].level].windows.size(); };
    for (std::size_t i = first_map; i < maps_.size(); ++i)
        if (windows(i) > (record ? 0 : 1)) collect_moments(maps_[i], worker, record);
    pool_.synchronise();
    const Range features = share(kFeatures, worker, pool_.size());
    for (std::size_t i = first_map; i < maps_.size(); ++i) {
        own.values[i] = 0;
        for (int feature = features.begin; feature < features.end && windows(i) > 1; ++feature)
            own.values[i] += compare_windows(maps_[i], feature, own, record);
    }
    pool_.synchronise();
}

FeatureRows Wasserstein::feature_rows(const SteerableMap& map, int begin, int end, MomentRows upper,
                                      MomentRows lower) const {
    const PyramidLevel& level = levels_[map.level];
    const int index = map.colour * kLevels + map.level;
    FeatureRows rows{};
    rows.level = picture_[index];
    rows.gains = map.gains;
    rows.begin = begin, rows.end = end;
    if (!level.windows.empty()) {
        const int width = 1 << level.windows[0].level;
        rows.step = 1.0f / width;
        rows.offset = static_cast<float>(begin % width) * rows.step;
        rows.upper = upper, rows.lower = lower;
        rows.first = begin % width == 0;
    }
    if (level.pointwise) {
        rows.reference = reference_[index];
        rows.weights = level.pointwise_weight;
    }
    return rows;
}

/// Adds the strip of rows between a node and the next to the sums of both.
void Wasserstein::accumulate(const SteerableMap& map, int node, MomentRows upper, MomentRows lower) {
    const PyramidLevel& level = levels_[map.level];
    const int strip = 1 << level.windows[0].level, end = std::min((node + 1) * strip, level.height);
    for (int y = node * strip; y < end; y += kBatch)
        kernels_.accumulate(feature_rows(map, y, std::min(y + kBatch, end), upper, lower));
}

/// What the strip above a row of nodes says about it, into own.ahead: `sum` goes on from there.
void Wasserstein::start_sums(const SteerableMap& map, int node, WassersteinWorker& own) {
    if (node > 0)
        accumulate(map, node - 1, own.moment_rows(own.lower), own.moment_rows(own.ahead));
    else
        std::fill_n(own.ahead.data(), kMoments * own.stride, 0.0f);
}

/// Sums in the narrowest windows at a row of nodes, into own.lower; rows of nodes must follow each other.
MomentRows Wasserstein::sum(const SteerableMap& map, int node, WassersteinWorker& own) {
    std::swap(own.lower, own.ahead);
    const MomentRows sums = own.moment_rows(own.lower);
    accumulate(map, node, sums, own.moment_rows(own.ahead));
    const PyramidLevel& level = levels_[map.level];
    kernels_.window(sums, kMoments, level.width, level.windows[0].level);
    return sums;
}

/// Sums in the narrowest windows for this worker's share of the rows of nodes.
void Wasserstein::collect_moments(SteerableMap& map, int worker, bool record) {
    WassersteinWorker& own = workers_[worker];
    const auto& windows = levels_[map.level].windows;
    const Range rows = share(windows[0].rows, worker, pool_.size());
    if (rows.begin < rows.end) start_sums(map, rows.begin, own);
    for (int node = rows.begin; node < rows.end; ++node) {
        const MomentRows sums = sum(map, node, own);
        if (windows.size() == 1)
            compare_sums(map, node, sums, record);
        else
            for (int i = 0; i < kMoments; ++i)
                copy_row(sums.data + i * sums.stride, windows[0].columns, map.moments.row(node * kMoments + i));
    }
}

/// Compares all features at a row of nodes of the only windows; sums become their gradient.
double Wasserstein::compare_sums(SteerableMap& map, int node, MomentRows sums, bool record) {
    double value = 0;
    for (int i = 0; i < kFeatures; ++i) {
        float* row = sums.data + i * sums.stride;
        value += compare_nodes(map, 0, i, node, row, row + kFeatures * sums.stride, record);
    }
    return value;
}

/// From the sums of one feature at a row of nodes to its distortion and their gradient; or to the reference's record.
double Wasserstein::compare_nodes(SteerableMap& map, int window, int feature, int y, float* sum, float* square,
                                  bool record) {
    const Windows& windows = levels_[map.level].windows[window];
    const int at = y * kFeatures + feature;
    const NodeRow nodes{sum,
                        square,
                        map.mean[window].row(at),
                        map.deviation[window].row(at),
                        windows.weight.row(y),
                        windows.across.row(0),
                        windows.down[y],
                        windows.columns};
    if (!record) return kernels_.compare(nodes);
    kernels_.record(nodes);
    return 0;
}

/// The same for all nodes, and from the moments in the narrowest windows to those in wider ones and back.
double Wasserstein::compare_windows(SteerableMap& map, int feature, WassersteinWorker& own, bool record) {
    double value = 0;
    const auto& windows = levels_[map.level].windows;
    float* line = own.line.data() + kMargin;
    const auto sums = [&](int window, int moment) -> Plane {
        Plane sums = own.sums[2 * (windows[window].level - 1) + moment];
        if (window == 0) {
            const std::ptrdiff_t stride = map.moments.row(1) - map.moments.row(0);
            sums.data = map.moments.row(feature + moment * kFeatures), sums.stride = kMoments * stride;
        }
        sums.height = windows[window].rows, sums.width = windows[window].columns;
        return sums;
    };
    const auto row = [](const Plane& plane, int y) { return plane.data + y * plane.stride; };
    // A line of zeros stands for rows outside.
    float* zeros = line + own.stride;
    const auto inside = [&](const Plane& plane, int y) { return y < 0 || y >= plane.height ? zeros : row(plane, y); };
    for (int i = 1; i < static_cast<int>(windows.size()); ++i)
        for (int moment = 0; moment < 2; ++moment) {
            const Plane fine = sums(i - 1, moment), coarse = sums(i, moment);
            for (int y = 0; y < coarse.height; ++y) {
                kernels_.widen(inside(fine, 2 * y - 1), inside(fine, 2 * y), inside(fine, 2 * y + 1), line, fine.width);
                copy_row(line, kernels_.window({line, 0}, 1, fine.width, 1), row(coarse, y));
            }
        }
    for (int i = static_cast<int>(windows.size()) - 1; i >= 0; --i) {
        const Plane sum = sums(i, 0), square = sums(i, 1);
        for (int y = 0; y < sum.height; ++y) {
            if (windows[i].active) {
                value += compare_nodes(map, i, feature, y, row(sum, y), row(square, y), record);
            } else {
                std::fill_n(row(sum, y), sum.width, 0.0f);
                std::fill_n(row(square, y), sum.width, 0.0f);
            }
        }
        if (record || i + 1 == static_cast<int>(windows.size())) continue;
        for (int moment = 0; moment < 2; ++moment) {  // what the wider windows say
            const Plane fine = sums(i, moment), coarse = sums(i + 1, moment);
            for (int y = 0; y < fine.height; ++y) {
                kernels_.widen(row(coarse, y / 2), zeros, row(coarse, (y + 1) / 2), line, coarse.width);
                kernels_.window_backward({line, 0}, 1, fine.width, 1);
                kernels_.add(line, row(fine, y), fine.width);
            }
        }
    }
    return value;
}

// Backward.

double Wasserstein::differentiate(const float* image, float* gradient) {
    const std::size_t size = std::size_t(height()) * width();
    const std::size_t first_map = is_held_ ? 1 : 0;
    pool_.run([&](int worker) {
        WassersteinWorker& own = workers_[worker];
        describe(image, worker, first_map, false);
        for (std::size_t i = first_map; i < maps_.size(); ++i)
            own.values[i] += backward(maps_[i], own.halos[i], worker);
        pool_.synchronise();
        if (worker == 0)
            for (std::size_t i = first_map; i < maps_.size(); ++i) add_halos(i);
        pool_.synchronise();
        const Range rows = share(height(), worker, pool_.size());
        OwnedPlane& finest = plane(gradient_, 0, 0);
        if (holds_finest_)
            for (int y = rows.begin; y < rows.end; ++y)
                copy_row((is_held_ ? held_ : finest).row(y), width(), (is_held_ ? finest : held_).row(y));
        for (int level = kLevels - 1; level > 0; --level) {
            const Range finer = share(levels_[level - 1].height, worker, pool_.size());
            for (int c = 0; c < kColours; ++c) {
                OwnedPlane& fine = plane(gradient_, c, level - 1);
                if (c > 0 && level == 1)  // which has no map
                    for (int y = finer.begin; y < finer.end; ++y) std::fill_n(fine.row(y), width(), 0.0f);
                kernels_.decimate_backward(plane(gradient_, c, level), fine, finer.begin, finer.end, own.line.data());
            }
            pool_.synchronise();
        }
        const Plane colours[3] = {finest, plane(gradient_, 1, 0), plane(gradient_, 2, 0)};
        own.squares = kernels_.combine(colours, stack_.colours, image, target_.data(), 2 * pixel_weight_ / (3 * size),
                                       gradient, static_cast<std::ptrdiff_t>(size), rows.begin, rows.end);
    });
    is_held_ = holds_finest_ && !is_held_;
    double value = 0;
    for (const WassersteinWorker& worker : workers_) {
        value += pixel_weight_ / (3.0 * size) * worker.squares;
        value += std::accumulate(worker.values.begin(), worker.values.end(), 0.0);
    }
    return value;
}

/// The gradient of a map's rows that this worker owns, and in `halos` what belongs to the rows above and below them.
double Wasserstein::backward(SteerableMap& map, const OwnedPlane& halos, int worker) {
    WassersteinWorker& own = workers_[worker];
    const PyramidLevel& level = levels_[map.level];
    const int strip = level.windows.empty() ? kBatch : 1 << level.windows[0].level;
    const Range strips = share((level.height + strip - 1) / strip, worker, pool_.size());
    if (strips.begin >= strips.end) return 0;
    OwnedPlane& gradient = plane(gradient_, map.colour, map.level);
    double value = 0;
    const auto expand = [&](int node) {  // the gradient of a row of nodes at every column, into own.lower
        if (level.windows.empty()) return;
        const Windows& windows = level.windows[0];
        const MomentRows sums = level.windows.size() == 1 ? sum(map, node, own) : own.moment_rows(own.lower);
        if (level.windows.size() == 1) {
            const double part = compare_sums(map, node, sums, false);
            if (node < strips.end || strips.end * strip >= level.height) value += part;  // else another worker's
        } else {
            for (int i = 0; i < kMoments; ++i)
                copy_row(map.moments.row(node * kMoments + i), windows.columns, sums.data + i * sums.stride);
        }
        kernels_.window_backward(sums, kMoments, level.width, windows.level);
    };
    // Sums for the columns before, at and after: row i belongs to row y - 1 + i of the level while a batch begins at y.
    float* around[3];
    for (int j = 0; j < 3; ++j) around[j] = own.around.data() + kMargin + j * (kBatch + 2) * own.stride;
    for (float* rows : around) std::fill_n(rows, 2 * own.stride - kMargin, 0.0f);
    const auto gather = [&](int row, float* to) {
        const std::ptrdiff_t at = row * own.stride;
        kernels_.gather(around[0] + at, around[1] + at, around[2] + at, to, level.width);
    };
    const int first = strips.begin * strip, last = std::min(strips.end * strip, level.height);
    if (level.windows.size() == 1) start_sums(map, strips.begin, own);
    expand(strips.begin);
    for (int node = strips.begin; node < strips.end; ++node) {
        std::swap(own.upper, own.lower);
        if (node * strip < level.height - 1) expand(node + 1);  // else the last row is the node's own
        const int strip_end = std::min((node + 1) * strip, level.height);
        for (int y = node * strip; y < strip_end; y += kBatch) {
            const int end = std::min(y + kBatch, strip_end), count = end - y;
            const FeatureRows rows = feature_rows(map, y, end, own.moment_rows(own.upper), own.moment_rows(own.lower));
            value += kernels_.differentiate(rows, around, own.stride);
            for (int i = 0; i < count; ++i) gather(i, y - 1 + i < first ? halos.row(0) : gradient.row(y - 1 + i));
            for (float* rows : around)
                for (int i = 0; i < 2; ++i)
                    std::copy_n(rows + (count + i) * own.stride, level.width + kRowUnit, rows + i * own.stride);
        }
    }
    gather(0, gradient.row(last - 1));
    gather(1, halos.row(1));
    return value;
}

/// Adds what workers found for rows that others own; at the borders it belongs to the replicated rows.
void Wasserstein::add_halos(std::size_t index) {
    const SteerableMap& map = maps_[index];
    const PyramidLevel& level = levels_[map.level];
    const int strip = level.windows.empty() ? kBatch : 1 << level.windows[0].level;
    const OwnedPlane& gradient = plane(gradient_, map.colour, map.level);
    for (int worker = 0; worker < pool_.size(); ++worker) {
        const Range strips = share((level.height + strip - 1) / strip, worker, pool_.size());
        if (strips.begin >= strips.end) continue;
        const int above = std::max(strips.begin * strip - 1, 0), below = std::min(strips.end * strip, level.height - 1);
        for (int x = 0; x < level.width; ++x) {
            gradient.row(above)[x] += workers_[worker].halos[index].row(0)[x];
            gradient.row(below)[x] += workers_[worker].halos[index].row(1)[x];
        }
    }
}

}  // namespace aquatint
