"""`python -m chalicelib.fleet FILE...` checks fleet files; `--schema` prints their JSON Schema.

Exit status: 0 all is well, 1 a file has problems (each on a line of its own), 2 wrong usage or no such file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from chalicelib.errors import MisconfiguredError
from chalicelib.fleet.load import load
from chalicelib.fleet.schema import schema_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the files that are named, or print the schema."""
    parser = argparse.ArgumentParser(prog="python -m chalicelib.fleet", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="a fleet file to check")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of a fleet file")
    options = parser.parse_args(arguments)
    if options.schema:
        sys.stdout.write(schema_text())
        return 0
    missing = [str(path) for path in options.files if not path.is_file()]
    if missing or not options.files:
        sys.stderr.write(f"no such file: {', '.join(missing)}\n" if missing else parser.format_usage())
        return 2
    return max(_check(path) for path in options.files)


def _check(path: Path) -> int:
    try:
        fleet = load(path)
    except MisconfiguredError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    services = sum(len(group.services) for group in fleet.groups.values())
    sys.stdout.write(f"{path.name}: {fleet.environment}, {len(fleet.groups)} groups, {services} services\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
