// The overfitted stream as a whole (docs/FORMAT.md, section 2): parsing, parameters, latents, picture, and writing.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dispatch.h"
#include "parameters.h"

namespace aquatint {

struct GridSize {
    int height, width;
};

/// Rows and columns of grid k of a picture.
GridSize grid_size(int height, int width, int k);

/// The latents of a picture, finest grid first; an empty pointer is a grid of zeros.
struct Latents {
    std::vector<GridSize> sizes;
    std::vector<std::unique_ptr<int16_t[]>> grids;
};

struct Picture {
    int height, width, channels, depth;
    std::unique_ptr<uint8_t[]> samples;  // in native byte order if depth is 16
};

/// Reads a payload from its beginning: first the architecture and the parameters, then, if wanted, the latents.
class StreamReader {
  public:
    explicit StreamReader(std::span<const uint8_t> payload);

    /// Reads the latents, which are the rest of the stream.
    Latents latents(int height, int width, Isa isa);

    Architecture architecture{};
    Parameters parameters;
    unsigned mask = 0;  // of the grids that are in the stream

  private:
    RansReader reader_{};
};

/// Makes the picture; 0 threads are all cores.
Picture render(const Architecture& architecture, const Parameters& parameters, const Latents& latents, int depth,
               bool grayscale, int threads, Isa isa);

/// Latents that belong to the caller, finest grid first.
using GridViews = std::vector<GridView>;

std::vector<uint8_t> write_stream(const Architecture& architecture, const Parameters& parameters,
                                  const GridViews& grids, Isa isa);

/// Exact costs in bits, without the first bytes and the states of the coder.
struct Costs {
    std::vector<double> grids;
    std::array<double, kGroups> groups;
};

Costs measure_stream(const Architecture& architecture, const Parameters& parameters, const GridViews& grids, Isa isa);

}  // namespace aquatint
