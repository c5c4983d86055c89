"""What the session does with a device: graphs, swapped states, memory. Answers are the contract's matter."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from runtime_choices import ANY, CONTEXT, PREFILL, STEP, standin_runtime
from standin_device import StandinDevice, plan_text

from lineside.engines.base import Choice, Free, Prompt, Text
from lineside.engines.bundle import open_bundle
from lineside.engines.errors import IncompatibleBundle, NotEnoughMemory
from lineside.engines.open import assemble
from lineside.engines.tensorrt.blocks import SHELF_BYTES, Blocks
from lineside.engines.tensorrt.calls import CAPTURE_AFTER, MOST_GRAPHS
from lineside.engines.tensorrt.decoder import DeviceDecoder
from lineside.engines.tensorrt.session import PlanFiles, load
from lineside.engines.tensorrt.states import CacheRun

CAP = Prompt("Is the cap on straight and undamaged?")
CODE = Text("[A-Z]{4}[0-9]{4}")


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (32, 40, 3), dtype=np.uint8)


@pytest.fixture
def device() -> StandinDevice:
    return StandinDevice()


@pytest.fixture
def decoder(bundle: Path, tmp_path: Path, device: StandinDevice) -> DeviceDecoder:
    """A decoder of a plan for any shape."""
    opened = open_bundle(bundle, tmp_path)
    assert opened.manifest.onnx is not None
    text = plan_text(opened.path(opened.manifest.onnx.decoder), ANY)
    loaded = load(device, PlanFiles((lambda: text,)), None)
    assert isinstance(loaded.decoder, DeviceDecoder)
    return loaded.decoder


def test_decoding_is_captured_after_a_few_runs_of_each_turn(
    bundle: Path, tmp_path: Path, device: StandinDevice
) -> None:
    verified = open_bundle(bundle, tmp_path)
    with assemble(verified, standin_runtime(device, tmp_path / "plans", tight=True)) as session:
        session.answer([picture(1)], CAP, Text("[A-Z]{1}"))
        assert device.graphs == []
        session.answer([picture(1)], CAP, CODE)
        session.answer([picture(1)], CAP, CODE)
        # Two graphs a shape of call: one for each set of states.
        assert len(device.graphs) >= 2
        before = sum(graph.launches for graph in device.graphs)
        runs = [plan.runs for plan in device.plans]
        answer = session.answer([picture(1)], CAP, CODE)
        launches = sum(graph.launches for graph in device.graphs) - before
        done = sum(plan.runs for plan in device.plans) - sum(runs)
        assert len(answer.decisions) == 8
        assert launches >= done - 2  # all but reading the prompt
    assert len(device.graphs) <= MOST_GRAPHS


def test_a_plan_for_one_token_decodes_and_the_other_reads(
    bundle: Path, tmp_path: Path, device: StandinDevice
) -> None:
    verified = open_bundle(bundle, tmp_path)
    with assemble(verified, standin_runtime(device, tmp_path / "plans", tight=True)) as session:
        session.answer([picture(1)], CAP, Free(cut=True), max_tokens=10)
        prefill, step = device.plans[0], device.plans[1]
        assert step.runs >= 9
        assert 1 <= prefill.runs < 9


@pytest.mark.parametrize("tight", [False, True])
def test_closing_gives_all_memory_back(
    bundle: Path, tmp_path: Path, device: StandinDevice, tight: bool
) -> None:
    verified = open_bundle(bundle, tmp_path)
    session = assemble(verified, standin_runtime(device, tmp_path / "plans", tight=tight))
    for seed in range(3):
        session.answer([picture(seed)], CAP, CODE)
    assert session.info.memory_bytes > 0
    session.close()
    assert device.memory == {}
    assert device.stagings == []
    assert device.is_closed
    assert all(one.is_free for one in [*device.plans, *device.executions, *device.graphs])


def test_memory_does_not_grow_with_questions(bundle: Path, tmp_path: Path, device: StandinDevice) -> None:
    verified = open_bundle(bundle, tmp_path)
    runtime = standin_runtime(device, tmp_path / "plans", tight=True)
    with assemble(verified, runtime, snapshot_bytes=200_000) as session:

        def ask() -> int:
            for seed in range(4):
                session.answer([picture(seed)], Prompt(f"Look at part {seed}."), CODE)
                session.answer([picture(seed)], CAP, Choice(("a b", "a c", "d")))
            gc.collect()
            return sum(block.size for block in device.memory.values())

        first = [ask(), ask()][1]
        # What is on the shelf may not fit what is wanted next; but it is not more with every question.
        last = [ask() for _ in range(3)][-1]
        assert last - first < first / 100


def test_too_little_memory_is_said_and_all_of_it_is_given_back(bundle: Path, tmp_path: Path) -> None:
    device = StandinDevice(memory_bytes=500_000)
    verified = open_bundle(bundle, tmp_path)
    with pytest.raises(NotEnoughMemory):
        assemble(verified, standin_runtime(device, tmp_path / "plans", tight=True))
    assert device.memory == {}
    assert device.is_closed


def test_a_context_beyond_the_plans_is_refused(bundle: Path, tmp_path: Path, device: StandinDevice) -> None:
    opened = open_bundle(bundle, tmp_path)
    assert opened.manifest.onnx is not None
    text = plan_text(opened.path(opened.manifest.onnx.decoder), STEP, PREFILL | {"S": (64, 64)})
    with pytest.raises(IncompatibleBundle):
        load(device, PlanFiles((lambda: text,)), None).decoder.states(1, CONTEXT + 1)


def test_weights_that_are_missing_or_of_another_size_are_refused(
    bundle: Path, tmp_path: Path, device: StandinDevice
) -> None:
    from standin_device import with_weights_outside

    opened = open_bundle(bundle, tmp_path)
    assert opened.manifest.onnx is not None
    outside = with_weights_outside(opened.path(opened.manifest.onnx.decoder), tmp_path / "fed.onnx", 4000)
    text = plan_text(tmp_path / "fed.onnx", ANY)
    with pytest.raises(IncompatibleBundle, match="no weights lie beside"):
        load(StandinDevice(), PlanFiles((lambda: text,)), None)
    short = PlanFiles((lambda: text,), weight=lambda part, name: [outside[name].reshape(-1)[1:]])
    with pytest.raises(IncompatibleBundle, match="is not the"):
        load(StandinDevice(), short, None)
    whole = PlanFiles((lambda: text,), weight=lambda part, name: [outside[name]])
    assert load(device, whole, None).device_bytes > sum(one.nbytes for one in outside.values())


def test_states_swap_and_copies_stay_what_they_were(decoder: DeviceDecoder, device: StandinDevice) -> None:
    states = decoder.states(1, 40)
    call = decoder.call(states, 1, 1)
    logits = []
    for token in range(6):
        call.ids[:] = token
        call.cos[:] = 1
        call.past_length[:] = token
        assert states.turn == token % 2
        if token == 3:
            kept = states.copy_fixed(), states.copy_caches(0, 3)
        logits.append(call.run().copy())
    states.begin()
    states.put_fixed(kept[0])
    states.put_caches(kept[1], 0)
    for token in range(3, 6):
        call.ids[:] = token
        call.past_length[:] = token
        assert np.array_equal(call.run(), logits[token])


def test_a_run_of_tokens_is_cut_and_put_together_again(decoder: DeviceDecoder, device: StandinDevice) -> None:
    states = decoder.states(1, 40)
    call = decoder.call(states, 12, 1)
    call.ids[:] = np.arange(12)
    call.cos[:] = 1
    call.run()
    whole = states.copy_caches(2, 11)
    head, tail = whole.split(4)
    again = states.copy_caches(2, 11)
    for part, start in ((head, 2), (tail, 6)):
        states.put_caches(part, start)
    assert isinstance(whole, CacheRun)
    put = states.copy_caches(2, 11)
    device.synchronise()
    size = whole.layout.cache_bytes * 9
    bytes_of = [device.at(run.block.address, size).tobytes() for run in (whole, again, put)]
    assert bytes_of[0] == bytes_of[1] == bytes_of[2]
    assert (head.tokens, tail.tokens) == (4, 5)


def test_rows_repeat_one_past(decoder: DeviceDecoder) -> None:
    states = decoder.states(1, 20)
    call = decoder.call(states, 5, 1)
    call.ids[:] = np.arange(5)
    call.cos[:] = 1
    call.run()
    rows = decoder.states(3, 24)
    rows.repeat(states, 5)
    following, one = decoder.call(rows, 1, 1), decoder.call(states, 1, 1)
    for each in (following, one):
        each.ids[:] = 7
        each.cos[:] = 1
        each.past_length[:] = 5
    expected = one.run().copy()
    for row in following.run():
        np.testing.assert_allclose(row, expected[0], atol=1e-4)


def test_blocks_are_used_again_and_given_back_beyond_the_shelf(device: StandinDevice) -> None:
    blocks = Blocks(device, shelf_bytes=1000)
    first = blocks.take(700)
    address = first.address
    del first
    assert blocks.take(700).address == address
    kept = [blocks.take(700) for _ in range(4)]
    kept.clear()
    blocks.tidy()
    assert blocks.size_bytes <= 1000
    blocks.close()
    assert device.memory == {}
    assert SHELF_BYTES > 0
    assert CAPTURE_AFTER > 0
