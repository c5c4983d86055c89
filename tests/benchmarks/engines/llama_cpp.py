"""llama.cpp without a server: C functions in the `xllamacpp` wheel's library, called as `llama-bench` does.

Only what a benchmark of prompt and generation speed needs. Parameter structures are passed as llama.cpp
itself fills them in; the one number that is changed is found by its neighbours' default values, and a wheel
in which they are not where they are expected is refused.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import xllamacpp

_OPAQUE = 1024


class _ByValue(ctypes.Structure):
    """A structure of unknown layout, larger than any of llama.cpp's: passed in memory, read up to its end."""

    _fields_ = (("words", ctypes.c_int32 * (_OPAQUE // 4)),)


def instruction_set() -> str:
    """What the wheel was compiled for."""
    return str(xllamacpp.get_system_info()).strip()


def _library() -> Any:
    library = ctypes.CDLL(str(next(Path(xllamacpp.__file__).parent.glob("xllamacpp*.so"))))
    library.llama_model_default_params.restype = _ByValue
    library.llama_context_default_params.restype = _ByValue
    library.llama_batch_get_one.restype = _ByValue
    library.llama_batch_get_one.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    library.llama_model_load_from_file.restype = ctypes.c_void_p
    library.llama_model_load_from_file.argtypes = [ctypes.c_char_p, _ByValue]
    library.llama_init_from_model.restype = ctypes.c_void_p
    library.llama_init_from_model.argtypes = [ctypes.c_void_p, _ByValue]
    library.llama_decode.argtypes = [ctypes.c_void_p, _ByValue]
    library.llama_synchronize.argtypes = [ctypes.c_void_p]
    library.llama_set_n_threads.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32]
    library.llama_get_memory.restype = ctypes.c_void_p
    library.llama_get_memory.argtypes = [ctypes.c_void_p]
    library.llama_memory_clear.argtypes = [ctypes.c_void_p, ctypes.c_bool]
    library.llama_get_logits_ith.restype = ctypes.POINTER(ctypes.c_float)
    library.llama_get_logits_ith.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    for name in ("llama_state_seq_get_size", "llama_state_seq_get_data", "llama_state_seq_set_data"):
        getattr(library, name).restype = ctypes.c_size_t
    library.llama_state_seq_get_size.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    moved = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int32]
    library.llama_state_seq_get_data.argtypes = moved
    library.llama_state_seq_set_data.argtypes = moved
    library.llama_free.argtypes = [ctypes.c_void_p]
    library.llama_model_free.argtypes = [ctypes.c_void_p]
    return library


_LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


@_LOG
def _silent(_level: int, _text: bytes, _data: int) -> None:
    """llama.cpp's own lines would break the table."""


class LlamaCpp:
    """One model and one context of `context` tokens, on `threads` threads."""

    def __init__(self, path: Path, *, threads: int, context: int) -> None:
        self._library = _library()
        self._library.llama_log_set(_silent, None)
        self._library.llama_backend_init()
        self._model = self._library.llama_model_load_from_file(
            str(path).encode(), self._library.llama_model_default_params()
        )
        if not self._model:
            raise RuntimeError(f"llama.cpp does not load {path}")
        parameters = self._library.llama_context_default_params()
        # n_ctx, n_batch, n_ubatch as llama.cpp's defaults have been for years.
        if tuple(parameters.words[:3]) != (512, 2048, 512):
            raise RuntimeError(
                f"this wheel's context parameters begin with {list(parameters.words[:6])}: look again"
            )
        parameters.words[0] = context
        self._context = self._library.llama_init_from_model(self._model, parameters)
        if not self._context:
            raise RuntimeError("llama.cpp makes no context")
        self._library.llama_set_n_threads(self._context, threads, threads)

    def clear(self) -> None:
        """Forgets all tokens."""
        self._library.llama_memory_clear(self._library.llama_get_memory(self._context), True)

    def run(self, tokens: list[int]) -> None:
        """Runs tokens after those before, logits of the last one included, to their end."""
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        status = self._library.llama_decode(
            self._context, self._library.llama_batch_get_one(array, len(tokens))
        )
        if status:
            raise RuntimeError(f"llama_decode gives {status}")
        self._library.llama_synchronize(self._context)

    def save(self) -> ctypes.Array[ctypes.c_char]:
        """The whole past, to go back to."""
        size = self._library.llama_state_seq_get_size(self._context, 0)
        kept = ctypes.create_string_buffer(size)
        self._library.llama_state_seq_get_data(self._context, kept, size, 0)
        return kept

    def restore(self, kept: ctypes.Array[ctypes.c_char]) -> None:
        """Goes back to a saved past."""
        self.clear()
        if not self._library.llama_state_seq_set_data(self._context, kept, len(kept), 0):
            raise RuntimeError("llama.cpp does not take its own state back")

    def logits(self, vocabulary: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Logits [vocabulary] after the last token."""
        return np.ctypeslib.as_array(self._library.llama_get_logits_ith(self._context, -1), (vocabulary,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library.llama_free(self._context)
        self._library.llama_model_free(self._model)
