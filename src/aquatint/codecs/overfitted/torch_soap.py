"""SOAP for the PyTorch engine; native/soap.cpp is the same for the native one and says why each step is as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aquatint.codecs.overfitted.architecture import Architecture

DECAY = 0.95  # the usual one of momentum, squares and preconditioners (Vyas et al. 2024, arXiv 2409.11321)
REFRESH_EVERY = 10  # steps between two refreshes of the eigenbases
EPSILON = 1e-8


@dataclass
class Matrix:
    """State of one parameter matrix; one with a single row has no bases and is left to Adam."""

    offset: int
    rows: int
    columns: int
    square: Tensor
    preconditioners: list[Tensor] = field(default_factory=list)
    bases: list[Tensor] = field(default_factory=list)


class Soap:
    """Adam in the eigenbasis of Shampoo's preconditioner, for the flat parameter vector of an architecture."""

    def __init__(self, architecture: Architecture, device: torch.device, decay: float = DECAY) -> None:
        self._decay = decay
        self._mean = torch.zeros(architecture.parameter_count, device=device)
        self._matrices: list[Matrix] = []
        self._steps = 0
        offset = 0
        for name, shape in architecture.arrays().items():
            for rows, columns in matrix_shapes(name, shape):
                matrix = Matrix(offset, rows, columns, torch.zeros(rows, columns, device=device))
                if rows > 1 and columns > 0:
                    matrix.preconditioners = [torch.zeros(n, n, device=device) for n in (rows, columns)]
                    matrix.bases = [torch.eye(n, device=device) for n in (rows, columns)]
                self._matrices.append(matrix)
                offset += rows * columns

    @torch.no_grad()
    def step(self, parameters: Tensor, gradient: Tensor, rate: float) -> None:
        """Moves `parameters` one step of about `rate` each against `gradient`."""
        self._steps += 1
        correction = 1 - self._decay**self._steps
        self._mean.lerp_(gradient, 1 - self._decay)
        for matrix in self._matrices:
            part = slice(matrix.offset, matrix.offset + matrix.rows * matrix.columns)
            g, mean = (x[part].view(matrix.rows, matrix.columns) for x in (gradient, self._mean))
            left, right = matrix.bases or (None, None)
            if left is None or right is None:
                direction = self._scaled(g, mean, matrix.square, correction)
            else:
                rotated = left.T @ g @ right, left.T @ mean @ right
                direction = left @ self._scaled(*rotated, matrix.square, correction) @ right.T
                for preconditioner, product in zip(matrix.preconditioners, (g @ g.T, g.T @ g), strict=True):
                    preconditioner.lerp_(product, 1 - self._decay)
                if self._steps % REFRESH_EVERY == 0:
                    matrix.bases = [
                        torch.linalg.qr(preconditioner @ basis)[0]
                        for preconditioner, basis in zip(matrix.preconditioners, matrix.bases, strict=True)
                    ]
            parameters[part] -= rate * direction.reshape(-1)

    def _scaled(self, gradient: Tensor, mean: Tensor, square: Tensor, correction: float) -> Tensor:
        """Adam's direction; `square` is updated."""
        square.lerp_(gradient.square(), 1 - self._decay)
        return (mean / correction / ((square / correction).sqrt() + EPSILON)).clamp_(-1, 1)


def matrix_shapes(name: str, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """The matrices that an array of parameters is for the optimiser: a kernel has a row for each output channel."""
    if name == "r":
        return [(3, 27)] * shape[0]
    if len(shape) == 2 and name not in ("taps", "u"):
        return [(shape[0], shape[1])]
    return [(1, math.prod(shape))]
