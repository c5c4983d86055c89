"""Pictures are fetched once and held within bounds."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lineside.dashboard.devices.cache import PictureCache
from lineside.dashboard.devices.values import Picture


def picture(size: int) -> Picture:
    return Picture("image/jpeg", b"x" * size)


def test_many_askers_fetch_once() -> None:
    cache = PictureCache(most_bytes=100, most_pictures=9, keep_s=None, monotonic=lambda: 0.0)
    calls = []
    begun = threading.Event()

    def fetch() -> Picture:
        calls.append(1)
        begun.wait(0.2)
        return picture(10)

    with ThreadPoolExecutor(8) as pool:
        pictures = [f.result() for f in [pool.submit(cache.get, "a", fetch) for _ in range(8)]]
    assert len(calls) == 1
    assert len({id(p) for p in pictures}) == 1


def test_bytes_and_count_are_bounded_and_the_oldest_goes_first() -> None:
    cache = PictureCache(most_bytes=100, most_pictures=3, keep_s=None, monotonic=lambda: 0.0)
    for key in "abc":
        cache.get(key, lambda: picture(40))
    assert cache.size_bytes == 80
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: picture(1 // 0))
    cache.get("huge", lambda: picture(101))
    assert cache.size_bytes == 80


def test_a_failure_is_not_kept() -> None:
    cache = PictureCache(most_bytes=100, most_pictures=3, keep_s=None, monotonic=lambda: 0.0)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: picture(1 // 0))
    assert len(cache.get("a", lambda: picture(5)).data) == 5


def test_a_frame_is_kept_for_a_moment_only() -> None:
    now = [0.0]
    cache = PictureCache(most_bytes=100, most_pictures=3, keep_s=0.4, monotonic=lambda: now[0])
    cache.get("cam", lambda: picture(1))
    now[0] = 0.3
    assert len(cache.get("cam", lambda: picture(2)).data) == 1
    now[0] = 0.5
    assert len(cache.get("cam", lambda: picture(2)).data) == 2
