// The bytes of an entropy-coded part: four states, then what they are refilled from (docs/FORMAT.md, 2.3).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "errors.h"
#include "rans.h"

namespace aquatint {

constexpr size_t kStateBytes = 16;

/// Starts to read; throws if the states are missing or below their floor.
inline RansReader open_reader(std::span<const uint8_t> bytes) {
    if (bytes.size() < kStateBytes)
        throw Error(kTruncated, "the entropy-coded part has " + number(bytes.size()) + " bytes, fewer than the " +
                                    number(kStateBytes) + " of its states");
    RansReader reader{};
    const uint8_t* next = bytes.data();
    for (uint32_t& state : reader.states) {
        state = next[0] | next[1] << 8 | next[2] << 16 | uint32_t{next[3]} << 24;
        require(kCorrupt, "a state of the entropy coder", state, kStateFloor, UINT32_MAX);
        next += 4;
    }
    reader.next = next;
    reader.end = bytes.data() + bytes.size();
    return reader;
}

/// Throws unless the last symbol has been read.
inline void check_end(const RansReader& reader) {
    if (reader.next != reader.end)
        throw Error(kCorrupt, number(reader.end - reader.next) + " bytes are left after the last latent");
    for (uint32_t state : reader.states)
        require(kCorrupt, "a final state of the entropy coder", state, kStateFloor, kStateFloor);
}

/// Codes the symbols from the last to the first: the decoder runs the other way.
inline void append_coded(const std::vector<Symbol>& symbols, std::vector<uint8_t>& out) {
    uint32_t states[4] = {kStateFloor, kStateFloor, kStateFloor, kStateFloor};
    std::vector<uint8_t> reversed;
    for (size_t i = symbols.size(); i-- > 0;) {
        uint32_t& state = states[i % 4];
        const auto [start, frequency] = symbols[i];
        for (; state >= uint64_t{frequency} << 16; state >>= 8) reversed.push_back(static_cast<uint8_t>(state));
        state = (state / frequency << 16) + state % frequency + start;
    }
    for (uint32_t state : states)
        for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<uint8_t>(state >> shift));
    out.insert(out.end(), reversed.rbegin(), reversed.rend());
}

}  // namespace aquatint
