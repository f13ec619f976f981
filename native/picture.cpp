// The picture from its latents: strips of rows, spread over threads.
#include <algorithm>
#include <atomic>
#include <functional>
#include <system_error>
#include <thread>

#include "errors.h"
#include "kernel_choice.h"
#include "stream.h"

namespace aquatint {
namespace {

/// Calls work(i, memory) for i = 0, ..., count - 1 on some threads, each with one of `memories`.
template <class Memory, class Work>
void in_parallel(int count, std::vector<Memory>& memories, Work work) {
    std::atomic<int> next{0};
    auto run = [&](Memory& memory) {
        for (int i = next++; i < count; i = next++) work(i, memory.get());
    };
    std::vector<std::thread> helpers;
    helpers.reserve(memories.size());
    try {
        for (size_t i = 1; i < memories.size(); i++) helpers.emplace_back(run, std::ref(memories[i]));
    } catch (const std::system_error&) {
        // The system gives us no more threads: those that we have do all of the work.
    }
    run(memories[0]);
    for (std::thread& helper : helpers) helper.join();
}

}  // namespace

Picture render(const Architecture& architecture, const Parameters& parameters, const Latents& latents, int depth,
               bool grayscale, int threads, Isa isa) {
    if (depth != 8 && depth != 16) throw Error(kUsage, "depth is " + number(depth) + ", not 8 or 16");
    if (threads < 0) throw Error(kUsage, "threads is " + number(threads) + ", less than 0");
    const PictureNetwork network = picture_network(architecture, parameters);
    const DecodeKernels& kernels = kernels_for(isa);
    GridViews grids;
    for (int k = 0; k < architecture.grids; k++)
        grids.push_back({latents.sizes[k].height, latents.sizes[k].width, latents.grids[k].get()});

    Picture picture{grids[0].height, grids[0].width, grayscale ? 1 : 3, depth, nullptr};
    const size_t samples = static_cast<size_t>(picture.height) * picture.width * picture.channels;
    picture.samples = std::make_unique_for_overwrite<uint8_t[]>(samples * (depth / 8));

    const int strips = (picture.height + kStripRows - 1) / kStripRows;
    if (threads == 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    const size_t floats = kernels.workspace_size(network, picture.height, picture.width) / sizeof(float);
    std::vector<AlignedArray<float>> workspaces(std::min(threads, strips));
    for (auto& workspace : workspaces) {
        workspace = aligned_array<float>(floats);
        std::fill_n(workspace.get(), floats, 0.f);
    }
    in_parallel(strips, workspaces, [&](int strip, float* workspace) {
        kernels.render_strip(network, grids.data(), {depth, grayscale}, strip * kStripRows, workspace,
                             picture.samples.get());
    });
    return picture;
}

}  // namespace aquatint
