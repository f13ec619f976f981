// The fit of an overfitted codec to one picture: networks and latents, the steps of gradient descent on them, and how
// the work of a step is shared between threads. Free of Python.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "fit_kernels.h"
#include "fit_memory.h"
#include "soap.h"
#include "thread_pool.h"

namespace aquatint {

/// What a pass computes beside the picture and its rate.
struct Pass {
    float temperature = 0, noise = 0;  // of the quantisation proxy
    float lagrangian = 0;
    uint32_t seed = 0;
    bool latent_gradient = false, network_gradient = false;

    bool gradient() const { return latent_gradient || network_gradient; }
};

class Fit {
public:
    /// `pixels` are three contiguous planes. If the finest grid is skipped its latents stay zero, and take neither bits
    /// nor time. Throws std::bad_alloc or std::system_error.
    Fit(const float* pixels, int height, int width, const NetworkShape& shape, bool skip_finest, int threads, Isa isa);

    int height() const { return grids_[0].height; }
    int width() const { return grids_[0].width; }
    std::size_t pixels() const { return static_cast<std::size_t>(height()) * width(); }
    int first_grid() const { return first_grid_; }
    std::vector<Grid>& grids() { return grids_; }
    std::vector<float>& parameters() { return parameters_; }
    const std::vector<float>& parameter_gradient() const { return gradient_; }

    /// Computes the picture and the bits of every grid, and the gradients that concern the rate only.
    std::vector<double> forward(const Pass& pass);

    /// The mean squared error of the picture clamped to [0, 1]; its gradient becomes the picture's.
    double squared_error(bool gradient);

    /// The picture, clamped to [0, 1], as contiguous planes.
    void export_picture(float* planes);

    /// Sets the gradient of the distortion with respect to the clamped picture; false if a number in it is not finite.
    bool import_gradient(const float* planes);

    /// Parameters that the networks' bits are counted from, as a part of the loss; empty for none.
    std::vector<float>& origin() { return origin_; }

    /// Completes the gradients of `pass` from that of the picture.
    void backward(const Pass& pass);

    /// Moves latents and parameters against their gradients of `pass`; a rate of zero leaves them as they are.
    void descend(const Pass& pass, float latent_rate, float network_rate);

    /// How far, from 0 to 1, latents of the finest grid in use move along what coarser grids cannot show alone (see
    /// fit_octaves.h); empty for not at all.
    std::optional<Separation>& separation() { return separation_; }

    /// Forgets all moments. Decays are those of the latents' squared gradients, and of all that the networks' optimiser
    /// remembers.
    void reset_optimiser(float latent_decay, float network_decay);

private:
    Range rows_of(int worker, int k) const { return share(grids_[k].height, worker, pool_.size()); }
    OwnedPlane upsampled_noise(int k) const;
    Plane upsampling_source(int k, int channel) const;
    std::vector<Plane> synthesis_input() const;
    ResidualLayer residual_layer(int i) const;

    // The stages, for the share of one worker.
    void quantise(const Pass& pass, int worker);
    void rate(const Pass& pass, int worker);
    void upsample(int k, int worker, int parts);
    void synthesise(int worker);
    void upsample_backward(const Pass& pass, int k, int worker, int parts);
    void collect_latent_gradient(int worker);
    void separate(int worker);
    void add_gradient_of_network_bits(float weight);

    const FitKernels& kernels_;
    const NetworkShape shape_;
    const int first_grid_;  // the finest one that is in use
    const std::vector<ParameterMatrix> matrices_;
    std::vector<float> parameters_, gradient_, origin_;
    Soap soap_;
    Parameters<const float> located_;
    std::vector<Grid> grids_;
    // upsampled_[k][c]: grid k + 1 + c at the size of grid k. Those of the full size turn into their own gradients.
    std::vector<std::vector<OwnedPlane>> upsampled_, upsampled_gradient_;
    std::vector<OwnedPlane> noise_;     // at full size
    std::vector<OwnedPicture> layers_;  // the synthesis's output before and after every residual layer
    std::vector<OwnedPicture> picture_gradients_;
    OwnedPicture target_;
    std::vector<Worker> workers_;
    std::optional<Separation> separation_;
    int latent_steps_ = 0;
    float latent_decay_ = kUsualDecay;
    ThreadPool pool_;
};

}  // namespace aquatint
