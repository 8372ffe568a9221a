"""`python -m bench.bundle_size`: what the zip weighs, and what in it weighs most. Goal: at most 12 MB."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from zipfile import ZipFile

from bench.bundle import fresh_bundle
from tools.stages import stage_names

GOAL_MB = 12.0
SHOWN = 8


def weigh(bundle: Path) -> Counter[str]:
    """Compressed bytes by the first folder in the zip."""
    weights: Counter[str] = Counter()
    with ZipFile(bundle) as packed:
        for entry in packed.infolist():
            weights[entry.filename.partition("/")[0]] += entry.compress_size
    return weights


def main() -> int:
    """Print the size; exit status 1 when it is over the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.bundle_size", description=__doc__)
    parser.add_argument("--stage", default="staging", choices=stage_names())
    with fresh_bundle(parser.parse_args().stage) as bundle:
        size = bundle.stat().st_size / 1e6
        weights = weigh(bundle)
    for name, weight in weights.most_common(SHOWN):
        print(f"  {weight / 1e6:5.2f} MB  {name}")
    print(f"bundle {size:.1f} MB (goal: at most {GOAL_MB:g} MB)")
    return 0 if size <= GOAL_MB else 1


if __name__ == "__main__":
    raise SystemExit(main())
