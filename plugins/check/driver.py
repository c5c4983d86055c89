"""A real GPU, through CUDA's driver API (the package `cuda-bindings`): needs no toolkit and no TensorRT."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.check.device import Call, DeviceFacts, DeviceFault, Loaded, NoDevice
from lineside.plugins.ptx.compile import Compiled


def open_driver(ordinal: int) -> Driver:
    """The GPU with this number. Raises NoDevice with what is missing."""
    try:
        driver = importlib.import_module("cuda.bindings.driver")
    except ImportError as missing:
        raise NoDevice(
            "the package that speaks to the driver is not installed: pip install 'lineside[kernels]'"
        ) from missing
    try:
        status = driver.cuInit(0)[0]
    except RuntimeError as missing:
        raise NoDevice("no NVIDIA driver here (libcuda is not found)") from missing
    if status != driver.CUresult.CUDA_SUCCESS:
        raise NoDevice(f"the NVIDIA driver does not start: {_named(driver, status)}")
    there = _result(driver, driver.cuDeviceGetCount())
    if not 0 <= ordinal < there:
        raise NoDevice(f"there is no GPU {ordinal}: the driver sees {there}")
    return Driver(driver, ordinal)


class Driver:
    """`Device` of a real GPU: its primary context, one stream."""

    def __init__(self, driver: Any, ordinal: int) -> None:
        self._driver = driver
        self._device = self._call("cuDeviceGet", ordinal)
        self.facts = self._facts()
        self._call("cuCtxSetCurrent", self._call("cuDevicePrimaryCtxRetain", self._device))
        self._stream = self._call("cuStreamCreate", driver.CUstream_flags.CU_STREAM_NON_BLOCKING)

    def load(self, compiled: Compiled) -> Loaded:
        """Compiles PTX for this very device."""
        module = self._call("cuModuleLoadData", compiled.ptx.encode() + b"\0")
        function = self._call("cuModuleGetFunction", module, compiled.kernel.name.encode())
        attributes = self._driver.CUfunction_attribute

        def spent(what: Any) -> int:
            return int(self._call("cuFuncGetAttribute", what, function))

        return Loaded(
            compiled=compiled,
            handle=function,
            registers=spent(attributes.CU_FUNC_ATTRIBUTE_NUM_REGS),
            local=spent(attributes.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES),
            shared=spent(attributes.CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES),
        )

    def allocate(self, size: int) -> int:
        """The address of `size` bytes."""
        return int(self._call("cuMemAlloc", max(size, 1)))

    def free(self, address: int) -> None:
        """Gives an allocation back."""
        self._call("cuMemFree", address)

    def available(self) -> int:
        """Bytes that may still be allocated."""
        return int(self._call("cuMemGetInfo")[0])

    def write(self, address: int, content: NDArray[np.uint8]) -> None:
        """Copies bytes to the device."""
        if content.size:
            self._call("cuMemcpyHtoD", address, content.ctypes.data, content.size)

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        """Copies bytes from the device."""
        content = np.empty(size, np.uint8)
        if size:
            self._call("cuMemcpyDtoH", content.ctypes.data, address, size)
        return content

    def fill(self, address: int, byte: int, size: int) -> None:
        """Sets `size` bytes; they are set when a launch or a copy after this sees them."""
        if size:
            self._call("cuMemsetD8", address, byte, size)
            # The default stream and ours do not wait for each other.
            self._call("cuCtxSynchronize")

    def run(self, call: Call) -> None:
        """One launch, and waits for its end."""
        self._launch(call)
        self._call("cuStreamSynchronize", self._stream)

    def time(self, calls: Sequence[Call], repeats: int) -> list[float]:
        """Seconds of each pass over `calls`, captured as a graph: else Python would be timed."""

        def all_calls() -> None:
            for call in calls:
                self._launch(call)

        return self._timed(all_calls, repeats)

    def time_copy(self, size: int, repeats: int) -> list[float]:
        """Seconds of each copy of `size` bytes within the device's memory."""
        source, target = self.allocate(size), self.allocate(size)
        self.fill(source, 1, size)
        times = self._timed(
            lambda: self._call("cuMemcpyDtoDAsync", target, source, size, self._stream), repeats
        )
        self.free(source)
        self.free(target)
        return times

    def close(self) -> None:
        """Gives the context back, with all that is allocated in it, even after a fault."""
        self._driver.cuDevicePrimaryCtxReset(self._device)
        self._driver.cuDevicePrimaryCtxRelease(self._device)

    def _launch(self, call: Call) -> None:
        values: list[Any] = [ctypes.c_void_p(address) for address in call.inputs]
        values += [ctypes.c_int32(int(number)) for number in call.launch.scalars]
        values += [ctypes.c_void_p(address) for address in call.outputs]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        self._call(
            "cuLaunchKernel",
            call.loaded.handle,
            *(int(blocks) for blocks in call.launch.grid),
            *call.launch.block,
            int(call.launch.shared_bytes),
            self._stream,
            ctypes.addressof(pointers),
            0,
        )

    def _timed(self, work: Callable[[], None], repeats: int) -> list[float]:
        self._call(
            "cuStreamBeginCapture",
            self._stream,
            self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL,
        )
        work()
        graph = self._call("cuGraphInstantiate", self._call("cuStreamEndCapture", self._stream), 0)
        begin, end = (self._call("cuEventCreate", 0) for _ in range(2))
        seconds = []
        for _ in range(repeats + 1):
            self._call("cuEventRecord", begin, self._stream)
            self._call("cuGraphLaunch", graph, self._stream)
            self._call("cuEventRecord", end, self._stream)
            self._call("cuEventSynchronize", end)
            seconds.append(float(self._call("cuEventElapsedTime", begin, end)) / 1e3)
        self._call("cuGraphExecDestroy", graph)
        return seconds[1:]

    def _facts(self) -> DeviceFacts:
        names = self._driver.CUdevice_attribute

        def attribute(name: str) -> int:
            return int(
                self._call(
                    "cuDeviceGetAttribute", getattr(names, f"CU_DEVICE_ATTRIBUTE_{name}"), self._device
                )
            )

        cuda = int(self._call("cuDriverGetVersion"))
        # Kilohertz, twice a clock, and bits: what a data sheet's bandwidth is made of.
        stated = 2e3 * attribute("MEMORY_CLOCK_RATE") * attribute("GLOBAL_MEMORY_BUS_WIDTH") / 8
        return DeviceFacts(
            name=self._call("cuDeviceGetName", 256, self._device).rstrip(b"\0").decode(),
            capability=(attribute("COMPUTE_CAPABILITY_MAJOR"), attribute("COMPUTE_CAPABILITY_MINOR")),
            cuda=(cuda // 1000, cuda % 1000 // 10),
            multiprocessors=attribute("MULTIPROCESSOR_COUNT"),
            memory=int(self._call("cuDeviceTotalMem", self._device)),
            cache=attribute("L2_CACHE_SIZE"),
            stated_bytes_s=stated or None,
        )

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            return _result(self._driver, getattr(self._driver, name)(*arguments))
        except DeviceFault as fault:
            raise DeviceFault(f"{name}: {fault}") from None


def _result(driver: Any, returned: tuple[Any, ...]) -> Any:
    """What a driver's function gave besides its status: nothing, one value, or several."""
    status, *values = returned
    if status != driver.CUresult.CUDA_SUCCESS:
        raise DeviceFault(_named(driver, status))
    return values[0] if len(values) == 1 else tuple(values) or None


def _named(driver: Any, status: Any) -> str:
    texts = (ask(status)[1] for ask in (driver.cuGetErrorName, driver.cuGetErrorString))
    name, meaning = (text.decode() if text else str(status) for text in texts)
    return f"{name} ({meaning})"
