"""One measurement in a process of its own: `python measure.py NAME JSON-ARGUMENTS` prints one JSON object.

A process of its own so that peak memory is that of one engine, two runtimes' threads never meet, and the
cores are the same for both. Times are in seconds, one entry a repetition; the harness takes medians.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# What an inspection is made of here: a page of fixed words, a crop of 256×256, a short question's end.
WORDS, PICTURE = 320, 64
CHOICE = ("ok", "missing", "tilted", "cracked")
GBNF = 'root ::= "{\\"answer\\":\\"" ("ok" | "missing" | "tilted" | "cracked") "\\"}"'
JUNK = range(40, 90)  # ordinary tokens of the tests' tokenizer


def timed(what: Callable[[], object]) -> float:
    """Seconds one call takes."""
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def cpu_timed(what: Callable[[], object]) -> tuple[float, float]:
    """Seconds one call takes, and seconds of processor time it uses, whatever else the machine does."""
    started, spent = time.perf_counter(), time.process_time()
    what()
    return time.perf_counter() - started, time.process_time() - spent


def peak_mib() -> float:
    """The most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tokens_of(count: int, seed: int) -> list[int]:
    """Ordinary tokens, always the same for a seed."""
    return [int(token) for token in np.random.default_rng(seed).choice(np.array(JUNK), count)]


def _set_options(options: dict[str, Any] | None) -> None:
    """Opens sessions with other options than those shipped."""
    if not options:
        return
    import onnxruntime as ort

    make = ort.InferenceSession

    def other(path: str, given: Any, **rest: Any) -> Any:
        if options.get("spin"):
            given.add_session_config_entry("session.intra_op.allow_spinning", "1")
        if options.get("denormals"):
            given.add_session_config_entry("session.set_denormal_as_zero", "1")
        given.enable_mem_pattern = bool(options.get("pattern", given.enable_mem_pattern))
        given.enable_cpu_mem_arena = bool(options.get("arena", given.enable_cpu_mem_arena))
        return make(path, given, **rest)

    ort.InferenceSession = other


def ours_speed(
    bundle: str, threads: int, prompt: int, steps: int, repeats: int, options: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Prefill of `prompt` tokens and decoding of `steps`, straight on the decoder graph: no grammar."""
    _set_options(options)
    from lineside.engines.open import Engine

    engine = Engine.open(Path(bundle), threads=threads, context_tokens=prompt + steps + 8)
    generator = engine._parts.generator  # type: ignore[union-attr]
    decoder, states, rotary = generator._decoder, generator._states, generator._rotary
    prefill = decoder.call(states, prompt, 1)
    prefill.ids[0] = tokens_of(prompt, 1)
    prefill.cos[0], prefill.sin[0] = rotary.text_angles(0, prompt)
    step = decoder.call(states, 1, 1)

    def decode() -> None:
        for at in range(prompt, prompt + steps):
            step.ids[0, 0] = 50
            step.cos[0], step.sin[0] = rotary.text_angles(at, 1)
            step.past_length[0] = at
            step.run()

    found: dict[str, Any] = {"prefill": [], "decode": []}
    for repeat in range(repeats + 1):
        states.begin()
        seconds = cpu_timed(prefill.run), cpu_timed(decode)
        if repeat:  # the first warms caches up
            found["prefill"].append(seconds[0])
            found["decode"].append(seconds[1])
    return found | {"peak_mib": peak_mib()}


def theirs_speed(gguf: str, threads: int, prompt: int, steps: int, repeats: int) -> dict[str, Any]:
    """The same through llama.cpp's C interface: llama_decode, as llama-bench calls it."""
    from llama_cpp import LlamaCpp, instruction_set

    found: dict[str, Any] = {"prefill": [], "decode": [], "instructions": instruction_set()}
    with LlamaCpp(Path(gguf), threads=threads, context=prompt + steps + 8) as model:
        words = tokens_of(prompt, 1)

        def decode() -> None:
            for _ in range(steps):
                model.run([50])

        for repeat in range(repeats + 1):
            model.clear()
            seconds = cpu_timed(lambda: model.run(words)), cpu_timed(decode)
            if repeat:
                found["prefill"].append(seconds[0])
                found["decode"].append(seconds[1])
    return found | {"peak_mib": peak_mib()}


def _instruction(tokens: int, count: Callable[[str], list[int]]) -> str:
    """Words that the tokenizer writes in about so many tokens."""
    sentence = "Is the cap on straight and undamaged? Count the tablets. Read the lot code. "
    return sentence * max(1, round(tokens / len(count(sentence))))


def ours_inspection(bundle: str, threads: int, repeats: int, **without: Any) -> dict[str, Any]:
    """Inspections as the appliance does them: the first, the next part's, and a second question on a picture.

    `without`: an idea to leave out: `snapshots`, `jump`, `vision`.
    """
    from lineside.engines.base import Choice, Prompt
    from lineside.engines.open import Engine

    engine = Engine.open(
        Path(bundle),
        threads=threads,
        context_tokens=1024,
        **({"snapshot_bytes": 0} if without.get("snapshots") else {}),
        **({"picture_bytes": 0} if without.get("vision") else {}),
    )
    if without.get("jump"):
        _step_through_forced_tokens(engine)
    parts = engine._parts
    assert parts is not None
    words = _instruction(WORDS, parts.planner._writer.encode)
    grammar = Choice(CHOICE)
    rng = np.random.default_rng(3)

    def picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
        return rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)

    assert parts.vision is not None
    see = parts.vision.run
    seeing = 0.0

    def seen(*given: Any) -> None:
        nonlocal seeing
        begun = time.process_time()
        see(*given)
        seeing += time.process_time() - begun

    parts.vision.run = seen  # type: ignore[method-assign]

    def ask(image: np.ndarray[Any, np.dtype[np.uint8]], question: str = "") -> dict[str, Any]:
        nonlocal seeing
        seeing, begun = 0.0, time.process_time()
        answer = engine.answer([image], Prompt(words, question), grammar)
        spent = time.process_time() - begun
        return (
            _seconds(answer.timings) | {"cpu": spent, "cpu_unseen": spent - seeing} | _tokens(answer.tokens)
        )

    found: dict[str, Any] = {name: [] for name in ("first", "next", "second")}
    # The first answer makes plans, arenas and packed weights; it is not what is measured.
    ask(picture(), "Ok?")
    ask(picture())
    for repeat in range(repeats):
        parts.reader.forget()
        for name in ("first", "next"):
            found[name].append(ask(picture()))
        same = picture()
        ask(same, "Is it ok?")
        found["second"].append(ask(same, f"How is it, in look {repeat % 10}?"))
    return found | {"peak_mib": peak_mib()}


def _seconds(timings: Any) -> dict[str, float]:
    return {
        name: getattr(timings, name) / 1e3 for name in ("preprocess", "vision", "prefill", "decode", "total")
    }


def _tokens(counts: Any) -> dict[str, int]:
    return {name: getattr(counts, name) for name in ("prefix", "prompt", "image", "forced", "decided")}


def _step_through_forced_tokens(engine: Any) -> None:
    """Takes jump-forward away: what the grammar forces is run one token a call, as plain decoding does."""
    reader, generator = engine._parts.reader, engine._parts.generator
    graph_step = generator._step

    def step(plan: Any, past: int, tokens: list[int]) -> Any:
        logits = None
        for at, token in enumerate(tokens):
            logits = graph_step(plan, past + at, [token])
        return logits

    def read_then_step(prefill: Any, keys: Any, cuts: Any, seen: Any) -> Any:
        start = reader.bring(prefill, keys, cuts, seen)
        here, end = cuts[-1].at if cuts else 0, int(keys.size)
        logits = prefill.piece(here, end).run()[0, 0]
        for at in range(end, prefill.tokens):
            logits = prefill.piece(at, at + 1).run()[0, 0]
        return logits, start

    generator._step = step
    reader.read = read_then_step


def theirs_inspection(
    gguf: str,
    threads: int,
    repeats: int,
    words: int,
    ending: int,
    question: int,
    checkpoint_step: int | None = None,
) -> dict[str, Any]:
    """The same number of tokens through llama.cpp's own server core, with its prompt cache and a grammar.

    The picture is plain tokens, as many as ours has: no vision pass in these times. `checkpoint_step`: how
    far apart llama.cpp may keep states to go back to; None leaves its default, more than a prompt here.
    """
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = gguf
    parameters.n_ctx = 1024
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    if checkpoint_step is not None:
        parameters.checkpoint_min_step = checkpoint_step
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)
    end = tokens_of(ending, 2)

    def ask(prompt: list[int]) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        begun = time.process_time()
        request = {
            "prompt": prompt,
            "n_predict": 24,
            "grammar": GBNF,
            "temperature": 0.0,
            "cache_prompt": True,
        }
        seconds = timed(lambda: answer.update(server.handle_completions(request)))
        times = answer["timings"]
        return {
            "total": seconds,
            "cpu": time.process_time() - begun,
            "prefill": times["prompt_ms"] / 1e3,
            "decode": times["predicted_ms"] / 1e3,
            "read": times["prompt_n"],
            "written": times["predicted_n"],
        }

    found: dict[str, Any] = {name: [] for name in ("first", "next", "second")}
    ask(tokens_of(words, 9) + tokens_of(PICTURE, 9) + end)
    for repeat in range(repeats):
        # Words that no earlier prompt began with: a first look at this recipe.
        fresh = tokens_of(words, 1000 + repeat)
        found["first"].append(ask(fresh + tokens_of(PICTURE, 2000 + repeat) + end))
        found["next"].append(ask(fresh + tokens_of(PICTURE, 3000 + repeat) + end))
        picture = tokens_of(PICTURE, 4000 + repeat)
        ask(fresh + picture + tokens_of(question, 5000 + repeat))
        found["second"].append(ask(fresh + picture + tokens_of(question, 6000 + repeat)))
    return found | {"peak_mib": peak_mib()}


def theirs_by_hand(
    gguf: str, threads: int, repeats: int, words: int, ending: int, question: int, written: int
) -> dict[str, Any]:
    """The best a program of one's own could make of llama.cpp: states put back through its C interface.

    No sampling, no grammar: the answer's tokens are run one by one, as many as llama.cpp's server wrote.
    """
    from llama_cpp import LlamaCpp

    found: dict[str, Any] = {name: [] for name in ("first", "next", "second")}
    with LlamaCpp(Path(gguf), threads=threads, context=1024) as model:
        recipe, end = tokens_of(words, 1), tokens_of(ending, 2)

        def answer(tokens: list[int]) -> None:
            model.run(tokens)
            for _ in range(written - 1):
                model.run([50])

        def whole(picture: list[int]) -> None:
            model.clear()
            answer(recipe + picture + end)

        whole(tokens_of(PICTURE, 1))
        model.clear()
        model.run(recipe)
        after_words = model.save()
        for repeat in range(repeats):
            picture = tokens_of(PICTURE, 2 + repeat)

            def again(kept: Any, tokens: list[int]) -> None:
                model.restore(kept)
                answer(tokens)

            found["first"].append(_named(cpu_timed(lambda picture=picture: whole(picture))))
            found["next"].append(_named(cpu_timed(lambda picture=picture: again(after_words, picture + end))))
            model.restore(after_words)
            model.run(picture)
            after_picture = model.save()
            found["second"].append(
                _named(cpu_timed(lambda kept=after_picture: again(kept, tokens_of(question, 3))))
            )
    return found | {"peak_mib": peak_mib()}


def _named(seconds: tuple[float, float]) -> dict[str, float]:
    return {"total": seconds[0], "cpu": seconds[1]}


def demo_speed(
    bundle: str, threads: int, seconds: float, options: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Inspections a second of the demo engine's own questions, one at a time, every picture another one."""
    _set_options(options)
    from lineside.engines.base import Prompt
    from lineside.engines.demo.asking import grammar_of
    from lineside.engines.demo.questions import QUESTIONS
    from lineside.engines.open import Engine

    found: dict[str, Any] = {}
    begun = time.perf_counter(), time.process_time()
    crops = [np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8) for seed in range(64)]
    with Engine.open(Path(bundle), threads=threads) as engine:
        for question in QUESTIONS:
            prompt, grammar = Prompt(instruction=question.text), grammar_of(question)
            # Every time another picture: nothing but the words may be shared.
            turn = 0

            def ask(prompt: Any = prompt, grammar: Any = grammar) -> Any:
                nonlocal turn
                turn += 1
                crop = crops[turn % 64].copy()
                crop[0, 0] = turn & 255, (turn >> 8) & 255, 7
                return engine.answer([crop], prompt, grammar)

            for _ in range(20):
                ask()
            times, spent, stages = [], [], []
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                started, before = time.perf_counter(), time.process_time()
                answer = ask()
                times.append(time.perf_counter() - started)
                spent.append(time.process_time() - before)
                stages.append(_seconds(answer.timings))
            found[question.id] = {
                "per_second": 1 / statistics.median(times),
                "per_cpu_second": 1 / statistics.median(spent),
                "stages": {name: statistics.median(one[name] for one in stages) for name in stages[0]},
                "count": len(times),
            }
    spent = (time.process_time() - begun[1]) / (time.perf_counter() - begun[0])
    return found | {"peak_mib": peak_mib(), "cpu_per_second": spent}


def looking_ahead(bundle: str, size: int, seconds: float) -> dict[str, Any]:
    """Inspections a second with vision and decoder in turn, and with a thread that looks at the next part."""
    from concurrent.futures import ThreadPoolExecutor

    from lineside.engines.base import Choice, Prompt
    from lineside.engines.demo.asking import grammar_of
    from lineside.engines.demo.questions import CAP
    from lineside.engines.open import Engine

    rng = np.random.default_rng(5)

    def picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
        return rng.integers(0, 256, (size, size, 3), dtype=np.uint8)

    def per_second(engine: Any, ask: Callable[[], object]) -> float:
        for _ in range(3):
            ask()
        times = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            times.append(timed(ask))
        engine.close()
        return 1 / statistics.median(times)

    def question(engine: Any) -> tuple[Any, Any]:
        if engine.info.is_demo:
            return Prompt(instruction=CAP.text), grammar_of(CAP)
        return Prompt(instruction="Is the cap on straight and undamaged?"), Choice(CHOICE)

    found: dict[str, Any] = {}
    for threads, name in ((1, "one thread"), (2, "two threads")):
        engine = Engine.open(Path(bundle), threads=threads, context_tokens=512)
        asked = question(engine)
        found[name] = per_second(
            engine, lambda engine=engine, asked=asked: engine.answer([picture()], *asked)
        )
    engine = Engine.open(Path(bundle), threads=1, context_tokens=512)
    parts = engine._parts
    assert parts is not None
    assert parts.vision is not None
    asked = question(engine)
    engine.answer([picture()], *asked)

    def look(image: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        (seen,) = parts.pictures.look([image])
        embeds = np.empty((seen.shape.tokens, parts.generator._decoder.hidden), np.float32)
        parts.vision.run(seen.patches, embeds)
        parts.pictures.put(seen, embeds)

    with ThreadPoolExecutor(1) as pool:
        coming = picture()
        looked = pool.submit(look, coming)

        def ask() -> object:
            nonlocal coming, looked
            looked.result()
            now, coming = coming, picture()
            looked = pool.submit(look, coming)
            return engine.answer([now], *asked)

        found["ahead"] = per_second(engine, ask)
    return found


def main(arguments: list[str]) -> None:
    """Runs one measurement on the cores it is given."""
    from questions import questions_about_one_crop

    name, given = arguments[0], json.loads(arguments[1])
    os.sched_setaffinity(0, given.pop("cores"))
    measurements: dict[str, Callable[..., dict[str, Any]]] = {
        "ours_speed": ours_speed,
        "theirs_speed": theirs_speed,
        "ours_inspection": ours_inspection,
        "theirs_inspection": theirs_inspection,
        "theirs_by_hand": theirs_by_hand,
        "demo_speed": demo_speed,
        "looking_ahead": looking_ahead,
        "questions_about_one_crop": questions_about_one_crop,
    }
    # llama.cpp writes on standard output from C: the result goes where the harness listens.
    result = os.dup(1)
    os.dup2(2, 1)
    os.write(result, json.dumps(measurements[name](**given)).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
