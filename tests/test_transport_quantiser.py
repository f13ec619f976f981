"""The Laguerre quantiser of the transport codec: use of codes, stages, upkeep."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aquatint.codecs.transport.quantiser import Laguerre, Upkeep, nearest, schedule  # noqa: E402
from aquatint.errors import UsageError  # noqa: E402


def gaussian(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 4, 1, 1, generator=torch.Generator().manual_seed(seed))


def usage_after(rho: float, *, steps: int = 400, codes: int = 32) -> np.ndarray:
    """How often each code is used on fresh points, after learning with a fixed rho."""
    quantiser = Laguerre(1, codes, 4)
    for step in range(steps):
        quantiser.learn(gaussian(1024, step), rho)
    index, _ = nearest(gaussian(200_000, 10**6).flatten(1), quantiser.codes[0], quantiser.biases[0])
    return np.bincount(index.numpy(), minlength=codes) / 200_000


def entropy(shares: np.ndarray) -> float:
    return float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())


def test_without_a_potential_the_nearest_code_is_chosen() -> None:
    points, codes = gaussian(500).flatten(1), gaussian(20, 1).flatten(1)
    index, gaps = nearest(points, codes, torch.zeros(20))
    squares = torch.cdist(points, codes).square().sort(1)
    assert torch.equal(index, squares.indices[:, 0])
    assert (2 * gaps).numpy() == pytest.approx((squares.values[:, 1] - squares.values[:, 0]).numpy(), abs=1e-4)


def test_balanced_transport_uses_all_codes_alike() -> None:
    shares = usage_after(math.inf)
    assert 2 ** entropy(shares) / 32 > 0.99
    assert 2 ** entropy(usage_after(0.0)) / 32 < 0.97  # nearest neighbours do not


def test_between_them_use_becomes_more_even() -> None:
    entropies = [entropy(usage_after(rho)) for rho in (-1.0, 0.0, 1.0, math.inf)]
    assert entropies == sorted(entropies)
    assert entropies[0] < entropies[1] - 0.1  # entropy-constrained


def test_the_potential_is_that_of_unbalanced_transport() -> None:
    quantiser = Laguerre(1, 16, 4)
    for step in range(600):
        quantiser.learn(gaussian(1024, step), 2.0)
    rho = 2.0 * float(quantiser.distortions[1])
    wanted = -(rho / 2) * torch.log(16 * quantiser.usage[0])
    assert quantiser.biases[0].numpy() == pytest.approx((wanted - wanted.mean()).numpy(), abs=0.15 * rho)


def test_stages_refine() -> None:
    quantiser = Laguerre(3, 16, 4)
    for step in range(100):
        quantiser.learn(gaussian(512, step), schedule(step / 100))
    latents = gaussian(512, 999).requires_grad_()
    counts = torch.tensor([1, 2, 3]).repeat(171)[:512]
    quantised = quantiser(latents, counts)
    left = [(quantised.sums[k] - latents).square().sum(1).mean().item() for k in range(3)]
    assert left[0] > 1.5 * left[1] > 2 * left[2]
    expected = torch.stack([quantised.sums[count - 1, place] for place, count in enumerate(counts)])
    assert quantised.vectors.detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-5)
    (gradient,) = torch.autograd.grad(quantised.vectors.sum(), latents)
    assert gradient.numpy() == pytest.approx(1)  # straight through


def blind(upkeep: Upkeep, steps: int = 400) -> np.ndarray:
    """How often codes that begin in one place, far from most vectors, are used in the end."""
    quantiser = Laguerre(1, 32, 4)
    quantiser.learn(gaussian(64) * 0.01 + 2, 0.0)
    for step in range(steps):
        rho = schedule(step / steps, upkeep)
        quantiser.learn(gaussian(1024, step), rho, revival=step if upkeep == "revival" else None)
    index, _ = nearest(gaussian(100_000, 10**6).flatten(1), quantiser.codes[0], quantiser.biases[0])
    return np.bincount(index.numpy(), minlength=32) / 100_000


def test_upkeep_is_what_keeps_codes_in_use() -> None:
    assert (blind("none") == 0).sum() > 10
    revived = blind("revival")
    assert (revived == 0).sum() == 0
    assert np.array_equal(blind("revival"), revived)  # whatever the state of the global generator
    assert (blind("annealed", 1000) == 0).sum() == 0
    assert entropy(blind("balanced", 1000)) > 4.99  # of 5 bits


def test_a_lattice_quantises_each_dimension_by_itself() -> None:
    quantiser = Laguerre(2, 32, 6)
    spread = torch.tensor([1.0, 6, 5, 2, 4, 3])[:, None, None]
    quantiser.start_as_lattice(gaussian(20_000)[:, :1].repeat(1, 6, 1, 1) * spread)
    first = quantiser.codes[0]
    levels = [len(column.unique()) for column in first.T]
    assert levels == [1, 4, 4, 1, 2, 1]  # of those that vary most, and of the third of them half as many
    assert len(first.unique(dim=0)) == 32
    before = quantiser.codes.clone()
    quantiser.learn(gaussian(1000)[:, :1].repeat(1, 6, 1, 1) * spread, 0.0, moving=False)
    assert torch.equal(quantiser.codes, before)
    independent = torch.randn(50_000, 6, 1, 1, generator=torch.Generator().manual_seed(1)) * spread
    distortion = quantiser(independent, torch.full((50_000,), 2)).distortion.item()
    uniform = {2: 0.3634, 4: 0.1188}  # squared error of so many even levels for a Gaussian (Max 1960, table II)
    wanted = uniform[4] * (36 + 25 + 9 + 4) + uniform[2] * (16 + 1)
    assert distortion == pytest.approx(wanted, rel=0.03)
    with pytest.raises(UsageError, match="need 9 dimensions, not 6"):
        Laguerre(3, 32, 6).start_as_lattice(independent)


def test_the_schedule_falls_from_transport_to_nothing() -> None:
    assert [schedule(place) for place in (0, 0.29, 0.6, 1)] == [math.inf, math.inf, 0, 0]
    assert schedule(0.3) == 4
    assert schedule(0.45) == pytest.approx(0.4)
    assert [schedule(place, "balanced") for place in (0, 1)] == [math.inf, math.inf]
    assert schedule(0, "none") == schedule(0, "revival") == 0
