"""Do 95 % intervals contain the truth 95 % of the time? Simulated studies with pairs chosen as in real ones.

    python benchmarks/study_coverage.py [--studies 200] [--raters 24] [--trials 40]

Two populations: raters of one mind who must choose, and raters of different tastes who may be not sure and who
sometimes lapse.
"""

from __future__ import annotations

import argparse

from aquatint.study.simulate import Truth, power

POPULATIONS = {
    "one mind": Truth((1400, 1470, 1510, 1620)),
    "tastes": Truth((1400, 1470, 1510, 1620), ties=0.25, taste=60, lapse=0.03),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--raters", type=int, default=24)
    parser.add_argument("--trials", type=int, default=40)
    options = parser.parse_args()
    for name, truth in POPULATIONS.items():
        found = power(truth, options.raters, options.trials, options.studies)
        print(
            f"{name}: {options.studies} studies of {found.raters} raters and {found.votes} votes, coverage "
            f"{found.coverage:.1%}, intervals ±{found.half_width:.0f} Elo, {found.ordered:.1%} of neighbours in order",
            flush=True,
        )


if __name__ == "__main__":
    main()
