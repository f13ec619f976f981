// The kernel of networks with integer weights at single places; compiled once per instruction set.
//
// Lanes are outputs; weights become doubles on the way from memory, of which they would take twice as much.
#include "columns_kernels.h"

#include "simd.h"

namespace aquatint::AQT_ISA {
namespace {

constexpr int kWide = kLanes / 2;  // doubles in a vector
typedef double Doubles __attribute__((vector_size(kWide * 8)));
typedef float Singles __attribute__((vector_size(kWide * 4)));

template <int kColumns>
void block(const float* weights, const double* bias, int inputs, const double* x, int columns, double* sums) {
    Doubles sum[2][kColumns];
    for (int v = 0; v < 2; ++v) {
        Doubles start;
        std::memcpy(&start, bias + v * kWide, sizeof start);
#pragma GCC unroll 12
        for (int j = 0; j < kColumns; ++j) sum[v][j] = start;
    }
    for (int i = 0; i < inputs; ++i, weights += kColumnUnit, x += columns) {
        Singles narrow[2];
        std::memcpy(narrow, weights, sizeof narrow);
        const Doubles low = __builtin_convertvector(narrow[0], Doubles);
        const Doubles high = __builtin_convertvector(narrow[1], Doubles);
#pragma GCC unroll 12
        for (int j = 0; j < kColumns; ++j) {
            sum[0][j] += low * x[j];
            sum[1][j] += high * x[j];
        }
    }
    for (int v = 0; v < 2; ++v)
        for (int lane = 0; lane < kWide; ++lane)
#pragma GCC unroll 12
            for (int j = 0; j < kColumns; ++j) sums[(v * kWide + lane) * columns + j] = sum[v][j][lane];
}

// For as many columns as the registers hold sums.
constexpr decltype(&block<1>) kBlocks[] = {
    block<1>, block<2>, block<3>, block<4>,  block<5>,  block<6>,
#if defined(__AVX512F__)
    block<7>, block<8>, block<9>, block<10>, block<11>, block<12>,
#endif
};
constexpr int kMostColumns = sizeof kBlocks / sizeof *kBlocks;

void multiply(const float* weights, const double* bias, int inputs, const double* x, int columns, double* sums) {
    for (int o = 0; o < kColumnUnit; o += 2 * kWide)
        for (int j = 0, blocks = (columns + kMostColumns - 1) / kMostColumns; blocks > 0; --blocks) {
            const int size = (columns - j + blocks - 1) / blocks;
            kBlocks[size - 1](weights + o, bias + o, inputs, x + j, columns, sums + o * columns + j);
            j += size;
        }
}

}  // namespace

const ColumnKernels column_kernels = {multiply};

}  // namespace aquatint::AQT_ISA
