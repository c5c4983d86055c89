"""Lives to be killed: works on a store as a busy line does, and says what the store has acknowledged.

Started once as a process that has everything imported; each line on its standard input, "FOLDER SEED",
forks a life. What a life prints before it dies, the store had promised:

    PID p            the life to kill
    INTAKE id        an accepted trigger is durable
    RESULT id hash   a verdict is durable; hash of its canonical record
    ACK n            sequence n is acknowledged by the consumer "mqtt"
    NUMBERS n a b    the numbers from a to b of counter n were reserved
    DEAD status      the life is over; negative: the signal

Lines are written whole (shorter than a pipe's atomic size).
"""

from __future__ import annotations

import os
import random
import sys
import threading
import traceback
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import alembic.command
import alembic.config
import alembic.script
import structlog
from store_samples import Samples, picture

from lineside.daemon.clock import SystemClock
from lineside.daemon.store import Store
from lineside.daemon.store.canonical import sha256_hex
from lineside.daemon.store.records import json_of
from lineside.daemon.values import Result, Verdict

_PRELOADED = (
    alembic.command,
    alembic.config,
    alembic.script,
)  # so that a first start is killed in its migration too
QUOTA_BYTES = 400_000
# What it promises goes to standard output, alone.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def say_result(result: Result) -> None:
    say("RESULT", result.result_id, sha256_hex(json_of(result)))


def live(folder: Path, seed: int) -> None:
    """Works until killed."""
    chance = random.Random(seed)
    clock = SystemClock()
    store = Store.open(folder, device="box-1", clock=clock, evidence_quota_bytes=QUOTA_BYTES)
    for result in store.recover("boot"):
        say_result(result)
    threads = [
        threading.Thread(target=station, args=(store, Samples(clock), f"s{n}", chance.getrandbits(32)))
        for n in range(3)
    ]
    threads.append(threading.Thread(target=publish, args=(store,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def station(store: Store, samples: Samples, name: str, seed: int) -> None:
    chance = random.Random(seed)
    numbers = store.reserve_numbers(name, 5).result()
    say("NUMBERS", name, numbers.start, numbers.stop - 1)
    while True:
        intake = samples.intake(station=name)
        accepted = store.accept(intake)
        accepted.add_done_callback(lambda _, i=intake: say("INTAKE", i.result_id))
        if chance.random() < 0.15:
            continue  # its verdict never comes: the next life must give one
        pictures = [picture(chance.randbytes(chance.randint(1, 20_000))) for _ in range(chance.randint(0, 2))]
        verdict = chance.choice(list(Verdict))
        done = store.commit(samples.draft(intake, verdict), pictures)
        done.add_done_callback(lambda future: say_result(future.result()))
        if chance.random() < 0.3:
            done.result()


def publish(store: Store) -> None:
    """A consumer that acknowledges what it was given, now and then out of order."""
    while True:
        store.wait_beyond(store.last_sequence(), 0.02)
        given = [result.sequence for result in store.pending("mqtt", 20)]
        for half in (given[::2], given[1::2]):
            store.acknowledge("mqtt", half).result()
            for sequence in half:
                say("ACK", sequence)


def main() -> None:
    say("READY")
    for line in sys.stdin:
        folder, seed = line.rsplit(maxsplit=1)
        pid = os.fork()
        if pid == 0:
            say("PID", os.getpid())
            try:
                live(Path(folder), int(seed))
            except BaseException:
                traceback.print_exc()
            os._exit(1)  # a life ends by being killed; any other end is a fault that the test reports
        _, status = os.waitpid(pid, 0)
        say("DEAD", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
