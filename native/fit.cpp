#include "fit.h"

#include <atomic>
#include <cmath>
#include <numbers>

namespace aquatint {

namespace portable {
extern const FitKernels kFitKernels;
}
namespace avx2 {
extern const FitKernels kFitKernels;
}
namespace avx512 {
extern const FitKernels kFitKernels;
}

const FitKernels& fit_kernels(Isa isa) {
#ifdef AQT_HAS_AVX512
    if (isa == Isa::avx512) return avx512::kFitKernels;
#endif
#ifdef AQT_HAS_AVX2
    if (isa == Isa::avx2) return avx2::kFitKernels;
#endif
    static_cast<void>(isa);
    return portable::kFitKernels;
}

namespace {

// Rows that a stage works on before the next one does, so that what it wrote is still in the cache.
constexpr int kStrip = 16;
// Rows whose gradients are summed in single precision before they are added up.
constexpr int kRateStrip = 64;
// Upsampling of noise (FORMAT.md, 2.5).
constexpr float kNoiseTaps[4] = {-3 / 256.f, -9 / 256.f, 67 / 256.f, 201 / 256.f};
// Grids from this one on are so small that sharing their upsampling would cost more than it saves.
constexpr int kSerialLevel = 2;

template <class T>
Parameters<T> locate(const NetworkShape& s, T* p) {
    const int inputs = s.context + s.parents;
    const auto take = [&p](int count) { return std::exchange(p, p + count); };
    Parameters<T> located;
    located.w1 = take(inputs * inputs);
    located.b1 = take(inputs);
    located.w2 = take(inputs * inputs);
    located.b2 = take(inputs);
    located.w3 = take(2 * inputs);
    located.b3 = take(2);
    located.taps = take(4 * (s.grids - 1));
    located.s1 = take(s.hidden * (s.grids + s.noise));
    located.t1 = take(s.hidden);
    located.s2 = take(3 * s.hidden);
    located.t2 = take(3);
    located.r = take(81 * s.residuals);
    located.u = take(3 * s.residuals);
    return located;
}

std::size_t parameter_count(const NetworkShape& s) {
    const int inputs = s.context + s.parents;
    const int synthesis = s.hidden * (s.grids + s.noise + 4) + 3 + 84 * s.residuals;
    return 2 * inputs * inputs + 4 * inputs + 2 + 4 * (s.grids - 1) + synthesis;
}

/// The parameter matrices for the optimiser; vectors and the upsampling's taps count as single rows.
std::vector<ParameterMatrix> parameter_matrices(const NetworkShape& s) {
    const int inputs = s.context + s.parents;
    std::vector<ParameterMatrix> matrices;
    int offset = 0;
    const auto add = [&](int rows, int columns) {
        matrices.push_back({offset, rows, columns});
        offset += rows * columns;
    };
    for (int layer = 0; layer < 2; ++layer) add(inputs, inputs), add(1, inputs);
    add(2, inputs), add(1, 2);
    add(1, 4 * (s.grids - 1));
    add(s.hidden, s.grids + s.noise), add(1, s.hidden);
    add(3, s.hidden), add(1, 3);
    for (int layer = 0; layer < s.residuals; ++layer) add(3, 27);
    add(1, 3 * s.residuals);
    return matrices;
}

// Adam's epsilon, relative to the gradient of a bit: a constant one would hold back the latents of large pictures and
// small Lagrangians, whose gradients are small (docs/notes/overfitted-fit.md). A Lagrangian of 0 must not make it 0.
constexpr float kEpsilon = 3;

Adam adam_step(float rate, float square_decay, int steps, float gradient_of_bit) {
    const auto correction = [&](double decay) { return static_cast<float>(1 / (1 - std::pow(decay, steps))); };
    return {rate, square_decay, correction(kMeanDecay), correction(square_decay),
            std::max(kEpsilon * gradient_of_bit, 1e-30f)};
}

void zero_rows(const OwnedPlane& plane, Range rows) {
    if (rows.begin < rows.end) std::fill(plane.row(rows.begin) - kMargin, plane.row(rows.end) - kMargin, 0.0f);
}

template <class Job>
void for_strips(Range rows, int strip, const Job& job) {
    for (int begin = rows.begin; begin < rows.end; begin += strip) job(begin, std::min(begin + strip, rows.end));
}

/// Calls job(channel, begin, end) for the share of one worker in the rows of all channels together.
template <class Job>
void for_shared_channels(int channels, int rows, int worker, int parts, const Job& job) {
    const Range items = share(channels * rows, worker, parts);
    for (int channel = items.begin / rows; channel * rows < items.end; ++channel)
        job(channel, std::max(items.begin - channel * rows, 0), std::min(items.end - channel * rows, rows));
}

}  // namespace

Fit::Fit(const float* pixels, int height, int width, const NetworkShape& shape, bool skip_finest, int threads, Isa isa)
    : kernels_(fit_kernels(isa)),
      shape_(shape),
      first_grid_(skip_finest ? 1 : 0),
      matrices_(parameter_matrices(shape)),
      parameters_(parameter_count(shape)),
      gradient_(parameters_.size()),
      soap_(matrices_, static_cast<int>(parameters_.size())),
      located_(locate<const float>(shape, parameters_.data())),
      target_(height, width),
      pool_(std::clamp(threads, 1, (height + 15) / 16)) {
    for (int k = 0; k < shape.grids; ++k)
        grids_.emplace_back((height + (1 << k) - 1) >> k, (width + (1 << k) - 1) >> k);
    for (int k = 0; k + 1 < shape.grids; ++k) {
        auto& planes = upsampled_.emplace_back();
        auto& gradients = upsampled_gradient_.emplace_back();
        for (int c = 0; c + k + 1 < shape.grids; ++c) {
            planes.emplace_back(grids_[k].height, grids_[k].width);
            if (k > 0) gradients.emplace_back(grids_[k].height, grids_[k].width);
        }
    }
    for (int k = 0; k < shape.noise; ++k) noise_.push_back(upsampled_noise(k));
    for (int i = 0; i <= shape.residuals; ++i) layers_.emplace_back(height, width);
    for (int i = 0; i < 2; ++i) picture_gradients_.emplace_back(height, width);
    for (int c = 0; c < 3; ++c)
        for (int y = 0; y < height; ++y)
            std::copy_n(pixels + (std::size_t(c) * height + y) * width, width, target_.channels[c].row(y));
    for (int worker = 0; worker < pool_.size(); ++worker)
        workers_.emplace_back(grids_, parameters_.size(), worker, pool_.size());
}

/// Noise grid k at the size of the picture.
OwnedPlane Fit::upsampled_noise(int k) const {
    OwnedPlane plane(grids_[k].height, grids_[k].width);
    kernels_.noise(k, plane, 0, grids_[k].height);
    const Buffer scratch(2 * (width() + 64));
    while (--k >= 0) {
        OwnedPlane fine(grids_[k].height, grids_[k].width);
        kernels_.upsample(plane, fine, kNoiseTaps, 0, grids_[k].height, scratch.data());
        plane = std::move(fine);
    }
    return plane;
}

// Forward.

std::vector<double> Fit::forward(const Pass& pass) {
    pool_.run([&](int worker) {
        quantise(pass, worker);
        pool_.synchronise();
        if (worker == 0)
            for (int k = shape_.grids - 2; k >= kSerialLevel; --k) upsample(k, 0, 1);
        rate(pass, worker);
        pool_.synchronise();
        for (int k = std::min(kSerialLevel, shape_.grids - 1) - 1; k >= 1; --k) {
            upsample(k, worker, pool_.size());
            pool_.synchronise();
        }
        synthesise(worker);
        for (int i = 0; i < shape_.residuals; ++i) {
            pool_.synchronise();
            const Range rows = rows_of(worker, 0);
            kernels_.residual(residual_layer(i), layers_[i], layers_[i + 1], rows.begin, rows.end);
        }
    });
    std::vector<double> bits(grids_.size());
    for (const Worker& worker : workers_)
        for (std::size_t k = 0; k < bits.size(); ++k) bits[k] += worker.bits[k];
    return bits;
}

void Fit::quantise(const Pass& pass, int worker) {
    for (int k = first_grid_; k < shape_.grids; ++k) {
        const Quantiser quantiser{pass.temperature, pass.noise, pass.seed, static_cast<uint32_t>(k)};
        const Range rows = rows_of(worker, k);
        const Grid& grid = grids_[k];
        kernels_.quantise(quantiser, grid.latents, grid.values, pass.latent_gradient ? grid.slopes.data() : nullptr,
                          rows.begin, rows.end);
    }
}

void Fit::rate(const Pass& pass, int worker) {
    Worker& own = workers_[worker];
    std::fill(own.gradient.begin(), own.gradient.end(), 0.0f);
    Parameters<float> gradient = locate(shape_, own.gradient.data());
    for (int k = first_grid_; k < shape_.grids; ++k) {
        const Range rows = rows_of(worker, k);
        const Grid& grid = grids_[k];
        RatePass rate_pass{};
        rate_pass.shape = shape_;
        rate_pass.parameters = located_;
        rate_pass.values = grid.values;
        if (k + 1 < shape_.grids) rate_pass.coarser = grids_[k + 1].values;
        rate_pass.weight = pass.lagrangian / pixels();
        if (pass.network_gradient) rate_pass.gradient = &gradient;
        if (pass.latent_gradient) {
            zero_rows(grid.gradient, rows);
            zero_rows(own.above[k], {0, kContextRows});
            zero_rows(own.coarser[k], {0, (rows.end - rows.begin) / 2 + 3});
            rate_pass.first_row = rows.begin;
            rate_pass.value_gradient = grid.gradient.data();
            rate_pass.above = own.above[k].data();
            rate_pass.coarser_gradient = own.coarser[k].data();
        }
        own.bits[k] = 0;
        for_strips(rows, kRateStrip, [&](int begin, int end) { own.bits[k] += kernels_.rate(rate_pass, begin, end); });
    }
}

// What a channel of level k is doubled from: the next grid itself, then the channels that come from below it.
Plane Fit::upsampling_source(int k, int channel) const {
    return channel == 0 ? grids_[k + 1].values : upsampled_[k + 1][channel - 1];
}

void Fit::upsample(int k, int worker, int parts) {
    for_shared_channels(shape_.grids - 1 - k, grids_[k].height, worker, parts, [&](int channel, int begin, int end) {
        kernels_.upsample(upsampling_source(k, channel), upsampled_[k][channel], located_.taps + 4 * k, begin, end,
                          workers_[worker].scratch.data());
    });
}

std::vector<Plane> Fit::synthesis_input() const {
    std::vector<Plane> planes{grids_[0].values};
    if (shape_.grids > 1) planes.insert(planes.end(), upsampled_[0].begin(), upsampled_[0].end());
    planes.insert(planes.end(), noise_.begin(), noise_.end());
    return planes;
}

void Fit::synthesise(int worker) {
    const std::vector<Plane> input = synthesis_input();
    for_strips(rows_of(worker, 0), kStrip, [&](int begin, int end) {
        for (int c = 0; c + 1 < shape_.grids; ++c)
            kernels_.upsample(upsampling_source(0, c), upsampled_[0][c], located_.taps, begin, end,
                              workers_[worker].scratch.data());
        kernels_.synthesise(shape_, located_, input.data(), layers_[0], begin, end);
    });
}

ResidualLayer Fit::residual_layer(int i) const {
    return {located_.r + 81 * i, located_.u + 3 * i, i + 1 == shape_.residuals};
}

// The distortion.

double Fit::squared_error(bool gradient) {
    const float samples = 3.0f * pixels();
    const Picture picture_gradient = picture_gradients_[0];
    pool_.run([&](int worker) {
        const Range rows = rows_of(worker, 0);
        workers_[worker].squared_error = kernels_.squared_error(
            layers_.back(), target_, gradient ? &picture_gradient : nullptr, 1 / samples, rows.begin, rows.end);
    });
    double sum = 0;
    for (const Worker& worker : workers_) sum += worker.squared_error;
    return sum / samples;
}

void Fit::export_picture(float* planes) {
    pool_.run([&](int worker) {
        const Range rows = rows_of(worker, 0);
        kernels_.export_picture(layers_.back(), planes, rows.begin, rows.end);
    });
}

bool Fit::import_gradient(const float* planes) {
    std::atomic<bool> finite = true;
    pool_.run([&](int worker) {
        const Range rows = rows_of(worker, 0);
        if (!kernels_.import_gradient(planes, picture_gradients_[0], rows.begin, rows.end)) finite = false;
    });
    return finite;
}

// Backward.

void Fit::backward(const Pass& pass) {
    pool_.run([&](int worker) {
        const Range rows = rows_of(worker, 0);
        Worker& own = workers_[worker];
        Parameters<float> gradient = locate(shape_, own.gradient.data());
        Parameters<float>* const wanted = pass.network_gradient ? &gradient : nullptr;
        int from = 0;  // the picture's gradient goes back and forth between two buffers
        const auto layer_backward = [&](int i, int begin, int end) {
            kernels_.residual_backward(residual_layer(i), layers_[i], layers_[i + 1], picture_gradients_[from],
                                       picture_gradients_[1 - from], wanted ? gradient.r + 81 * i : nullptr,
                                       wanted ? gradient.u + 3 * i : nullptr, begin, end, own.scratch.data());
        };
        for (int i = shape_.residuals - 1; i >= 1; --i, from = 1 - from) {
            layer_backward(i, rows.begin, rows.end);
            pool_.synchronise();
        }
        const std::vector<Plane> input = synthesis_input();
        const Picture output_gradient = picture_gradients_[shape_.residuals % 2];
        for_strips(rows, kStrip, [&](int begin, int end) {
            if (shape_.residuals > 0) layer_backward(0, begin, end);
            kernels_.synthesise_backward(shape_, located_, input.data(), output_gradient,
                                         pass.latent_gradient && first_grid_ == 0 ? grids_[0].gradient.data() : nullptr,
                                         wanted, begin, end);
        });
        pool_.synchronise();
        for (int k = 0; k < std::min(kSerialLevel, shape_.grids - 1); ++k) {
            upsample_backward(pass, k, worker, pool_.size());
            pool_.synchronise();
        }
        if (worker == 0)
            for (int k = kSerialLevel; k + 1 < shape_.grids; ++k) upsample_backward(pass, k, 0, 1);
        pool_.synchronise();
        if (pass.latent_gradient) collect_latent_gradient(worker);
    });
    std::fill(gradient_.begin(), gradient_.end(), 0.0f);
    for (const Worker& worker : workers_)
        for (std::size_t i = 0; i < gradient_.size(); ++i) gradient_[i] += worker.gradient[i];
    if (pass.network_gradient && !origin_.empty()) add_gradient_of_network_bits(pass.lagrangian / pixels());
}

// n numbers with a Laplace distribution of the best scale b, the mean of their magnitudes, take n log2 b bits and some
// that do not depend on them. Magnitudes below kBlur count for less, so that the gradient has no jump.
void Fit::add_gradient_of_network_bits(float weight) {
    constexpr float kBlur = 0.02f, kLeastScale = 0.01f;
    const auto magnitude = [](float x) {  // kBlur log(cosh(x / kBlur)) without overflow
        return std::abs(x) + kBlur * (std::log1p(std::exp(-2 * std::abs(x) / kBlur)) - std::numbers::ln2_v<float>);
    };
    for (const auto& [offset, rows, columns] : matrices_) {
        const int count = rows * columns;
        if (count == 0) continue;
        float sum = 0;
        for (int i = offset; i < offset + count; ++i)
            sum += magnitude(parameters_[i] - origin_[i]);
        const float factor = weight * std::numbers::log2e_v<float> / (sum / count + kLeastScale);
        for (int i = offset; i < offset + count; ++i)
            gradient_[i] += factor * std::tanh((parameters_[i] - origin_[i]) / kBlur);
    }
}

void Fit::upsample_backward(const Pass& pass, int k, int worker, int parts) {
    Worker& own = workers_[worker];
    float* const tap_gradient = pass.network_gradient ? locate(shape_, own.gradient.data()).taps + 4 * k : nullptr;
    const auto& fine = k == 0 ? upsampled_[0] : upsampled_gradient_[k];
    for_shared_channels(
        shape_.grids - 1 - k, grids_[k + 1].height, worker, parts, [&](int channel, int begin, int end) {
            const bool is_grid = channel == 0;  // whose gradient has the rate's part already
            float* coarse = is_grid ? grids_[k + 1].gradient.data() : upsampled_gradient_[k + 1][channel - 1].data();
            if (is_grid && !pass.latent_gradient) coarse = nullptr;
            kernels_.upsample_backward(upsampling_source(k, channel), fine[channel], located_.taps + 4 * k, coarse,
                                       is_grid, tap_gradient, begin, end, own.scratch.data());
        });
}

// Adds what other workers found for the rows that this worker owns, in the order of the workers.
void Fit::collect_latent_gradient(int worker) {
    for (int k = first_grid_; k < shape_.grids; ++k) {
        const Range mine = rows_of(worker, k);
        const auto add = [&](const OwnedPlane& from, int first) {
            const Plane plane = from;
            for (int y = std::max(mine.begin, first); y < std::min(mine.end, first + plane.height); ++y) {
                float* to = grids_[k].gradient.row(y);
                const float* row = from.row(y - first);
                for (int x = 0; x < plane.width; ++x) to[x] += row[x];
            }
        };
        for (int other = 0; other < pool_.size(); ++other) {
            const Range rows = rows_of(other, k);
            if (rows.begin < rows.end) add(workers_[other].above[k], rows.begin - kContextRows);
            if (k > first_grid_ && shape_.parents > 0)
                add(workers_[other].coarser[k - 1], (rows_of(other, k - 1).begin >> 1) - 1);
        }
    }
}

// Descent.

void Fit::descend(const Pass& pass, float latent_rate, float network_rate) {
    if (latent_rate > 0) {
        const Adam step = adam_step(latent_rate, latent_decay_, ++latent_steps_, pass.lagrangian / pixels());
        pool_.run([&](int worker) {
            if (separation_) separate(worker);
            for (int k = first_grid_; k < shape_.grids; ++k) {
                const Range rows = rows_of(worker, k);
                const Grid& grid = grids_[k];
                for (int y = rows.begin; y < rows.end; ++y)
                    kernels_.adam(step, grid.gradient.row(y), grid.slopes.row(y), grid.latents.row(y), grid.mean.row(y),
                                  grid.square.row(y), grid.width);
            }
        });
    }
    if (network_rate > 0) {
        soap_.step(parameters_.data(), gradient_.data(), network_rate);
    }
}

/// Takes from the gradient of the finest grid in use what coarser ones can show, for the share of one worker.
void Fit::separate(int worker) {
    const Plane gradient = grids_[first_grid_].gradient, means = separation_->means;
    const Range blocks = share(means.height, worker, pool_.size());
    kernels_.block_means(gradient, means, blocks.begin, blocks.end);
    pool_.synchronise();
    const Range rows = rows_of(worker, first_grid_);
    kernels_.subtract_means(means, separation_->shares, gradient, rows.begin, rows.end,
                            workers_[worker].scratch.data());
}

void Fit::reset_optimiser(float latent_decay, float network_decay) {
    latent_steps_ = 0;
    latent_decay_ = latent_decay;
    soap_.reset(network_decay);
    for (const Grid& grid : grids_) {
        zero_rows(grid.mean, {0, grid.height});
        zero_rows(grid.square, {0, grid.height});
    }
}

}  // namespace aquatint
