"""SOAP, the optimiser of the networks, in both engines."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="this SOAP is the PyTorch engine's")

from aquatint.codecs.overfitted.architecture import Architecture  # noqa: E402
from aquatint.codecs.overfitted.engine import create_engine  # noqa: E402
from aquatint.codecs.overfitted.initialise import random_parameters  # noqa: E402
from aquatint.codecs.overfitted.torch_soap import Soap, matrix_shapes  # noqa: E402

ARCHITECTURE = Architecture(grids=3, context=8, hidden=4, residuals=1)


def test_the_matrices_cover_the_parameters() -> None:
    shapes = [shape for name, array in ARCHITECTURE.arrays().items() for shape in matrix_shapes(name, array)]
    assert sum(rows * columns for rows, columns in shapes) == ARCHITECTURE.parameter_count
    assert (3, 27) in shapes


def test_the_first_step_has_the_length_of_the_rate() -> None:
    parameters = torch.zeros(ARCHITECTURE.parameter_count)
    gradient = torch.randn(ARCHITECTURE.parameter_count, generator=torch.Generator().manual_seed(0))
    Soap(ARCHITECTURE, torch.device("cpu")).step(parameters, gradient, 0.01)
    np.testing.assert_allclose(parameters.numpy(), -0.01 * np.sign(gradient.numpy()), rtol=1e-4)


def test_no_step_is_much_longer_than_the_rate() -> None:
    generator = torch.Generator().manual_seed(1)
    soap, parameters = Soap(ARCHITECTURE, torch.device("cpu")), torch.zeros(ARCHITECTURE.parameter_count)
    direction = torch.randn(ARCHITECTURE.parameter_count, generator=generator)
    for i in range(60):  # gradients that turn and change their size by orders of magnitude
        before = parameters.clone()
        noise = torch.randn(ARCHITECTURE.parameter_count, generator=generator)
        soap.step(parameters, 10.0 ** (i % 7 - 3) * (direction + noise), 0.01)
        w1 = (parameters - before)[:64]
        assert float(w1.norm()) <= 0.01 * 8 * 1.001  # a rotation of at most one rate an entry


def test_both_engines_agree_beyond_a_refresh_of_the_bases() -> None:
    pixels = np.random.default_rng(4).random((3, 40, 56), dtype=np.float32)
    engines = [create_engine(pixels, ARCHITECTURE, device=device) for device in ("cpu", "torch")]
    losses = []
    for engine in engines:
        engine.parameters = random_parameters(ARCHITECTURE, 0)
        for seed in range(25):
            value, bits = engine.step(0.3, 1.0, 0.01, 0.16, 0.01, seed)
        losses.append((float(value), float(bits)))
    np.testing.assert_allclose(losses[0], losses[1], rtol=5e-3)
