"""Every metric by its name, and what it takes to compute it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aquatint.errors import DependencyError, ImageError, UsageError
from aquatint.evaluation.metrics import fidelity, frechet, manifold, ssimulacra
from aquatint.evaluation.statistics import Estimate, jackknife


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: in commands and tables; "lpips" alone is nobody's name, for its values depend on the network.
        title: for people.
        higher_is_better: whether a better picture has a larger value.
        network: of a metric that compares sets, the network whose features of patches it compares; else None.
        packages: modules that must be installed.
        weights: names of files of weights that must be at hand, see `perception.weights`.
        function: of two pictures uint8 (H, W, 3) of one shape and a device; or, if there is a network, of two sets of
            features (N, D).
    """

    name: str
    title: str
    higher_is_better: bool
    function: Callable[..., float]
    network: str | None = None
    packages: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()

    @property
    def on_sets(self) -> bool:
        """Whether it compares two sets of pictures rather than two pictures."""
        return self.network is not None


def _without_device(function: Callable[..., float]) -> Callable[..., float]:
    return lambda reference, distorted, device: function(reference, distorted)


def _learned(name: str, *arguments: object) -> Callable[..., float]:
    """A function of the module `learned`, which is imported when it is called: it imports torch."""

    def function(reference: np.ndarray, distorted: np.ndarray, device: str) -> float:
        module = importlib.import_module("aquatint.evaluation.metrics.learned")
        return getattr(module, name)(*arguments, reference, distorted, device)

    return function


def _catalogue() -> dict[str, Metric]:
    torch = ("torch", "safetensors")
    lpips = {"alex": "AlexNet", "squeeze": "SqueezeNet", "vgg": "VGG16"}
    backbones = {"alex": "alexnet", "squeeze": "squeezenet", "vgg": "vgg16"}
    networks = {"": ("inception", "Inception"), "-mobilenet": ("mobilenet", "MobileNetV2, a stand-in")}
    metrics = [
        Metric("psnr", "PSNR [dB]", True, _without_device(fidelity.psnr)),
        Metric("ms-ssim", "MS-SSIM", True, _without_device(fidelity.ms_ssim)),
        Metric("ssimulacra2", "SSIMULACRA 2", True, _without_device(ssimulacra.ssimulacra2), packages=("ssimulacra2",)),
    ]
    metrics += [
        Metric(
            f"lpips-{net}",
            f"LPIPS ({title})",
            False,
            _learned("lpips", net),
            packages=torch,
            weights=(backbones[net], f"lpips-{net}"),
        )
        for net, title in lpips.items()
    ]
    for name, stack, title, files in (
        ("wd", "steerable", "features without weights", ()),
        ("wd-vgg16", "vgg16", "VGG16", ("vgg16",)),
        ("wd-vgg19", "vgg19", "VGG19 to relu3_4", ("vgg19",)),
    ):
        metrics.append(
            Metric(
                name,
                f"Wasserstein distortion ({title})",
                False,
                _learned("wasserstein", stack),
                packages=torch,
                weights=files,
            )
        )
    metrics.append(Metric("dists", "DISTS", False, _learned("dists"), packages=torch, weights=("vgg16", "dists")))
    for suffix, (network, title) in networks.items():
        for name, label, higher_is_better, function in (
            ("fid", "Frechet distance", False, frechet.frechet_distance),
            ("kid", "kernel distance", False, frechet.kernel_distance),
            ("precision", "precision", True, manifold.precision),
            ("recall", "recall", True, manifold.recall),
            ("density", "density", True, manifold.density),
            ("coverage", "coverage", True, manifold.coverage),
        ):
            metrics.append(
                Metric(
                    name + suffix,
                    f"{label} of patches ({title})",
                    higher_is_better,
                    function,
                    network=network,
                    packages=torch,
                    weights=(network,),
                )
            )
    return {metric.name: metric for metric in metrics}


METRICS = _catalogue()
DEFAULT = ("psnr", "ms-ssim")  # what needs no package and no weights


def select(names: str) -> list[Metric]:
    """The metrics of a comma-separated list of names; "all" stands for those that can be computed here.

    Raises:
        UsageError: a name is unknown, or the list is empty.
    """
    chosen: dict[str, Metric] = {}
    for name in filter(None, (part.strip().lower() for part in names.split(","))):
        if name == "all":
            chosen |= {metric.name: metric for metric in METRICS.values() if missing(metric.name) is None}
        else:
            chosen[name] = _metric(name)
    if not chosen:
        raise UsageError(f"no metric is named; there are {', '.join(METRICS)}")
    return list(chosen.values())


def missing(name: str) -> str | None:
    """What a metric lacks here and what to do about it; None if it can be computed.

    Raises:
        UsageError: the name is unknown.
    """
    metric = _metric(name)
    for package in metric.packages:
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed: pip install 'aquatint[metrics]'"
    if metric.weights:
        from aquatint.perception import weights

        for file in metric.weights:
            try:
                weights.find(file)
            except DependencyError as error:
                return str(error)
    return None


def measure(
    reference: np.ndarray, distorted: np.ndarray, names: Iterable[str] = DEFAULT, *, device: str = "cpu"
) -> dict[str, float]:
    """Compares a picture with its original.

    Arguments:
        reference, distorted: uint8 of one shape (H, W, 3). A picture of 12 megapixels takes less than 4 GiB.
        names: of metrics that compare two pictures.
        device: where networks compute.

    Returns:
        Values by name, in the given order; PSNR is infinite for equal pictures.

    Raises:
        UsageError: a name is unknown or that of a metric on sets.
        ImageError: shapes or types are others, or the picture is too small for a metric.
        DependencyError: a metric lacks a package or weights, see `missing`.
    """
    metrics = [_metric(name) for name in names]
    for metric in metrics:
        if metric.on_sets:
            raise UsageError(f"{metric.name} compares sets of pictures, not two pictures")
    for array in (reference, distorted):
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ImageError(f"pictures must be uint8 of shape (H, W, 3), not {array.dtype} of shape {array.shape}")
    if reference.shape != distorted.shape:
        sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (reference, distorted)]
        raise ImageError(f"the pictures must have the same size, not {sizes[0]} and {sizes[1]}")
    return {metric.name: metric.function(reference, distorted, device) for metric in metrics}


@dataclass(frozen=True)
class SetFeatures:
    """What metrics of sets see of some pictures.

    Attributes:
        vectors: float32 (N, D), one for each patch, by the name of the network.
        numbers: the number of each patch's picture, (N,).
    """

    vectors: Mapping[str, np.ndarray]
    numbers: np.ndarray


def set_features(pictures: Iterable[np.ndarray], names: Iterable[str], *, device: str = "cpu") -> SetFeatures:
    """What metrics of sets see of pictures.

    Arguments:
        pictures: uint8 (H, W, 3), gone through once.
        names: of metrics that compare sets.
        device: where networks compute.

    Raises:
        UsageError: a name is unknown or not that of a metric on sets.
        ImageError: no picture is large enough for a patch.
        DependencyError: a metric lacks a package or weights, see `missing`.
    """
    networks = sorted({_network(name) for name in names})
    learned = importlib.import_module("aquatint.evaluation.metrics.learned")
    patches = importlib.import_module("aquatint.evaluation.metrics.patches")
    vectors, numbers = patches.features(pictures, [learned.network(name, device) for name in networks])
    return SetFeatures(dict(zip(networks, vectors, strict=True)), numbers)


def compare_sets(references: SetFeatures, distorted: SetFeatures, names: Iterable[str]) -> dict[str, Estimate]:
    """Compares the statistics of two sets of pictures by their patches.

    Arguments:
        references, distorted: what `set_features` found for these metrics. If the pictures correspond, as many and of
            the same sizes in the same order, intervals say how much values would differ with other pictures.
        names: of metrics that compare sets.

    Returns:
        Values by name, in the given order.

    Raises:
        UsageError: a name is unknown or not that of a metric on sets, or there are fewer than two patches.
    """
    found = {}
    for name in names:
        network, function = _network(name), METRICS[name].function
        first, second = references.vectors[network], distorted.vectors[network]
        if np.array_equal(references.numbers, distorted.numbers):
            found[name] = _estimate(function, first, second, references.numbers)
        else:
            found[name] = Estimate(function(first, second), None, None, len(np.unique(distorted.numbers)))
    return found


def measure_sets(
    references: Iterable[np.ndarray], distorted: Iterable[np.ndarray], names: Sequence[str], *, device: str = "cpu"
) -> dict[str, Estimate]:
    """Compares two sets of pictures once: `compare_sets` of their `set_features`, with the errors of both."""
    if not names:
        return {}
    first, second = (set_features(each, names, device=device) for each in (references, distorted))
    return compare_sets(first, second, names)


def _network(name: str) -> str:
    network = _metric(name).network
    if network is None:
        raise UsageError(f"{name} compares two pictures, not sets of pictures")
    return network


def _estimate(function: Callable[..., float], first: np.ndarray, second: np.ndarray, numbers: np.ndarray) -> Estimate:
    """The metric on corresponding sets of vectors, with its interval over the numbered pictures."""
    pictures = np.unique(numbers)

    def statistic(chosen: np.ndarray) -> float:
        mask = np.isin(numbers, pictures[chosen])
        return function(first[mask], second[mask])

    try:
        return jackknife(statistic, len(pictures))
    except UsageError:  # some of the pictures alone have too few patches
        return Estimate(function(first, second), None, None, len(pictures))


def _metric(name: str) -> Metric:
    try:
        return METRICS[name]
    except KeyError:
        raise UsageError(f"metric {name!r} is not one of {', '.join(METRICS)}") from None
