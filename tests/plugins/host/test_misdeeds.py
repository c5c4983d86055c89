"""What no kernel may do is seen: each misdeed of `misdeeds.cu` by the watch that is there for it."""

from __future__ import annotations

import enum
from collections.abc import Callable

import numpy as np
import pytest

from lineside.plugins.host.build import Mode
from lineside.plugins.host.run import KernelFailed, run
from lineside.plugins.operator import Kernel, Variant

pytestmark = pytest.mark.host

Do = Callable[..., np.ndarray]


class Misdeed(enum.IntEnum):
    """As in `misdeeds.cu`."""

    NOTHING = 0
    WRITE_BEYOND_OUTPUT = 1
    WRITE_BEFORE_OUTPUT = 2
    WRITE_INPUT = 3
    READ_BEYOND_INPUT = 4
    READ_BEYOND_SHARED = 5
    READ_BEYOND_DYNAMIC_SHARED = 6
    UNALIGNED_LOAD = 7
    READ_UNSET_SHARED = 8
    LEAVE_BEFORE_BARRIER_OF_WARP = 9
    WAIT_APART = 10
    NAME_HALF_A_WARP = 11
    TRAP = 12
    FORGET_BARRIER = 13
    ORDER_BY_SHUFFLE = 14
    WRITE_FROM_TWO_BLOCKS = 15
    FORGET_SECOND_BARRIER = 16
    SHIFT_TOO_FAR = 17


X = np.arange(128, dtype=np.float32)
RIGHT = X.reshape(2, 64)[:, ::-1].reshape(-1)


@pytest.fixture
def do(kernel: Callable[..., Kernel], variant: Callable[..., Variant]) -> Do:
    """Runs the kernel with one misdeed; 128 is one beyond both tensors and twice one beyond shared memory."""

    def do(misdeed: Misdeed, mode: Mode = Mode.PLAIN, order: int = 0) -> np.ndarray:
        one = kernel(
            "misdeeds",
            {"x": ("float32", ("N",))},
            {"y": ("float32", ("N",))},
            grid=(2, 1, 1),
            block=(64, 1, 1),
            shared_bytes=256,
            scalars={"misdeed": int(misdeed), "number": 128},
        )
        return run(one, variant(), {"x": X}, mode=mode, order=order)["y"]

    return do


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_right_kernel_passes(do: Do, order: int) -> None:
    np.testing.assert_array_equal(do(Misdeed.NOTHING, order=order), RIGHT)


@pytest.mark.sanitizers
@pytest.mark.parametrize("mode", [Mode.ADDRESS, Mode.THREAD])
def test_a_right_kernel_passes_the_sanitizers(do: Do, mode: Mode) -> None:
    np.testing.assert_array_equal(do(Misdeed.NOTHING, mode), RIGHT)
    np.testing.assert_array_equal(do(Misdeed.NOTHING, mode, order=3), RIGHT)


@pytest.mark.parametrize(
    ("misdeed", "why"),
    [
        (Misdeed.WRITE_BEYOND_OUTPUT, "wrote outside y"),
        (Misdeed.WRITE_BEFORE_OUTPUT, "wrote outside y"),
        (Misdeed.WRITE_INPUT, "wrote to its input x"),
        (Misdeed.LEAVE_BEFORE_BARRIER_OF_WARP, "waits for ever in the warp operation .*: 31 of 32 came"),
        (Misdeed.WAIT_APART, "threads that must meet are apart"),
        (Misdeed.NAME_HALF_A_WARP, "only masks that name the whole warp"),
        (Misdeed.TRAP, "__trap"),
    ],
)
def test_the_plain_run_stops_it(do: Do, misdeed: Misdeed, why: str) -> None:
    with pytest.raises(KernelFailed, match=why):
        do(misdeed)
    np.testing.assert_array_equal(do(Misdeed.NOTHING), RIGHT)  # and can be used again


def test_what_was_never_written_is_not_a_number(do: Do) -> None:
    assert np.isnan(do(Misdeed.READ_UNSET_SHARED)).all()


@pytest.mark.parametrize("misdeed", [Misdeed.FORGET_BARRIER, Misdeed.FORGET_SECOND_BARRIER])
def test_a_missing_barrier_shows_in_another_order(do: Do, misdeed: Misdeed) -> None:
    wrong = [order for order in (0, 1, 2) if not np.array_equal(do(misdeed, order=order), RIGHT)]
    assert wrong


@pytest.mark.sanitizers
@pytest.mark.parametrize(
    ("misdeed", "why"),
    [
        (Misdeed.WRITE_BEYOND_OUTPUT, "heap-buffer-overflow"),
        (Misdeed.WRITE_BEFORE_OUTPUT, "heap-buffer-overflow"),
        (Misdeed.READ_BEYOND_INPUT, "heap-buffer-overflow"),
        (Misdeed.READ_BEYOND_SHARED, "global-buffer-overflow|out of bounds"),
        (Misdeed.READ_BEYOND_DYNAMIC_SHARED, "heap-buffer-overflow"),
        (Misdeed.UNALIGNED_LOAD, "misaligned address"),
        (Misdeed.SHIFT_TOO_FAR, "shift exponent 128"),
        (Misdeed.WAIT_APART, "threads that must meet are apart"),
    ],
)
def test_the_address_sanitizer_names_it(do: Do, misdeed: Misdeed, why: str) -> None:
    with pytest.raises(KernelFailed, match=why):
        do(misdeed, Mode.ADDRESS)


@pytest.mark.sanitizers
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(
    "misdeed",
    [
        Misdeed.FORGET_BARRIER,
        Misdeed.ORDER_BY_SHUFFLE,
        Misdeed.WRITE_FROM_TWO_BLOCKS,
        Misdeed.FORGET_SECOND_BARRIER,
    ],
)
def test_the_thread_sanitizer_reports_a_race(do: Do, misdeed: Misdeed, order: int) -> None:
    with pytest.raises(KernelFailed, match=r"data race[\s\S]*misdeeds\.cu"):
        do(misdeed, Mode.THREAD, order)
