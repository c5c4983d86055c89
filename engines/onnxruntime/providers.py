"""Which ONNX Runtime execution providers a runtime name stands for, and how sessions are made.

Knows ONNX Runtime's options; does not know models.
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from lineside.engines.errors import IncompatibleBundle

PROVIDERS: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("CPUExecutionProvider",),
    "onnxruntime-cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}
_ERRORS_ONLY = 3


def providers_for(runtime: str) -> tuple[str, ...]:
    """The execution providers of a runtime.

    Raises:
        IncompatibleBundle: this software does not know the runtime, or this machine does not have it.
    """
    if runtime not in PROVIDERS:
        raise IncompatibleBundle(
            f"the runtime {runtime!r} is not part of this software: choose auto, {' or '.join(PROVIDERS)}"
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
        IncompatibleBundle: the graph does not load.
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
    try:
        return ort.InferenceSession(str(path), options, providers=list(providers_for(runtime)))
    except IncompatibleBundle:
        raise
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise IncompatibleBundle(
            f"{path.name} does not load in ONNX Runtime {ort.__version__}: {error}"
        ) from error
