"""Makes the golden files under tests/data anew: needed only when the format changes, or the model that is shipped.

    PYTHONPATH=src python tests/make_golden.py [overfitted] [hyperprior] [extreme]

Latents and pixels of overfitted streams come from the reference decoder, not from the one under test. Files of the
hyperprior and the extreme codec are made with toy models that are kept beside them, and with the model that is shipped;
what is golden about them is that other machines, with other floating point, read the same symbols.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
from reference_decoder import decode_stream, picture
from streams import synthetic_stream

from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.stream import write

DATA = Path(__file__).parent / "data"

CASES = {
    "default_45x70": (Architecture(), 45, 70),
    "narrow_17x3": (Architecture(grids=4, context=7, parents=1, hidden=4, residuals=0), 17, 3),
    "wide_33x40": (Architecture(grids=9, context=20, parents=4, hidden=32, residuals=4), 33, 40),
    "single_1x1": (Architecture(grids=1, context=8, parents=0, hidden=8, residuals=1), 1, 1),
    "noise_45x70": (Architecture(grids=7, context=14, parents=2, hidden=24, residuals=1, noise=3), 45, 70),
}


def overfitted() -> None:
    golden = {}
    for seed, (name, (architecture, height, width)) in enumerate(CASES.items()):
        payload = write(synthetic_stream(architecture, height, width, seed))
        decoded = decode_stream(payload, height, width)
        symbols = hashlib.sha256(b"".join(grid.astype("<i2").tobytes() for grid in decoded.latents))
        golden[name] = {"height": height, "width": width, "latents": symbols.hexdigest()}
        (DATA / f"{name}.stream").write_bytes(payload)
        np.save(DATA / f"{name}.npy", picture(decoded, height, width, 8, False).astype(np.uint8))
    (DATA / "golden.json").write_text(json.dumps(golden, indent=2) + "\n")


def hyperprior() -> None:
    from hyperprior_models import LARGEST_LAMBDA, trained
    from skimage.data import coffee

    import aquatint
    from aquatint.training.export import weights

    folder = DATA / "hyperprior"
    folder.mkdir(exist_ok=True)
    os.environ["AQUATINT_MODELS"] = str(folder)
    (folder / "toy.safetensors").write_bytes(weights(trained("mean-scale"), LARGEST_LAMBDA))
    for model, quality in (("toy", 70), ("compact", 30)):
        data = aquatint.encode(coffee()[100:196, 150:294], quality=quality, codec="hyperprior", model=model)
        (folder / f"{model}.aqt").write_bytes(data)
        np.save(folder / f"{model}.npy", np.rint(aquatint.decode(data).pixels * 255).astype(np.uint8))


def extreme() -> None:
    from extreme_models import GOLDEN, halves, trained
    from skimage.data import coffee

    import aquatint
    from aquatint import container
    from aquatint.codecs import models
    from aquatint.codecs.extreme.decoder import read
    from aquatint.codecs.extreme.model import load
    from aquatint.training.export import extreme_weights

    folder = DATA / "extreme"
    folder.mkdir(exist_ok=True)
    os.environ["AQUATINT_MODELS"] = str(folder)
    (folder / "toy.safetensors").write_bytes(extreme_weights(trained(GOLDEN)))
    data = aquatint.encode(
        coffee()[100:196, 150:294],
        codec="extreme",
        model="toy",
        quality=100,
        labels=halves(96, 144).numpy(),
        preserve=["box=20,10,60,70", "classes=tree"],
    )
    (folder / "toy.aqt").write_bytes(data)
    content = read(load(models.find("toy")), container.read(data)[1][container.Chunk.PAYLOAD], 96, 144)
    pixels = aquatint.decode(data).to_array()
    np.savez_compressed(folder / "toy.npz", **vars(content), pixels=pixels)


def main() -> None:
    DATA.mkdir(exist_ok=True)
    makers = {"overfitted": overfitted, "hyperprior": hyperprior, "extreme": extreme}
    for name in sys.argv[1:] or makers:
        makers[name]()


if __name__ == "__main__":
    main()
