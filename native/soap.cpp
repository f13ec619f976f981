#include "soap.h"

#include <algorithm>
#include <cmath>

namespace aquatint {
namespace {

constexpr int kRefreshEvery = 10;  // steps between two refreshes of the eigenbases
constexpr float kEpsilon = 1e-8f;

// out (n x p) = a (n x m) b (m x p), with a or b transposed on request; all row by row.
void multiply(const float* a, bool transpose_a, const float* b, bool transpose_b, float* out, int n, int m, int p) {
    std::fill(out, out + n * p, 0.0f);
    for (int i = 0; i < n; ++i)
        for (int k = 0; k < m; ++k) {
            const float x = transpose_a ? a[k * n + i] : a[i * m + k];
            if (transpose_b)
                for (int j = 0; j < p; ++j) out[i * p + j] += x * b[j * m + k];
            else
                for (int j = 0; j < p; ++j) out[i * p + j] += x * b[k * p + j];
        }
}

// matrix (n x n) <- decay * matrix + (1 - decay) * product
void blend(std::vector<float>& matrix, const std::vector<float>& product, float decay) {
    for (size_t i = 0; i < matrix.size(); ++i) matrix[i] = decay * matrix[i] + (1 - decay) * product[i];
}

// The orthogonal factor of a QR decomposition (Householder), in place; it is orthogonal even if the matrix is singular.
void orthogonalise(std::vector<float>& matrix, int n) {
    std::vector<double> r(matrix.begin(), matrix.end()), q(n * n, 0.0), v(n);
    for (int i = 0; i < n; ++i) q[i * n + i] = 1;
    for (int k = 0; k + 1 < n; ++k) {
        double norm = 0;
        for (int i = k; i < n; ++i) norm += r[i * n + k] * r[i * n + k];
        norm = std::sqrt(norm);
        if (norm < 1e-30) continue;
        for (int i = k; i < n; ++i) v[i] = r[i * n + k];
        v[k] += v[k] < 0 ? -norm : norm;
        double length = 0;
        for (int i = k; i < n; ++i) length += v[i] * v[i];
        for (int j = 0; j < n; ++j) {  // r <- (1 - 2 v v^T / v^T v) r, q <- q (1 - 2 v v^T / v^T v)
            double from_r = 0, from_q = 0;
            for (int i = k; i < n; ++i) from_r += v[i] * r[i * n + j], from_q += v[i] * q[j * n + i];
            for (int i = k; i < n; ++i) {
                r[i * n + j] -= 2 * from_r / length * v[i];
                q[j * n + i] -= 2 * from_q / length * v[i];
            }
        }
    }
    std::copy(q.begin(), q.end(), matrix.begin());
}

// One step of orthogonal iteration: the basis turns towards the eigenvectors of the matrix.
void refresh(const std::vector<float>& matrix, std::vector<float>& basis, int n) {
    std::vector<float> product(n * n);
    multiply(matrix.data(), false, basis.data(), false, product.data(), n, n, n);
    orthogonalise(product, n);
    basis = product;
}

std::vector<float> identity(int n) {
    std::vector<float> matrix(n * n, 0.0f);
    for (int i = 0; i < n; ++i) matrix[i * n + i] = 1;
    return matrix;
}

}  // namespace

Soap::Soap(std::vector<ParameterMatrix> matrices, int size)
    : matrices_(std::move(matrices)), bases_(matrices_.size()), mean_(size), square_(size), update_(size) {
    reset(kUsualDecay);
}

void Soap::reset(float decay) {
    decay_ = decay;
    steps_ = 0;
    std::fill(mean_.begin(), mean_.end(), 0.0f);
    std::fill(square_.begin(), square_.end(), 0.0f);
    for (size_t i = 0; i < matrices_.size(); ++i) {
        const auto& [offset, rows, columns] = matrices_[i];
        if (rows == 1 || columns == 0) continue;
        bases_[i] = {std::vector<float>(rows * rows), std::vector<float>(columns * columns), identity(rows), identity(columns)};
    }
}

void Soap::rotate_and_scale(const ParameterMatrix& matrix, Basis& basis, const float* gradient) {
    const auto [offset, rows, columns] = matrix;
    const int size = rows * columns;
    const float correction = 1 / (1 - std::pow(decay_, steps_));
    std::vector<float> half(size), rotated(gradient, gradient + size), direction(mean_.begin() + offset, mean_.begin() + offset + size);
    auto rotate = [&](std::vector<float>& x) {  // left_basis^T x right_basis
        multiply(basis.left_basis.data(), true, x.data(), false, half.data(), rows, rows, columns);
        multiply(half.data(), false, basis.right_basis.data(), false, x.data(), rows, columns, columns);
    };
    if (rows > 1) rotate(rotated), rotate(direction);
    for (int i = 0; i < size; ++i) {
        float& square = square_[offset + i];
        square = decay_ * square + (1 - decay_) * rotated[i] * rotated[i];
        const float scaled = direction[i] * correction / (std::sqrt(square * correction) + kEpsilon);
        // With equal decays the mean never exceeds the root of the mean square, unless the basis has just turned and the
        // squares belong to other directions: then the quotient may be anything.
        direction[i] = std::clamp(scaled, -1.0f, 1.0f);
    }
    if (rows > 1) {  // back: left_basis x right_basis^T
        multiply(basis.left_basis.data(), false, direction.data(), false, half.data(), rows, rows, columns);
        multiply(half.data(), false, basis.right_basis.data(), true, direction.data(), rows, columns, columns);
    }
    std::copy(direction.begin(), direction.end(), update_.begin() + offset);
}

void Soap::step(float* parameters, const float* gradient, float rate) {
    ++steps_;
    for (size_t i = 0; i < mean_.size(); ++i) mean_[i] = decay_ * mean_[i] + (1 - decay_) * gradient[i];
    for (size_t i = 0; i < matrices_.size(); ++i) {
        const auto [offset, rows, columns] = matrices_[i];
        const float* g = gradient + offset;
        rotate_and_scale(matrices_[i], bases_[i], g);
        if (rows == 1 || columns == 0) continue;
        Basis& basis = bases_[i];
        std::vector<float> product(rows * rows);
        multiply(g, false, g, true, product.data(), rows, columns, rows);
        blend(basis.left, product, decay_);
        product.resize(columns * columns);
        multiply(g, true, g, false, product.data(), columns, rows, columns);
        blend(basis.right, product, decay_);
        if (steps_ % kRefreshEvery == 0) {
            refresh(basis.left, basis.left_basis, rows);
            refresh(basis.right, basis.right_basis, columns);
        }
    }
    for (size_t i = 0; i < mean_.size(); ++i) parameters[i] -= rate * update_[i];
}

}  // namespace aquatint
