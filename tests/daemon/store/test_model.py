"""Any order of calls, closings and power cuts gives what a plain model of the promises gives."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from store_samples import GENEROUS_S, Samples, TestClock, picture

from lineside.daemon.store import Store
from lineside.daemon.values import Intake, ReasonCode, Result, Verdict

CONSUMERS = st.sampled_from(["mqtt", "sparkplug"])

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class StoreMachine(RuleBasedStateMachine):
    """The model: open intakes, results in order, and what each consumer acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        # In memory where there is room: copied images need no disk.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.root = Path(tempfile.mkdtemp(prefix="lineside-store-", dir=memory))
        self.images = 0
        self.clock = TestClock()
        self.samples = Samples(self.clock)
        self.open: dict[str, Intake] = {}
        self.results: list[Result] = []
        self.acknowledged: dict[str, set[int]] = {"mqtt": set(), "sparkplug": set()}

    @initialize()
    def begin(self) -> None:
        self.store = self.opened(self.root / "0")

    def opened(self, folder: Path) -> Store:
        return Store.open(folder, device="box-1", clock=self.clock)

    @rule()
    def accept(self) -> None:
        intake = self.samples.intake()
        self.store.accept(intake).result(GENEROUS_S)
        self.open[intake.result_id] = intake

    @precondition(lambda self: self.open or self.results)
    @rule(data=st.data())
    def accept_again(self, data: st.DataObject) -> None:
        known = [*self.open.values(), *(result.draft.intake for result in self.results)]
        self.store.accept(data.draw(st.sampled_from(known))).result(GENEROUS_S)

    @rule(
        verdict=st.sampled_from(Verdict), pictures=st.lists(st.binary(max_size=3), max_size=2), data=st.data()
    )
    def commit(self, verdict: Verdict, pictures: list[bytes], data: st.DataObject) -> None:
        accepted = st.sampled_from(list(self.open.values())) if self.open else st.nothing()
        intake = data.draw(accepted | st.builds(self.samples.intake))
        draft = self.samples.draft(intake, verdict)
        result = self.store.commit(draft, [picture(bytes_) for bytes_ in pictures]).result(GENEROUS_S)
        self.open.pop(intake.result_id, None)
        assert result.draft == draft
        assert result.sequence == len(self.results) + 1
        assert [self.store.read_evidence(ref.evidence_id) for ref in result.evidence] == pictures
        self.results.append(result)

    @precondition(lambda self: self.results)
    @rule(data=st.data(), verdict=st.sampled_from(Verdict))
    def commit_again(self, data: st.DataObject, verdict: Verdict) -> None:
        first = data.draw(st.sampled_from(self.results))
        again = self.store.commit(self.samples.draft(first.draft.intake, verdict), [picture(b"again")])
        assert again.result(GENEROUS_S) == first

    @precondition(lambda self: self.results)
    @rule(consumer=CONSUMERS, data=st.data())
    def acknowledge(self, consumer: str, data: st.DataObject) -> None:
        sequences = data.draw(st.lists(st.integers(1, len(self.results)), max_size=4))
        self.store.acknowledge(consumer, sequences).result(GENEROUS_S)
        self.acknowledged[consumer].update(sequences)

    @rule()
    def close_and_open(self) -> None:
        self.store.close()
        self.store = self.opened(self.store._path)
        self.recovered()

    @rule()
    def power_cut(self) -> None:
        """What lies on the disk at this moment is all that is left."""
        self.images += 1
        image = self.root / str(self.images)
        shutil.copytree(self.store._path, image)
        self.store.close()
        shutil.rmtree(self.store._path)
        self.store = self.opened(image)
        self.recovered()

    def recovered(self) -> None:
        recovered = self.store.recover("boot-a")
        assert [result.draft.intake for result in recovered] == list(self.open.values())
        assert all(result.verdict is Verdict.NOT_DECIDABLE for result in recovered)
        assert all(result.draft.reasons[0].code is ReasonCode.INTERRUPTED for result in recovered)
        self.results += recovered
        self.open.clear()

    @invariant()
    def the_store_is_what_the_model_is(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.store.since(0, 10_000) == self.results
        assert self.store.last_sequence() == len(self.results)
        counts = self.store.counts()
        assert (counts.results, counts.open_intakes) == (len(self.results), len(self.open))
        for consumer, had in self.acknowledged.items():
            waiting = [result.sequence for result in self.store.pending(consumer, 10_000)]
            assert waiting == [r.sequence for r in self.results if r.sequence not in had]
            assert self.store.depth(consumer) == len(waiting)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            assert self.store.verify().ok
            self.store.close()
        shutil.rmtree(self.root)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
