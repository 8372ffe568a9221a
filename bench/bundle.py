"""The bundle as Lambda would get it, built beside the working tree for this machine's own processor."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.package import build
from tools.stages import ROOT

_PARTS = (
    "app.py",
    "chalicelib",
    ".chalice/config.json",
    ".chalice/policies",
    "requirements.txt",
    "requirements-vendor.txt",
)
_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


@contextmanager
def fresh_bundle(stage: str) -> Iterator[Path]:
    """Build the bundle of a stage in a copy of the project, so that the working tree and its caches stay as they are."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for part in _PARTS:
            _copy(ROOT / part, project / part)
        _for_this_machine(project / ".chalice" / "config.json", stage)
        yield build(stage, project=project)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target)


def _for_this_machine(path: Path, stage: str) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    config["stages"][stage]["lambda_architecture"] = _ARCHITECTURES[platform.machine()]
    path.write_text(json.dumps(config), encoding="utf-8")
