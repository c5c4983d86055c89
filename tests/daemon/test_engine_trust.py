"""Whose engines a device takes: a trust folder beside its settings is the switch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lineside.daemon.clock import SystemClock
from lineside.daemon.composition import engine_trust, worker_settings
from lineside.daemon.doctor.base import Level, Subject
from lineside.daemon.doctor.checks.engine import EngineCheck
from lineside.daemon.engine_worker.client import EngineWorker
from lineside.daemon.engine_worker.settings import WorkerState
from lineside.daemon.settings import Settings, load_settings
from lineside.engines.signing import TrustPolicy, new_key, sign_bundle

LONG_S = 90.0


@pytest.fixture
def settings_with(tmp_path: Path, tiny_bundle: Path):
    """`settings_with("trust: keys")`: settings read from a file, with an engine of their own in `engine`."""
    shutil.copytree(tiny_bundle, tmp_path / "engine")

    def read(*lines: str) -> Settings:
        more = "".join(f"  {line}\n" for line in lines)
        (tmp_path / "lineside.yaml").write_text(
            f"device: {{id: box1, data_dir: data}}\nengine:\n  bundle: engine\n  threads: 1\n{more}"
            "cameras: [{id: hand, kind: push}]\nstations: [{id: st1, camera: hand, recipe: r.yaml}]\n"
        )
        return load_settings(tmp_path / "lineside.yaml")

    return read


def start(settings: Settings) -> tuple[WorkerState, str]:
    worker = EngineWorker(worker_settings(settings.engine), SystemClock())
    worker.open()
    try:
        return worker.wait_until_loaded(LONG_S), worker.status().detail
    finally:
        worker.close()


def test_once_there_is_a_trust_folder_only_engines_signed_by_its_keys_start(settings_with, tmp_path):
    assert engine_trust(settings_with().engine) is None, "nothing is said, so the environment may"

    key = new_key(tmp_path / "keys", "plant")
    (tmp_path / "trust").mkdir()
    shutil.copy(key.public, tmp_path / "trust")
    unsigned, why = start(settings_with())
    sign_bundle(tmp_path / "engine", key.private)
    signed, _ = start(settings_with())

    assert (unsigned, signed) == (WorkerState.FAILED, WorkerState.READY)
    assert "is not signed" in why


def test_a_folder_that_the_settings_name_must_be_there(settings_with, tmp_path):
    settings = settings_with("trust: keys")
    sign_bundle(tmp_path / "engine", new_key(tmp_path / "made", "plant").private)

    state, why = start(settings)
    (finding,) = EngineCheck().run(Subject(tmp_path / "lineside.yaml", settings, "", SystemClock()))

    assert state is WorkerState.FAILED
    assert "keys does not exist" in why
    assert (finding.level, "keys does not exist" in finding.message) == (Level.FAILED, True)


def test_what_the_settings_say_is_what_counts(settings_with, tmp_path):
    (tmp_path / "trust").mkdir()
    folder = tmp_path / "trust"

    assert engine_trust(settings_with().engine) == TrustPolicy(folder, required=True)
    assert engine_trust(settings_with("require_signature: false").engine) == TrustPolicy(
        folder, required=False
    )
    assert engine_trust(settings_with("trust: null").engine) == TrustPolicy(None, required=False)
    folder.rmdir()
    assert engine_trust(settings_with("require_signature: true").engine) == TrustPolicy(None, required=True)
