"""A prompt's tokens, run in pieces: whatever piece is asked for, its call is made once.

Knows calls; does not know prompts as text, snapshots or what answers mean.
"""

from __future__ import annotations

from lineside.engines.answering.runtime import Call, Decoder, Floats, Integers, States


class Prefill:
    """The tokens of a prompt and its answer's opening, to be run in pieces."""

    def __init__(
        self,
        decoder: Decoder,
        states: States,
        ids: Integers,
        image_index: Integers,
        angles: tuple[Floats, Floats],
        image_embeds: Floats | None = None,
    ) -> None:
        """`ids`, `image_index`: [T]; `angles`: cos and sin [T, rotary_half]."""
        self._decoder = decoder
        self._states = states
        self._ids = ids
        self._image_index = image_index
        self._angles = angles
        self._embeds = image_embeds
        self._calls: dict[tuple[int, int], Call] = {}

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return int(self._ids.size)

    def run(self, start: int, end: int) -> Floats:
        """Runs tokens `start` to `end` (at least one); gives logits [vocabulary] after the last of them."""
        done = start
        # A runtime may take only so many tokens a call. The cuts follow from the places alone, never from
        # what was kept: the same tokens always go in the same pieces, and so have the same last bits.
        while end - done > self._decoder.most_tokens:
            self.piece(done, done + self._decoder.most_tokens).run()
            done += self._decoder.most_tokens
        logits: Floats = self.piece(done, end).run()[0, 0]
        return logits

    def piece(self, start: int, end: int) -> Call:
        """The call over tokens `start` to `end`; its logits are those after the last of them."""
        call = self._calls.get((start, end))
        if call is None:
            call = self._calls.setdefault((start, end), self._make(start, end))
        return call

    def _make(self, start: int, end: int) -> Call:
        # One row of logits costs little even where nobody reads it; graphs differ in what they make of none.
        has_picture = bool((self._image_index[start:end] >= 0).any())
        call = self._decoder.call(self._states, end - start, 1, self._embeds if has_picture else None)
        call.ids[0] = self._ids[start:end]
        call.image_index[0] = self._image_index[start:end]
        call.cos[0], call.sin[0] = (angle[start:end] for angle in self._angles)
        call.past_length[:] = start
        return call
