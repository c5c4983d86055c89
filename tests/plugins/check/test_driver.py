"""Our use of CUDA's driver, through the real bindings, over a stand-in for the library they load.

The stand-in keeps the driver's rules (contexts, allocations, capture) and runs kernels that g++ compiled.
What it cannot show is a GPU: timings and registers here are its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lineside.plugins.check import driver
from lineside.plugins.check.device import NoDevice
from lineside.plugins.check.driver import open_driver
from lineside.plugins.host.build import compiler

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the stand-in under the driver library's name."""
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None:
        pytest.skip(
            "cuda-bindings is not installed (pip install 'lineside[kernels]'): the driver is not tried"
        )
    folder = tmp_path_factory.mktemp("driver")
    built = subprocess.run(
        [
            *(compiler()[0], "-std=c++17", "-O1", "-fPIC", "-shared", "-fvisibility=hidden"),
            *("-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1")),
            *(str(HERE / "libcuda_stand_in.cpp"), "-ldl"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def run(library: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"LD_LIBRARY_PATH": str(library), "PYTHONPATH": str(HERE.parent / "sample")}
        | environment,
    )


@pytest.fixture(scope="module")
def seen(library: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a session with the stand-in saw."""
    done = run(library, str(HERE / "driver_session.py"), str(tmp_path_factory.mktemp("session")))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(autouse=True)
def _emulation(emulation: None) -> None:
    pass


def test_the_device_is_described_by_its_driver(seen: dict[str, Any]) -> None:
    device = seen["check"]["device"]

    assert {name: device[name] for name in device if name != "measured_bytes_s"} == {
        "name": "Stand-in",
        "capability": "8.7",
        "target": "sm_87",
        "cuda": "13.2",
        "multiprocessors": 4,
        "memory_bytes": 2 << 30,
        "cache_bytes": 1 << 16,
        "stated_bytes_s": 102.4e9,
    }
    assert device["measured_bytes_s"] > 0


def test_kernels_are_launched_with_the_arguments_they_take(seen: dict[str, Any]) -> None:
    first, last = seen["check"]["rows"][:4], seen["check"]["rows"][-4:]

    assert [row["problems"] for row in first + last] == [[]] * 8
    assert all(0 <= row["error"] <= row["tolerance"] for row in first + last)


def test_times_come_from_events_around_a_graph(seen: dict[str, Any]) -> None:
    timed = [row for row in seen["check"]["rows"] if row["seconds"] is not None]

    assert len(timed) == 4
    assert all(row["seconds"] > 0 and row["fraction_of_floor"] > 0 for row in timed)


def test_a_kernel_that_takes_the_device_down_is_told_and_the_next_one_runs(seen: dict[str, Any]) -> None:
    bad = seen["check"]["rows"][4:-4]

    assert len(bad) == 4
    assert {tuple(row["problems"]) for row in bad} == {
        ("cuLaunchKernel: CUDA_ERROR_LAUNCH_FAILED (as the stand-in says)",)
    }


def test_each_method_does_what_it_says(seen: dict[str, Any]) -> None:
    found = seen["one by one"]

    assert found["kept"] is True
    assert found["spent"] == [24, 0, 512]
    assert found["copies"] == 3
    assert found["allocations"] == 1


def test_what_the_driver_refuses_is_told_with_the_call(seen: dict[str, Any]) -> None:
    found = seen["one by one"]

    assert found["beyond"].startswith("cuMemcpyDtoH: CUDA_ERROR_INVALID_VALUE")
    assert found["garbage"].startswith("cuModuleLoadData: CUDA_ERROR_INVALID_PTX")
    assert found["misnamed"].startswith("cuModuleGetFunction: CUDA_ERROR_NOT_FOUND")
    assert found["freed twice"].startswith("cuMemFree: CUDA_ERROR_INVALID_VALUE")
    assert found["closed"].startswith("cuMemAlloc: ")


def test_nothing_is_left_on_the_device(seen: dict[str, Any]) -> None:
    assert seen["left"] == [0, 0]


def test_a_driver_without_a_gpu_is_told(library: Path) -> None:
    done = run(library, "-m", "lineside.plugins", "check", "--kernel", "none", STAND_IN_NO_DEVICE="1")
    only = ("--kernel", "causal_convolution")
    settled = run(library, "-m", "lineside.plugins", "check", *only, "--json", STAND_IN_NO_DEVICE="1")

    assert done.returncode == 2
    assert settled.returncode == 3, settled.stderr
    assert json.loads(settled.stdout)["why"].startswith(
        "the NVIDIA driver does not start: CUDA_ERROR_NO_DEVICE"
    )


def test_a_gpu_there_is_not(library: Path) -> None:
    script = "from lineside.plugins.check.driver import open_driver; open_driver(3)"
    done = run(library, "-c", script)

    assert "NoDevice: there is no GPU 3: the driver sees 1" in done.stderr


def test_without_the_bindings_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)

    with pytest.raises(NoDevice, match=r"pip install 'lineside\[kernels\]'"):
        open_driver(0)


def test_without_a_driver_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bindings:
        @staticmethod
        def cuInit(flags: int) -> None:  # noqa: N802 - CUDA's name
            raise RuntimeError("libcuda.so.1 cannot be opened")

    monkeypatch.setattr(driver.importlib, "import_module", lambda name: Bindings)

    with pytest.raises(NoDevice, match="no NVIDIA driver here"):
        open_driver(0)
