"""The bundle for Lambda: `python -m tools.package --stage staging` (or `make package`).

    vendor/  ->  chalice package  ->  compile what lies in the zip  ->  build/STAGE/deployment.zip

Chalice's zip has no .pyc and a function's folder is read-only in Lambda, so everything in it would be compiled at *every*
cold start. The zip is rewritten in Chalice's own cache, where `chalice deploy` finds and reuses it: the cache's key is a hash
of the sources, which is why no stray __pycache__ may lie in chalicelib, and none may be written between package and deploy.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from tools.stages import ROOT, read_config, read_stage, stage_names

OURS = ("app.py", "chalicelib")
_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same content gives the same zip
# Quiet; without it Chalice's own import of the app would write .pyc into chalicelib, and so change the cache's key.
_CLEAN = {"PYTHONDONTWRITEBYTECODE": "1"}


def build(stage: str, *, project: Path = ROOT) -> Path:
    """Build a stage's bundle; returns the zip."""
    architecture = read_config(project)["stages"][stage]["lambda_architecture"]
    _vendor(project, architecture)
    _forget(project)
    out = project / "build" / stage
    region = {"AWS_DEFAULT_REGION": read_stage(stage).region}
    chalice = str(Path(sys.executable).with_name("chalice"))
    _run([chalice, "package", "--stage", stage, str(out)], project, _CLEAN | region)
    (cached,) = (project / ".chalice" / "deployments").glob("*.zip")
    compile_zip(cached)
    bundle = out / "deployment.zip"
    shutil.copyfile(cached, bundle)
    return bundle


def compile_zip(bundle: Path) -> None:
    """Put .pyc beside the sources in a zip.

    Dependencies are compiled unchecked: no file is read to see whether they fit. Our own are checked by the source's hash,
    so that they can never be stale, whatever is done to the zip afterwards.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with ZipFile(bundle) as packed:
            packed.extractall(root)
        _drop_caches(root)
        ours = [name for name in OURS if (root / name).exists()]
        theirs = sorted(path.name for path in root.iterdir() if path.name not in OURS)
        _compile(root, theirs, "unchecked-hash")
        _compile(root, ours, "checked-hash")
        with ZipFile(bundle, "w", ZIP_DEFLATED, compresslevel=9) as packed:
            for path in sorted(each for each in root.rglob("*") if each.is_file()):
                entry = ZipInfo(str(path.relative_to(root)), _LONG_AGO)
                entry.external_attr = 0o644 << 16
                packed.writestr(entry, path.read_bytes(), ZIP_DEFLATED, 9)


def _compile(root: Path, names: Sequence[str], mode: str) -> None:
    # Tracebacks name the files as Lambda has them.
    rename = ["-s", str(root), "-p", "/var/task"]
    _run([sys.executable, "-m", "compileall", "-q", "--invalidation-mode", mode, *rename, *names], root)


def _vendor(project: Path, architecture: str) -> None:
    """Fetch what must come without its dependencies, as Lambda's machine needs it."""
    target = project / "vendor"
    shutil.rmtree(target, ignore_errors=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheels = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", version]
    wheels += ["--platform", f"manylinux2014_{_MACHINES[architecture]}"]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "install",
        "--no-deps",
        "--no-compile",
    ]
    _run([*pip, *wheels, "--target", str(target), "-r", str(project / "requirements-vendor.txt")], project)


def _forget(project: Path) -> None:
    """Drop earlier bundles and stray .pyc."""
    shutil.rmtree(project / ".chalice" / "deployments", ignore_errors=True)
    _drop_caches(project / "chalicelib")


def _drop_caches(folder: Path) -> None:
    for cache in [*folder.rglob("__pycache__")]:
        shutil.rmtree(cache, ignore_errors=True)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    subprocess.run(command, cwd=folder, env={**os.environ, **(environment or {})}, check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the bundle of a stage and say how large it is."""
    parser = argparse.ArgumentParser(prog="python -m tools.package", description="Build the bundle for Lambda.")
    parser.add_argument("--stage", required=True, choices=stage_names())
    bundle = build(parser.parse_args(arguments).stage)
    print(f"{bundle.relative_to(ROOT)}: {bundle.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
