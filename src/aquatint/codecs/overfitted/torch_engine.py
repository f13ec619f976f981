"""The fit engine in PyTorch: for GPUs, and the oracle of the native engine's gradients.

The entropy network's first layer never sees a matrix of contexts: its weights are laid out
as filters over the grid, and over the coarser grid as one filter for each of the four parities of row and column.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aquatint import native
from aquatint.codecs.overfitted.architecture import LATENT_LIMIT, Architecture
from aquatint.codecs.overfitted.engine import Distortion
from aquatint.codecs.overfitted.initialise import DEFAULT_TAPS
from aquatint.codecs.overfitted.octaves import BLOCK
from aquatint.codecs.overfitted.torch_soap import DECAY, Soap
from aquatint.errors import UsageError

# Causal neighbours as (row, column), in the order of FORMAT.md, 2.4.
CONTEXT = (
    *((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, -2), (-1, 2), (-2, -1), (-2, 1), (0, -3), (-3, 0)),
    *((-2, -2), (-2, 2), (-1, -3), (-1, 3), (-3, -1), (-3, 1), (-2, -3), (-2, 3), (0, -4), (-3, -2), (-3, 2), (-1, 4)),
)
BLUR, LEAST_SCALE = 0.02, 0.01  # of parameters, see native/fit.cpp
LEAST_LOG_SCALE, GREATEST_LOG_SCALE = -5.0, 6.875
EPSILON = 3.0  # Adam's, relative to the gradient of a bit, see native/fit.cpp
MEAN_DECAY = 0.5  # Adam's, see native/fit_optimiser.h
GREATEST_DECAY = 0.9999


def soft_round(x: Tensor, temperature: float) -> Tensor:
    """A differentiable rounding that tends to round() as the temperature falls (native/fit_quantise.h)."""
    centre = torch.floor(x) + 0.5
    return centre + torch.tanh((x - centre) / temperature) * (0.5 / math.tanh(0.5 / temperature))


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} must be from {low} to {high}, not {value}")


def _wrap(value: int) -> int:
    """The signed 32-bit integer that is congruent to a value."""
    return (value + 2**31) % 2**32 - 2**31


def mix(h: Tensor) -> Tensor:
    """The 32-bit hash of native/fit_quantise.h, on int32."""
    h = h ^ ((h >> 16) & 0xFFFF)
    h = h * _wrap(0x7FEB352D)
    h = h ^ ((h >> 15) & 0x1FFFF)
    h = h * _wrap(0x846CA68B)
    return h ^ ((h >> 16) & 0xFFFF)


def laplace_bits(y: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log2(P + 2^-24), P being the mass of [y - 1/2, y + 1/2] under a Laplace distribution of scale 2^log_scale."""
    sharpness = torch.exp2(-log_scale.clamp(LEAST_LOG_SCALE, GREATEST_LOG_SCALE))
    a = (y - mean).abs()
    # Beyond the mean both ends lie in one tail: their difference, not that of two numbers near 1.
    near = torch.exp(-(a - 0.5).abs() * sharpness)
    far = torch.exp(-(a + 0.5) * sharpness)
    mass = torch.where(a < 0.5, 1 - 0.5 * (near + far), 0.5 * (near - far))
    return -torch.log2(mass + 2.0**-24)


def double(x: Tensor, taps: Tensor, dim: int, size: int) -> Tensor:
    """Channels (c, h, w) doubled along a dimension with four taps and cropped to a size, as in FORMAT.md, 2.5."""
    width = [0, 0, 2, 2] if dim == 1 else [2, 2, 0, 0]
    padded = F.pad(x[:, None], width, mode="replicate")[:, 0]
    p = [padded.narrow(dim, i, x.shape[dim]) for i in range(5)]  # the sample two places before, and so on
    even = p[0] * taps[0] + p[1] * taps[2] + p[2] * taps[3] + p[3] * taps[1]
    odd = p[1] * taps[1] + p[2] * taps[3] + p[3] * taps[2] + p[4] * taps[0]
    return torch.stack([even, odd], dim + 1).flatten(dim, dim + 1).narrow(dim, 0, size)


def without_local_means(gradient: Tensor, share: Tensor) -> Tensor:
    """`octaves.without_local_means` in PyTorch."""
    height, width = gradient.shape
    means = F.avg_pool2d(gradient[None, None], BLOCK, ceil_mode=True)
    shown = F.interpolate(means, scale_factor=BLOCK, mode="bilinear", align_corners=False)
    return gradient - share * shown[0, 0, :height, :width]


class TorchEngine:
    """An `Engine` on any device of PyTorch; values that a step returns are tensors, so that it need not wait for them.

    Args:
        pixels: float32 of shape (3, H, W), finite.
        architecture: sizes of the model.
        device: a device of PyTorch.
        skip_finest: the finest grid's latents stay zero.

    Raises:
        UsageError: the pixels, the architecture or the device are not usable.
    """

    def __init__(
        self, pixels: np.ndarray, architecture: Architecture, device: str = "cpu", skip_finest: bool = False
    ) -> None:
        if pixels.ndim != 3 or pixels.shape[0] != 3 or 0 in pixels.shape or not np.isfinite(pixels).all():
            raise UsageError(f"pixels must be finite and of the shape (3, H, W), H and W from 1, not {pixels.shape}")
        if skip_finest and architecture.grids == 1:
            raise UsageError("the only grid cannot be skipped")
        try:
            self._target = torch.from_numpy(pixels.astype(np.float32)).to(device)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"device {device!r} is not usable: {error}") from None
        self._architecture = architecture
        self._first_grid = int(skip_finest)  # the finest one that is in use
        self._shares: Tensor | None = None  # of local means, for the finest grid in use
        self._shapes = architecture.grid_shapes(*pixels.shape[1:])
        self._sizes = [height * width for height, width in self._shapes]
        count = sum(math.prod(shape) for shape in architecture.arrays().values())
        self._parameters = torch.zeros(count, device=self._target.device)
        self._origin: Tensor | None = None
        self._latents = torch.zeros(sum(self._sizes), device=self._target.device)  # all grids one after the other
        # Every row of every grid, as (grid, row in it); and for every latent which of these it is in, and its column.
        rows = [(k, row) for k, (height, _) in enumerate(self._shapes) for row in range(height)]
        widths = [self._shapes[k][1] for k, _ in rows]
        row_of = torch.arange(len(rows)).repeat_interleave(torch.tensor(widths))
        column_of = torch.cat([torch.arange(w).repeat(h) for h, w in self._shapes])
        self._rows = torch.tensor(rows, dtype=torch.int32, device=self._target.device).T
        self._row_of, self._column_of = (v.to(self._target.device, torch.int32) for v in (row_of, column_of))
        self._common_noise = self._upsampled_noise()
        self.reset_optimiser(DECAY, DECAY)

    @property
    def parameters(self) -> np.ndarray:
        return self._parameters.detach().cpu().numpy().copy()

    @parameters.setter
    def parameters(self, values: np.ndarray) -> None:
        checked = self._checked_vector("parameters", values)
        with torch.no_grad():
            self._parameters.copy_(checked)

    def set_origin(self, values: np.ndarray) -> None:
        self._origin = self._checked_vector("origin", values).to(self._target.device)

    def _checked_vector(self, name: str, values: np.ndarray) -> Tensor:
        if values.shape != self._parameters.shape or not np.isfinite(values).all():
            raise UsageError(f"{name} must be {len(self._parameters)} finite numbers, not {values.shape}")
        return torch.from_numpy(np.array(values, dtype=np.float32))

    def separate_finest(self, shares: np.ndarray | None) -> None:
        if shares is None:
            self._shares = None
            return
        shape = self._shapes[self._first_grid]
        if shares.shape != shape:
            raise UsageError(f"shares must be {shape[0]}x{shape[1]}, not {'x'.join(map(str, shares.shape))}")
        if not ((shares >= 0) & (shares <= 1)).all():
            raise UsageError("shares must be from 0 to 1")
        self._shares = torch.from_numpy(shares).to(self._target.device)

    def latents(self, k: int) -> np.ndarray:
        return self._grids(self._latents)[k].detach().cpu().numpy().copy()

    def set_latents(self, k: int, values: np.ndarray) -> None:
        if values.shape != self._shapes[k] or not (np.abs(values) <= LATENT_LIMIT).all():
            raise UsageError(
                f"latents of grid {k} must be {self._shapes[k]} numbers from -{LATENT_LIMIT} to {LATENT_LIMIT}, "
                f"not {values.shape}"
            )
        if k < self._first_grid and values.any():
            raise UsageError("the finest grid is skipped: its latents must be 0")
        with torch.no_grad():
            self._grids(self._latents)[k].copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))

    def step(
        self,
        temperature: float,
        noise: float,
        lagrangian: float,
        latent_rate: float,
        network_rate: float,
        seed: int,
        distortion: Distortion | None = None,
    ) -> tuple[Tensor, Tensor]:
        _require("latent_rate", latent_rate, 0, 1)
        _require("network_rate", network_rate, 0, 1)
        if latent_rate > 0 and temperature == 0:
            raise UsageError("hard-rounded latents (temperature 0) have no gradient: latent_rate must be 0")
        for variable, rate in ((self._latents, latent_rate), (self._parameters, network_rate)):
            variable.requires_grad_(rate > 0)
            variable.grad = None
        value, bits = self._differentiate(temperature, noise, lagrangian, seed, distortion, self._shares)
        if latent_rate > 0:
            gradient_of_bit = lagrangian / self._target[0].numel()
            self._adam.param_groups[0].update(lr=latent_rate, eps=max(EPSILON * gradient_of_bit, 1e-30))
            self._adam.step()
            with torch.no_grad():
                self._latents.clamp_(-LATENT_LIMIT, LATENT_LIMIT)
        if self._parameters.grad is not None:
            self._soap.step(self._parameters, self._parameters.grad, network_rate)
        return value, bits

    def gradients(
        self, temperature: float, noise: float, lagrangian: float, seed: int, distortion: Distortion | None = None
    ) -> tuple[Tensor, Tensor, np.ndarray, list[np.ndarray]]:
        for variable in (self._latents, self._parameters):
            variable.requires_grad_(True)
            variable.grad = None
        value, bits = self._differentiate(temperature, noise, lagrangian, seed, distortion)
        gradients = [torch.zeros_like(v) if v.grad is None else v.grad for v in (self._parameters, self._latents)]
        return value, bits, gradients[0].cpu().numpy(), [g.cpu().numpy() for g in self._grids(gradients[1])]

    @torch.no_grad()
    def evaluate(self) -> tuple[Tensor, list[float]]:
        grids = self._values(0, 0, 0)
        parts = self._bits(grids).split(self._sizes[self._first_grid :])
        bits = [0.0] * self._first_grid + [float(part.sum()) for part in parts]
        picture = self._picture(grids).clamp(0, 1)
        return (picture - self._target).square().mean(), bits

    @torch.no_grad()
    def render(self) -> np.ndarray:
        return self._picture(self._values(0, 0, 0)).clamp(0, 1).cpu().numpy()

    def reset_optimiser(self, latent_decay: float, network_decay: float) -> None:
        _require("latent_decay", latent_decay, 0, GREATEST_DECAY)
        _require("network_decay", network_decay, 0, GREATEST_DECAY)
        self._adam = torch.optim.Adam([self._latents], betas=(MEAN_DECAY, latent_decay), fused=True)
        self._soap = Soap(self._architecture, self._parameters.device, network_decay)

    def _grids(self, flat: Tensor) -> list[Tensor]:
        return [part.view(shape) for part, shape in zip(flat.split(self._sizes), self._shapes, strict=True)]

    def _arrays(self, vector: Tensor | None = None) -> dict[str, Tensor]:
        shapes = self._architecture.arrays()
        vector = self._parameters if vector is None else vector
        parts = vector.split([math.prod(shape) for shape in shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}

    def _differentiate(
        self,
        temperature: float,
        noise: float,
        lagrangian: float,
        seed: int,
        distortion: Distortion | None,
        shares: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The distortion and the bits; leaves the gradients of the loss with the latents and the parameters."""
        if temperature != 0:
            _require("temperature", temperature, 0.01, 100)
        _require("noise", noise, 0, 1)
        _require("lagrangian", lagrangian, 0, 1e6)
        grids = self._values(temperature, noise, seed)
        finest = grids[self._first_grid]
        if shares is not None and finest.requires_grad:
            finest.register_hook(partial(without_local_means, share=shares))
        bits = self._bits(grids).sum()
        picture = self._picture(grids)
        clamped = picture.detach().clamp(0, 1)
        if distortion is None:
            error = clamped - self._target
            value, gradient = error.square().mean(), error * (2 / error.numel())
        else:
            value, gradient = distortion(clamped)
            gradient = torch.as_tensor(gradient, dtype=torch.float32, device=clamped.device)
            if gradient.shape != clamped.shape:
                raise UsageError(
                    f"the distortion's gradient must be {tuple(clamped.shape)}, not {tuple(gradient.shape)}"
                )
        if self._origin is not None and self._parameters.requires_grad:
            bits_of_networks = self._network_bits(self._origin)
            (bits_of_networks * (lagrangian / self._target[0].numel())).backward()
        if picture.requires_grad:
            torch.autograd.backward([picture, bits * (lagrangian / self._target[0].numel())], [gradient, None])
        return torch.as_tensor(value), bits.detach()

    def _network_bits(self, origin: Tensor) -> Tensor:
        """Bits of the parameters up to a constant, see `Engine`; magnitudes below BLUR count for less."""
        arrays = self._arrays(self._parameters - origin)
        matrices = [*(arrays[name] for name in arrays if name != "r"), *arrays["r"]]
        magnitudes = [(F.softplus(-2 * x.abs() / BLUR) - math.log(2)) * BLUR + x.abs() for x in matrices if x.numel()]
        return torch.stack([x.numel() * torch.log2(x.mean() + LEAST_SCALE) for x in magnitudes]).sum()

    def _noise(self, seed: int) -> Tensor:
        grid, row = self._rows
        block, turn = divmod(seed, 16)
        stratum = _wrap(int(f"{turn:04b}"[::-1], 2) << 28)
        row_key = mix(mix(mix(torch.full_like(grid, _wrap(block + 0x9E3779B9))) + grid) + row)
        hashed = mix(row_key[self._row_of] + self._column_of) + stratum
        return ((hashed >> 8) & 0xFFFFFF).float() * 2.0**-24 - 0.5

    def _upsampled_noise(self) -> Tensor:
        """The common randomness at the size of the picture (FORMAT.md, 2.5)."""
        taps = torch.from_numpy(DEFAULT_TAPS)
        planes = torch.zeros(0, *self._shapes[max(self._architecture.noise - 1, 0)])
        for k in reversed(range(self._architecture.noise)):
            height, width = self._shapes[k]
            if len(planes):
                planes = double(double(planes, taps, 1, height), taps, 2, width)
            planes = torch.cat([torch.from_numpy(native.noise(k, height, width))[None], planes])
        return planes.to(self._target.device)

    def _quantise(self, temperature: float, noise: float, seed: int) -> Tensor:
        if temperature == 0:
            return torch.floor(self._latents.detach() + 0.5)
        y = soft_round(self._latents, temperature)
        return soft_round(torch.add(y, self._noise(seed), alpha=noise), temperature)

    def _values(self, temperature: float, noise: float, seed: int) -> list[Tensor]:
        """What the proxy makes of the latents, by grid; zeros where they are skipped."""
        grids = self._grids(self._quantise(temperature, noise, seed))
        return [torch.zeros_like(grid) for grid in grids[: self._first_grid]] + grids[self._first_grid :]

    def _bits(self, grids: list[Tensor]) -> Tensor:
        """The bits of every latent that is in use, one grid after the other (FORMAT.md, 2.4)."""
        arrays = self._arrays()
        inputs, context, parents = self._architecture.inputs, self._architecture.context, self._architecture.parents
        identity = torch.eye(inputs, device=self._target.device)
        w1, w2 = arrays["w1"] + identity, arrays["w2"] + identity  # W a + a = (W + 1) a
        filters = w1.new_zeros(inputs, 4, 9)
        rows, columns = [row + 3 for row, _ in CONTEXT[:context]], [column + 4 for _, column in CONTEXT[:context]]
        filters[:, rows, columns] = w1[:, :context]
        parent_filters = w1.new_zeros(inputs, 2, 2, 3, 3)  # parity of row and column; row and column of the parent
        for parity_row in range(2):
            for parity_column in range(2):
                for parent in range(parents):
                    row = 1 if parent < 2 else 2 * parity_row
                    column = 1 if parent % 2 == 0 else 2 * parity_column
                    parent_filters[:, parity_row, parity_column, row, column] = w1[:, context + parent]
        hidden = []
        used = range(self._first_grid, len(grids))
        for k in used:
            y = grids[k]
            height, width = y.shape
            h = F.conv2d(F.pad(y[None, None], (4, 4, 3, 0)), filters[:, None], arrays["b1"])
            if parents and k + 1 < len(grids):
                phases = F.conv2d(grids[k + 1][None, None], parent_filters.view(-1, 1, 3, 3), padding=1)
                h = h + F.pixel_shuffle(phases, 2)[:, :, :height, :width]
            hidden.append(h.reshape(inputs, -1))
        h = torch.relu(torch.cat(hidden, 1))
        h = torch.relu(torch.addmm(arrays["b2"][:, None], w2, h))
        mean, log_scale = torch.addmm(arrays["b3"][:, None], arrays["w3"], h)
        return laplace_bits(torch.cat([grids[k].reshape(-1) for k in used]), mean, log_scale)

    def _picture(self, grids: list[Tensor]) -> Tensor:
        """Upsampling and synthesis (FORMAT.md, 2.5), not clamped."""
        arrays = self._arrays()
        z = grids[-1][None]
        for k in reversed(range(len(grids) - 1)):
            height, width = self._shapes[k]
            z = double(double(z, arrays["taps"][k], 1, height), arrays["taps"][k], 2, width)
            z = torch.cat([grids[k][None], z])
        z = torch.cat([z, self._common_noise])
        h = torch.relu(F.conv2d(z[None], arrays["s1"][:, :, None, None], arrays["t1"]))
        p = F.conv2d(h, arrays["s2"][:, :, None, None], arrays["t2"])
        last = self._architecture.residuals - 1
        for i, (weights, bias) in enumerate(zip(arrays["r"], arrays["u"], strict=True)):
            change = F.conv2d(F.pad(p, (1, 1, 1, 1), mode="replicate"), weights, bias)
            p = p + (change if i == last else torch.relu(change))
        return p[0]
