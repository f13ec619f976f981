"""Distances between two sets of feature vectors: Frechet (FID) and kernel (KID)."""

from __future__ import annotations

import numpy as np

from aquatint.errors import UsageError

# As the common implementations do.
_SUBSETS = 100
_SUBSET_SIZE = 1000


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Frechet distance between Gaussians with the means and covariances of two sets of vectors.

    The trace of the square root of the product of two covariances A^T A and B^T B is the sum of the singular values of
    A B^T: real for any number of vectors, with no matrix square root. Source: Heusel et al., "GANs trained by a two
    time-scale update rule converge to a local Nash equilibrium", 2017, equation 6.

    Arguments:
        first, second: (N, D) and (M, D), at least two vectors each. With fewer vectors than dimensions the distance is
            strongly biased upwards: compare only sets of the same sizes.

    Raises:
        UsageError: a set has fewer than two vectors, or the dimensions differ.
    """
    _check(first, second)
    first, second = first.astype(np.float64), second.astype(np.float64)
    root, other = _covariance_root(first), _covariance_root(second)
    difference = first.mean(0) - second.mean(0)
    overlap = np.linalg.svd(root @ other.T, compute_uv=False).sum()
    return float(difference @ difference + np.sum(root**2) + np.sum(other**2) - 2 * overlap)


def kernel_distance(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> float:
    """Squared maximum mean discrepancy of two sets of vectors under the kernel (x.y / D + 1)^3, without bias.

    The mean over 100 random subsets of 1000 vectors; with at most 1000 vectors all of them are used, once. May be
    slightly negative. Source: Binkowski et al., "Demystifying MMD GANs", 2018, section 4.

    Arguments:
        first, second: (N, D) and (M, D), at least two vectors each.
        seed: of the choice of subsets.

    Raises:
        UsageError: a set has fewer than two vectors, or the dimensions differ.
    """
    _check(first, second)
    first, second = first.astype(np.float64), second.astype(np.float64)
    if max(len(first), len(second)) <= _SUBSET_SIZE:
        return _discrepancy(first, second)
    random = np.random.default_rng(seed)

    def subset(vectors: np.ndarray) -> np.ndarray:
        return vectors[random.choice(len(vectors), min(len(vectors), _SUBSET_SIZE), replace=False)]

    return float(np.mean([_discrepancy(subset(first), subset(second)) for _ in range(_SUBSETS)]))


def _check(first: np.ndarray, second: np.ndarray) -> None:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise UsageError(f"two sets of vectors of one dimension are needed, not {first.shape} and {second.shape}")
    if min(len(first), len(second)) < 2:
        raise UsageError(f"at least two vectors a set are needed, not {len(first)} and {len(second)}")


def _covariance_root(vectors: np.ndarray) -> np.ndarray:
    """A matrix R with at most D rows for which R^T R is the covariance of vectors."""
    root = (vectors - vectors.mean(0)) / np.sqrt(len(vectors) - 1)
    if root.shape[0] <= root.shape[1]:
        return root
    return np.asarray(np.linalg.qr(root, mode="r"))


def _discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        values = a @ b.T / a.shape[1] + 1
        return values * values * values  # ten times as fast as a power

    def mean_of_pairs(a: np.ndarray) -> float:
        values = kernel(a, a)
        return (values.sum() - np.trace(values)) / (len(a) * (len(a) - 1))

    return float(mean_of_pairs(x) + mean_of_pairs(y) - 2 * kernel(x, y).mean())
