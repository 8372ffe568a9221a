"""What a stand-in is told to suffer from: `--fault NAME[=VALUE][@NODE]`. Shared by the node and the explorer."""

from collections.abc import Mapping, Sequence
from typing import Any


def parse_faults(texts: Sequence[str], known: Mapping[str, str], name: str = "") -> dict[str, Any]:
    """Read faults as NAME or NAME=VALUE, each with @NODE for those alone whose name ends so. Raises ValueError.

    `known` says what each does; a text that begins with SECONDS, HEIGHT or N asks for a whole number.
    """
    faults = {}
    for argument in texts:
        text, _, only = argument.partition("@")
        fault, _, value = text.partition("=")
        if fault not in known:
            raise ValueError(
                f"unknown fault {fault!r}; there are: " + "; ".join(f"{k} ({v})" for k, v in known.items())
            )
        wants = known[fault].split(maxsplit=1)[0].strip(":")
        if wants in ("SECONDS", "HEIGHT", "N") and not (value.isascii() and value.isdigit()):
            raise ValueError(f"fault {fault} is {fault}={wants}, a whole number; not {text!r}")
        if name.endswith(only):
            faults[fault] = value
    return faults
