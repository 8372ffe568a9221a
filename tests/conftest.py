"""What holds for every test: the longest begins first, so that nobody waits for it at the end."""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)  # after pytest-randomly has shuffled them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A stage that is applied takes minutes, most of them waiting."""
    items.sort(key=lambda item: "tests/infra/test_applied.py" not in item.nodeid)
