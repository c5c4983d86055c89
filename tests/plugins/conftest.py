"""What tests of kernels need: a g++ for the CPU, and its sanitizers. What is missing is skipped, and said."""

from __future__ import annotations

import shutil
import subprocess

import pytest

MARKERS = {
    "host": "runs kernels on the CPU: needs g++",
    "sanitizers": "runs kernels under the sanitizers of g++",
}


def pytest_configure(config: pytest.Config) -> None:
    """The markers of this folder."""
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what cannot be compiled here."""
    marked = {name: [item for item in items if item.get_closest_marker(name)] for name in MARKERS}
    if any(marked.values()) and shutil.which("g++") is None:
        for item in marked["host"] + marked["sanitizers"]:
            item.add_marker(pytest.mark.skip(reason="no g++ here (sudo apt install g++)"))
    elif marked["sanitizers"] and not _sanitizers():
        for item in marked["sanitizers"]:
            item.add_marker(pytest.mark.skip(reason="this g++ has no libasan, libubsan or libtsan"))


def _sanitizers() -> bool:
    for kind in ("address,undefined", "thread"):
        done = subprocess.run(
            ["g++", f"-fsanitize={kind}", "-x", "c++", "-", "-o", "/dev/null"],
            input="int main() {}",
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            return False
    return True
