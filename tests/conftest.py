"""What all tests share: what is skipped where something is missing, and hypothesis without a stopwatch."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import settings

# Machines that run tests are busy: a slow example is no failure. `make fuzz` asks for many more.
EXAMPLES = int(os.environ.get("LINESIDE_FUZZ_EXAMPLES", "100"))
settings.register_profile("lineside", deadline=None, print_blob=True, max_examples=EXAMPLES)
settings.load_profile("lineside")


def _mosquitto() -> bool:
    return shutil.which("mosquitto") is not None or shutil.which("/usr/sbin/mosquitto") is not None


def _chromium() -> bool:
    return any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))


def _torch() -> bool:
    return all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "broker": (_mosquitto, "no Mosquitto here (sudo apt install mosquitto)"),
    "browser": (_chromium, "no Chromium here (sudo apt install chromium)"),
    "parity": (_torch, "torch and transformers are not installed (make parity)"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what cannot run here, and says why."""
    for marker, (is_there, reason) in NEEDS.items():
        if not is_there():
            for item in items:
                if item.get_closest_marker(marker):
                    item.add_marker(pytest.mark.skip(reason=reason))
