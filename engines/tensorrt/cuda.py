"""The edge on real hardware: CUDA's runtime through cuda-bindings, plans through TensorRT or TensorRT-RTX.

Nothing here decides anything. Never run by us yet: no GPU was at hand; `pytest tests/engines/contract` on a
machine with one runs it whole (docs/tensorrt.md). Written after the libraries' own documentation.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.engines.errors import EngineError, IncompatibleBundle, NotEnoughMemory, RuntimeMissing
from lineside.engines.tensorrt.device import Address, PlanTensor, Range
from lineside.engines.tensorrt.library import Library

# TensorRT's names of types → (as NumPy or ml_dtypes say them, bits).
_TYPES = {
    "FLOAT": ("float32", 32),
    "HALF": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "INT8": ("int8", 8),
    "UINT8": ("uint8", 8),
    "INT32": ("int32", 32),
    "INT64": ("int64", 64),
    "BOOL": ("bool", 8),
    "FP8": ("float8e4m3", 8),
    "INT4": ("int4", 4),
    "FP4": ("float4e2m1", 4),
}


class DeviceFault(EngineError):
    """The device or its driver failed; what was loaded on it is lost. The engine must be opened anew."""


def chip() -> tuple[str, int]:
    """The first device's name and chip (compute capability × 10).

    Raises:
        RuntimeMissing: there is none, or nothing that could use it.
    """
    cuda = _cuda()
    error, count = cuda.cudaGetDeviceCount()
    if int(error) or not count:
        name = cuda.cudaGetErrorName(error)[1].decode() if int(error) else "none is there"
        raise RuntimeMissing(
            f"no NVIDIA GPU can be used ({name}): choose the runtime onnxruntime, or see to the driver "
            "(`lineside doctor`)"
        )
    properties = _checked(cuda, cuda.cudaGetDeviceProperties(0))
    return bytes(properties.name).split(b"\0")[0].decode(), properties.major * 10 + properties.minor


def _cuda() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise RuntimeMissing(
            "cuda-bindings is not installed: install the extra lineside[tensorrt], or choose onnxruntime"
        ) from error


def _checked(cuda: Any, answer: tuple[Any, ...]) -> Any:
    """What a call gave besides its error code."""
    error, *rest = answer
    if int(error):
        name = cuda.cudaGetErrorName(error)[1].decode()
        words = cuda.cudaGetErrorString(error)[1].decode()
        if error == cuda.cudaError_t.cudaErrorMemoryAllocation:
            raise NotEnoughMemory(f"the GPU has not enough memory ({name}): take a smaller context or engine")
        raise DeviceFault(
            f"the GPU failed: {words} ({name}). Open the engine anew; if it comes again, restart"
        )
    return rest[0] if rest else None


class _Staging:
    def __init__(self, cuda: Any, size: int) -> None:
        self._cuda = cuda
        self._pointer = int(_checked(cuda, cuda.cudaHostAlloc(size, cuda.cudaHostAllocDefault)))
        raw = (ctypes.c_uint8 * size).from_address(self._pointer)
        self.bytes: NDArray[np.uint8] = np.ctypeslib.as_array(raw)

    def free(self) -> None:
        if self._pointer:
            _checked(self._cuda, self._cuda.cudaFreeHost(self._pointer))
            self._pointer = 0


class _Graph:
    def __init__(self, cuda: Any, stream: Any, graph: Any) -> None:
        self._cuda = cuda
        self._stream = stream
        self._ready: Any = _checked(cuda, cuda.cudaGraphInstantiate(graph, 0))
        _checked(cuda, cuda.cudaGraphDestroy(graph))

    def launch(self) -> None:
        _checked(self._cuda, self._cuda.cudaGraphLaunch(self._ready, self._stream))

    def free(self) -> None:
        if self._ready is not None:
            _checked(self._cuda, self._cuda.cudaGraphExecDestroy(self._ready))
            self._ready = None


class _Captured:
    _graph: _Graph | None = None

    @property
    def graph(self) -> _Graph:
        if self._graph is None:
            raise DeviceFault("the capture did not end well")
        return self._graph


class _Execution:
    def __init__(self, plan: _Plan, profile: int, scratch: Address) -> None:
        trt = plan.library.trt
        self._stream = int(plan.stream)
        self._context: Any = plan.engine.create_execution_context(
            trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        if self._context is None:
            raise NotEnoughMemory("TensorRT made no execution context: the GPU has too little memory")
        if plan.scratch_bytes:
            self._context.set_device_memory(scratch, plan.scratch_bytes)
        if not self._context.set_optimization_profile_async(profile, self._stream):
            raise IncompatibleBundle(f"the plan has no profile {profile}: compile the engine again")

    def shape(self, name: str, shape: Sequence[int]) -> None:
        if not self._context.set_input_shape(name, tuple(shape)):
            raise IncompatibleBundle(
                f"the plan does not take {name} as {tuple(shape)}: compile the engine again"
            )

    def bind(self, name: str, address: Address) -> None:
        if not self._context.set_tensor_address(name, address):
            raise IncompatibleBundle(f"the plan does not take {name} where it lies: compile the engine again")

    def enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise DeviceFault("TensorRT did not take a run: its log on stderr says why")

    def free(self) -> None:
        self._context = None


class _Plan:
    def __init__(self, library: Library, stream: Any, engine: Any) -> None:
        self.library = library
        self.stream = stream
        self.engine = engine
        names = [engine.get_tensor_name(at) for at in range(engine.num_io_tensors)]
        self.tensors: Mapping[str, PlanTensor] = {name: self._tensor(name) for name in names}
        inputs = [name for name, tensor in self.tensors.items() if tensor.is_input]
        self.profiles: Sequence[Mapping[str, Range]] = [
            {name: self._range(name, profile) for name in inputs}
            for profile in range(max(engine.num_optimization_profiles, 1))
        ]
        self.scratch_bytes = int(engine.device_memory_size_v2)

    def execution(self, profile: int, scratch: Address) -> _Execution:
        return _Execution(self, profile, scratch)

    def free(self) -> None:
        self.engine = None

    def _tensor(self, name: str) -> PlanTensor:
        trt, engine = self.library.trt, self.engine
        kind = engine.get_tensor_dtype(name).name
        if kind not in _TYPES:
            raise IncompatibleBundle(
                f"the plan's {name} is of the type {kind}, which this software does not know"
            )
        dtype, bits = _TYPES[kind]
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        return PlanTensor(name, dtype, bits, tuple(engine.get_tensor_shape(name)), is_input)

    def _range(self, name: str, profile: int) -> Range:
        shape = self.tensors[name].shape
        if -1 not in shape:
            return Range(shape, shape)
        least, _, most = self.engine.get_tensor_profile_shape(name, profile)
        return Range(tuple(least), tuple(most))


class CudaDevice:
    """The first GPU that CUDA shows (`Device`), with one stream."""

    def __init__(self, library: Library) -> None:
        """
        Raises:
            RuntimeMissing: there is no GPU.
        """
        self.name, self.sm = chip()
        self._cuda = _cuda()
        self._library = library
        _checked(self._cuda, self._cuda.cudaSetDevice(0))
        self._stream: Any = _checked(
            self._cuda, self._cuda.cudaStreamCreateWithFlags(self._cuda.cudaStreamNonBlocking)
        )
        self._runtime: Any = library.trt.Runtime(library.trt.Logger(library.trt.Logger.WARNING))

    def free_bytes(self) -> int:
        """Memory that can still be allocated."""
        error, free, _ = self._cuda.cudaMemGetInfo()
        _checked(self._cuda, (error,))
        return int(free)

    def allocate(self, size: int) -> Address:
        """Memory with no particular content."""
        return int(_checked(self._cuda, self._cuda.cudaMalloc(size)))

    def free(self, address: Address) -> None:
        """Gives memory back."""
        _checked(self._cuda, self._cuda.cudaFree(address))

    def staging(self, size: int) -> _Staging:
        """Page-locked host memory."""
        return _Staging(self._cuda, size)

    def upload(self, target: Address, source: NDArray[Any]) -> None:
        """Queues a copy to the device."""
        self._copy(target, source.ctypes.data, source.nbytes, "cudaMemcpyHostToDevice")

    def download(self, target: NDArray[Any], source: Address) -> None:
        """Queues a copy from the device."""
        self._copy(target.ctypes.data, source, target.nbytes, "cudaMemcpyDeviceToHost")

    def copy(self, target: Address, source: Address, size: int) -> None:
        """Queues a copy within the device."""
        self._copy(target, source, size, "cudaMemcpyDeviceToDevice")

    def copy_rows(
        self, target: Address, target_pitch: int, source: Address, source_pitch: int, width: int, rows: int
    ) -> None:
        """Queues a copy of pieces that lie a pitch apart."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        done = self._cuda.cudaMemcpy2DAsync(
            target, target_pitch, source, source_pitch, width, rows, kind, self._stream
        )
        _checked(self._cuda, done)

    def clear(self, target: Address, size: int) -> None:
        """Queues filling with zeros."""
        _checked(self._cuda, self._cuda.cudaMemsetAsync(target, 0, size, self._stream))

    def synchronise(self) -> None:
        """Waits until all queued work is done."""
        _checked(self._cuda, self._cuda.cudaStreamSynchronize(self._stream))

    @contextmanager
    def capture(self) -> Iterator[_Captured]:
        """Writes work down instead of doing it."""
        cuda = self._cuda
        # Thread-local: other threads of this process may call CUDA meanwhile, this one's mistakes are found.
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _checked(cuda, cuda.cudaStreamBeginCapture(self._stream, mode))
        captured = _Captured()
        try:
            yield captured
        except BaseException:
            cuda.cudaStreamEndCapture(self._stream)
            raise
        captured._graph = _Graph(cuda, self._stream, _checked(cuda, cuda.cudaStreamEndCapture(self._stream)))

    def load(self, plan: bytes) -> _Plan:
        """
        Raises:
            IncompatibleBundle: made by another version or for another chip.
        """
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise IncompatibleBundle(
                f"{self._library.runtime} {self._library.version} on {self.name} does not take the plan "
                "(its log on stderr says why): compile the engine here with `lineside engine compile`"
            )
        return _Plan(self._library, self._stream, engine)

    def close(self) -> None:
        """Ends all use of the device."""
        if self._stream is not None:
            self._runtime = None
            _checked(self._cuda, self._cuda.cudaStreamDestroy(self._stream))
            self._stream = None

    def _copy(self, target: int, source: int, size: int, kind: str) -> None:
        way = getattr(self._cuda.cudaMemcpyKind, kind)
        _checked(self._cuda, self._cuda.cudaMemcpyAsync(target, source, size, way, self._stream))
