// Asymmetric numeral systems with four interleaved states, and numbers with a mean and a scale (docs/FORMAT.md, 2.3).
//
// Every function has internal linkage: kernel sources include this once per instruction set.
#pragma once
#include <cstdint>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "tables.h"

namespace aquatint {

constexpr uint32_t kStateFloor = 1u << 24;  // states never fall below this

/// Reads symbols; past the end of the bytes it reads zeros and remembers that it did.
struct RansReader {
    const uint8_t* next;
    const uint8_t* end;
    uint32_t states[4];
    uint32_t turn;  // symbols read so far
    bool exhausted;
};

/// One symbol for the writer: its place in an interval of 2^16.
struct Symbol {
    uint16_t start;
    uint16_t frequency;  // at least 1
};

/// How a number with a mean and a scale is coded: it is base + difference * 2^shift + raw bits.
struct Placement {
    int base;
    int shift;
    int table;
};

/// The placement of a number whose mean is `mean` sixteenths, with scale index `scale` from 0 to 95.
static inline Placement place(int mean, int scale) {
    const int octave = (scale - (kBaseScales - 8)) >> 3;
    const int shift = octave > 0 ? octave : 0;
    const int fraction = shift > 0 ? 8 >> shift : (mean + 8) & 15;
    return {(mean + 8) >> 4, shift, (scale - 8 * shift) * kFractions + fraction};
}

// ---- Reading

static inline void refill(RansReader& reader, uint32_t& state) {
    while (state < kStateFloor) [[unlikely]] {
        const bool more = reader.next != reader.end;
        state = state << 8 | (more ? *reader.next++ : 0u);
        reader.exhausted |= !more;
    }
}

/// The last j with c_j <= value; symbols of frequency zero are never the last.
static inline int find_symbol(const uint16_t* table, uint32_t value) {
#if defined(__AVX512BW__)
    const __m512i values = _mm512_set1_epi16(static_cast<short>(value));
    return __builtin_popcount(_mm512_cmple_epu16_mask(_mm512_loadu_si512(table), values)) - 1;
#elif defined(__AVX2__)
    const __m256i values = _mm256_set1_epi16(static_cast<short>(value));
    auto not_above = [&](const uint16_t* entries) {
        const __m256i starts = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(entries));
        return _mm256_cmpeq_epi16(_mm256_max_epu16(starts, values), values);
    };
    const __m256i halves = _mm256_packs_epi16(not_above(table), not_above(table + 16));
    return __builtin_popcount(static_cast<uint32_t>(_mm256_movemask_epi8(halves))) - 1;
#else
    uint16_t count = 0;
    for (int j = 0; j < kSymbols; j++) count = static_cast<uint16_t>(count + (table[j] <= value));
    return count - 1;
#endif
}

static inline int read_symbol(RansReader& reader, const uint16_t* table) {
    uint32_t& state = reader.states[reader.turn++ % 4];
    const uint32_t value = state & 0xffff;
    const int symbol = find_symbol(table, value);
    const uint32_t start = table[symbol];
    const uint32_t frequency = static_cast<uint16_t>(table[symbol + 1] - start);
    state = frequency * (state >> 16) + value - start;
    refill(reader, state);
    return symbol;
}

static inline int read_raw(RansReader& reader, int bits) {
    uint32_t& state = reader.states[reader.turn++ % 4];
    const int rest = 16 - bits;
    const uint32_t value = (state & 0xffff) >> rest;
    state = ((state >> 16) << rest) + (state & ((1u << rest) - 1));
    refill(reader, state);
    return static_cast<int>(value);
}

[[gnu::cold]] static inline int read_escape(RansReader& reader) {
    const int field = read_raw(reader, 8);
    const int magnitude = field >> 1 == 127 ? read_raw(reader, 16) : field >> 1;
    return field & 1 ? -magnitude : magnitude;
}

static inline int read_number(RansReader& reader, const uint16_t* tables, const Placement& place) {
    int difference = read_symbol(reader, tables + kSymbols * place.table) - kLargestDifference;
    if (difference == kEscape - kLargestDifference) [[unlikely]]
        difference = read_escape(reader);
    if (place.shift > 0) [[unlikely]]
        difference = difference * (1 << place.shift) + read_raw(reader, place.shift);
    return place.base + difference;
}

// ---- Writing

constexpr int kSymbolsPerNumber = 4;  // at most: the escape, its two raw fields, and the raw bits of the shift

/// The difference of a number, and its symbol: the escape if no other symbol stands for it.
struct Difference {
    int value;
    int symbol;
};

static inline Difference difference_of(int number, const uint16_t* tables, const Placement& place) {
    const int value = (number - place.base) >> place.shift;
    const int symbol = value + kLargestDifference;
    if (symbol < 0 || symbol >= kEscape) return {value, kEscape};
    const uint16_t* table = tables + kSymbols * place.table;
    return {value, table[symbol + 1] == table[symbol] ? kEscape : symbol};
}

static inline Symbol raw_symbol(int value, int bits) {
    const int rest = 16 - bits;
    return {static_cast<uint16_t>(value << rest), static_cast<uint16_t>(1 << rest)};
}

/// Appends the symbols of a number to `out`, which has room for kSymbolsPerNumber; returns the new end.
static inline Symbol* write_number(Symbol* out, int number, const uint16_t* tables, const Placement& place) {
    const auto [value, symbol] = difference_of(number, tables, place);
    const uint16_t* entry = tables + kSymbols * place.table + symbol;
    *out++ = {entry[0], static_cast<uint16_t>(entry[1] - entry[0])};
    if (symbol == kEscape) {
        const int magnitude = value < 0 ? -value : value;
        const int field = magnitude < 127 ? magnitude : 127;
        *out++ = raw_symbol(field << 1 | (value < 0), 8);
        if (field == 127) *out++ = raw_symbol(magnitude, 16);
    }
    if (place.shift > 0) *out++ = raw_symbol((number - place.base) & ((1 << place.shift) - 1), place.shift);
    return out;
}

/// The bits that write_number spends on a number.
static inline float cost_of_number(int number, const uint16_t* tables, const float* costs, const Placement& place) {
    const auto [value, symbol] = difference_of(number, tables, place);
    float bits = costs[kSymbols * place.table + symbol] + static_cast<float>(place.shift);
    if (symbol == kEscape) bits += value > -127 && value < 127 ? 8 : 24;
    return bits;
}

}  // namespace aquatint
