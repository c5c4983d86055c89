"""What answering needs of a runtime: a decoder that runs tokens on states it keeps, and a vision tower.

The one place where runtimes differ. States stay where the runtime keeps them (on the host or on a GPU);
answering asks for copies and gives them back without looking inside. Does not know any runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lineside.engines.pixels import Patches
from lineside.engines.prefixes import Cuttable, Sized

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class States(Protocol):
    """The past of `rows` sequences with room for `capacity` tokens each. Starts as the empty past.

    What is copied out may be put back into any states of the same decoder.
    """

    @property
    def rows(self) -> int: ...

    @property
    def capacity(self) -> int: ...

    def begin(self) -> None:
        """Goes back to the empty past. Caches keep old values, which `past_length` hides."""
        ...

    def repeat(self, source: Any, length: int) -> None:
        """Makes every row the single row of `source`, of which the first `length` tokens count."""
        ...

    def copy_caches(self, start: int, end: int) -> Cuttable:
        """What tokens `start` to `end` of a single sequence left in the caches."""
        ...

    def copy_fixed(self) -> Sized:
        """The states of a single sequence that do not grow, as they are now."""
        ...

    def put_caches(self, run: Any, start: int) -> None:
        """Puts a run of tokens back, the first of them as token `start`."""
        ...

    def put_fixed(self, copy: Any) -> None:
        """Puts the states that do not grow back."""
        ...


class Call(Protocol):
    """One shape of call: so many new tokens in each row of its states. Fill the arrays, then `run`.

    `ids`, `image_index`: [rows, tokens]; `cos`, `sin`: [rows, tokens, rotary_half]; `past_length`: [rows].
    """

    ids: Integers
    image_index: Integers
    cos: Floats
    sin: Floats
    past_length: Integers

    def run(self) -> Floats:
        """Runs the tokens; gives logits [rows, reads, vocabulary], valid until the next run of any call.

        The states are afterwards those after the tokens.
        """
        ...


class Decoder(Protocol):
    """A decoder's graph, loaded.

    `rotary_half`: half of the values of a head that turn; `most_rows`, `most_tokens`: that a call takes.
    """

    @property
    def hidden(self) -> int: ...

    @property
    def vocabulary(self) -> int: ...

    @property
    def rotary_half(self) -> int: ...

    @property
    def most_rows(self) -> int: ...

    @property
    def most_tokens(self) -> int: ...

    def row_bytes(self, tokens: int) -> int:
        """What one more row of states costs, with room for so many tokens."""
        ...

    def states(self, rows: int, capacity: int) -> States:
        """New states, empty. They may have more capacity than was asked for, never less."""
        ...

    def call(self, states: Any, tokens: int, reads: int, image_embeds: Floats | None = None) -> Call:
        """A call on these states: logits at `reads` places, the last token's where nothing else is said.

        `image_embeds`: [N, hidden], read whenever the call runs; None for tokens without pictures.
        """
        ...


class Vision(Protocol):
    """A vision tower, loaded."""

    def run(self, picture: Patches, embeds: Floats) -> None:
        """Fills `embeds` [tokens, hidden] with the embeddings of one picture or clip.

        Each by itself, so that a picture's embeddings do not depend, in their last bit, on its neighbours.
        """
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a runtime made of a bundle. `close`: ends it. `device_bytes`: of a device's own memory, or 0.

    `threads`: cores of this machine that a call takes; 0: all, or none to speak of.
    """

    decoder: Decoder
    vision: Vision | None
    close: Callable[[], None]
    device_bytes: int = 0
    threads: int = 0
