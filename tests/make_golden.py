"""Makes the golden streams under tests/data anew: needed only when the format changes.

    PYTHONPATH=src python tests/make_golden.py

The latents and pixels come from the reference decoder, not from the one under test.
"""

import hashlib
import json
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


def main() -> None:
    DATA.mkdir(exist_ok=True)
    golden = {}
    for seed, (name, (architecture, height, width)) in enumerate(CASES.items()):
        payload = write(synthetic_stream(architecture, height, width, seed))
        decoded = decode_stream(payload, height, width)
        symbols = hashlib.sha256(b"".join(grid.astype("<i2").tobytes() for grid in decoded.latents))
        golden[name] = {"height": height, "width": width, "latents": symbols.hexdigest()}
        (DATA / f"{name}.stream").write_bytes(payload)
        np.save(DATA / f"{name}.npy", picture(decoded, height, width, 8, False).astype(np.uint8))
    (DATA / "golden.json").write_text(json.dumps(golden, indent=2) + "\n")


if __name__ == "__main__":
    main()
