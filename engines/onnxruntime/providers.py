"""Which ONNX Runtime execution providers a runtime name stands for, and how sessions are made.

The CPU's and CUDA's are compiled into ONNX Runtime; TensorRT-RTX's is a library of its own, registered once a
process. Knows ONNX Runtime's options; does not know models.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime as ort

from lineside.engines.errors import IncompatibleBundle

CPU, CUDA, RTX = "onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt-rtx"
PROVIDERS: dict[str, tuple[str, ...]] = {
    CPU: ("CPUExecutionProvider",),
    CUDA: ("CUDAExecutionProvider", "CPUExecutionProvider"),
}
RUNTIMES = (CPU, CUDA, RTX)
_RTX_MODULE = "onnxruntime_ep_nv_tensorrt_rtx"
_ERRORS_ONLY = 3


def providers_for(runtime: str) -> tuple[str, ...]:
    """The compiled-in execution providers of a runtime.

    Raises:
        IncompatibleBundle: this software does not know the runtime, or this machine does not have it.
    """
    if runtime not in PROVIDERS:
        raise IncompatibleBundle(
            f"the runtime {runtime!r} is not part of this software: choose auto, {' or '.join(RUNTIMES)}"
        )
    wanted = PROVIDERS[runtime]
    missing = [name for name in wanted if name not in ort.get_available_providers()]
    if missing:
        raise IncompatibleBundle(
            f"the runtime {runtime!r} needs {missing[0]}, which the installed onnxruntime does not have: "
            "install the extra lineside[cuda], or choose onnxruntime"
        )
    return wanted


def open_session(path: Path, runtime: str, threads: int | None) -> ort.InferenceSession:
    """Loads a graph. `threads`: how many a call may use; None leaves it to ONNX Runtime (all cores).

    Raises:
        IncompatibleBundle: the graph does not load, or the runtime is not to be had.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.inter_op_num_threads = 1
    if threads is not None:
        options.intra_op_num_threads = threads
    # Idle threads sleep: cameras, storage and publishing share the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Prompts differ in length: patterns planned for one length would be kept for every one seen.
    options.enable_mem_pattern = False
    given: dict[str, Any] = {}
    if runtime == RTX:
        options.add_provider_for_devices(rtx_devices(), {})
    else:
        given["providers"] = list(providers_for(runtime))
    try:
        session = ort.InferenceSession(str(path), options, **given)
    except IncompatibleBundle:
        raise
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise IncompatibleBundle(
            f"{path.name} does not load in ONNX Runtime {ort.__version__}: {error}"
        ) from error
    # ONNX Runtime falls back to the processor in silence where a provider's libraries or driver are missing.
    if runtime == CUDA and PROVIDERS[CUDA][0] not in session.get_providers():
        raise IncompatibleBundle(
            "ONNX Runtime has CUDA compiled in, and it does not start: see to the driver and to CUDA's and "
            "cuDNN's libraries (`lineside doctor`), or choose onnxruntime"
        )
    return session


@cache
def rtx_devices() -> tuple[Any, ...]:
    """The devices that TensorRT-RTX's provider offers; its library is registered on the first call.

    Raises:
        IncompatibleBundle: it is not installed, does not load, or finds no GPU.
    """
    try:
        wheel = importlib.import_module(_RTX_MODULE)
    except ImportError as error:
        raise IncompatibleBundle(
            f"the runtime {RTX!r} needs a package of its own: "
            "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13, or choose onnxruntime"
        ) from error
    name = wheel.get_ep_name()
    try:
        ort.register_execution_provider_library(name, wheel.get_library_path())
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        reason = str(error).rpartition("with error: ")[2].strip()
        raise IncompatibleBundle(
            f"the provider {name} does not load ({reason}): it needs an NVIDIA driver and an RTX card of the "
            "Ampere generation or newer. Choose onnxruntime"
        ) from error
    found = tuple(device for device in ort.get_ep_devices() if device.ep_name == name)
    if not found:
        raise IncompatibleBundle(
            f"the provider {name} finds no card that it could use: it needs an RTX card of the Ampere "
            "generation or newer. Choose onnxruntime"
        )
    return found
