"""The bundle's compiled files: dependencies unchecked, our own never stale."""

from __future__ import annotations

import importlib.util
import marshal
from pathlib import Path
from zipfile import ZipFile

from tools.package import compile_zip

CHECKED, UNCHECKED = 0b11, 0b01  # PEP 552


def bundle_in(folder: Path) -> Path:
    """A zip as Chalice makes it, with a stray .pyc of the working tree."""
    bundle = folder / "deployment.zip"
    with ZipFile(bundle, "w") as packed:
        packed.writestr("app.py", "import chalicelib\n")
        packed.writestr("chalicelib/__init__.py", "")
        packed.writestr("chalicelib/__pycache__/gone.cpython-38.pyc", b"stray")
        packed.writestr("chalicelib/fleet/staging.yaml", "environment: staging\n")
        packed.writestr("pydantic/__init__.py", "raise ValueError\n")
    return bundle


def compiled(bundle: Path, source: str) -> bytes:
    """The .pyc of a source in the zip."""
    with ZipFile(bundle) as packed:
        return packed.read(importlib.util.cache_from_source(source))


def test_dependency_is_compiled_unchecked_and_ours_is_checked(tmp_path: Path) -> None:
    """No file is read to see whether a dependency fits; our own are checked by their hash, so never stale."""
    bundle = bundle_in(tmp_path)
    compile_zip(bundle)
    assert compiled(bundle, "pydantic/__init__.py")[4] == UNCHECKED
    assert compiled(bundle, "chalicelib/__init__.py")[4] == CHECKED
    assert compiled(bundle, "app.py")[4] == CHECKED


def test_data_stays_and_strays_go(tmp_path: Path) -> None:
    """The fleet files are in the bundle, what lay in __pycache__ is not."""
    bundle = bundle_in(tmp_path)
    compile_zip(bundle)
    with ZipFile(bundle) as packed:
        names = packed.namelist()
        assert packed.read("chalicelib/fleet/staging.yaml") == b"environment: staging\n"
    assert not [name for name in names if "gone" in name]


def test_traceback_names_the_file_as_lambda_has_it(tmp_path: Path) -> None:
    """A path of the machine that built the bundle would mislead whoever reads the log."""
    bundle = bundle_in(tmp_path)
    compile_zip(bundle)
    code = marshal.loads(compiled(bundle, "pydantic/__init__.py")[16:])  # noqa: S302 - made in this test
    assert code.co_filename == "/var/task/pydantic/__init__.py"


def test_same_content_gives_the_same_zip(tmp_path: Path) -> None:
    """A bundle that did not change has the same bytes, whenever it was built."""
    bundle = bundle_in(tmp_path)
    compile_zip(bundle)
    once = bundle.read_bytes()
    compile_zip(bundle)
    assert bundle.read_bytes() == once
