"""Benchmarks take minutes each, and find their own modules beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """No test's patience is enough for a benchmark."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(7200))
