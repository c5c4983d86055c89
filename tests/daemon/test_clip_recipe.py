"""The whole daemon with a recipe that looks at a clip and at a golden reference: both reach the evidence."""

from __future__ import annotations

import hashlib
import threading

import cv2
import numpy as np

from lineside.daemon.clock import SystemClock
from lineside.daemon.composition import running
from lineside.daemon.settings import Settings
from lineside.daemon.values import ReasonCode

FPS, PART = 10, 25
"""The video's pictures a second; the recipe judges every so many of them."""

RECIPE = """
recipe: watch
trigger: {{kind: interval, every_frames: {every}}}
regions: {{left: [0.0, 0.0, 0.5, 1.0]}}
ask:
  - id: moves
    region: left
    clip: {{frames: 4, seconds: 1}}
    question: Does it move?
    answer: {{choice: [ok, no]}}
  - id: same
    region: left
    golden: {{file: golden.png, sha256: "{golden}"}}
    question: Are both alike?
    answer: {{choice: [ok, no]}}
gates: {{blur: off, exposure: off, glare: off}}
limits: {{deadline_ms: 100000, max_frame_age_ms: 100000}}
evidence: {{keep: {{OK: 100%}}}}
"""


def test_a_video_played_as_fast_as_it_is_judged_gives_clips_of_its_own_time(tmp_path, tiny_bundle):
    writer = cv2.VideoWriter(str(tmp_path / "belt.avi"), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (64, 32))
    for at in range(2 * PART + 1):
        picture = np.full((32, 64, 3), (at * 4, 90, 90), np.uint8)
        picture[:8] = 200
        writer.write(picture)
    writer.release()
    cv2.imwrite(str(tmp_path / "golden.png"), np.full((32, 32, 3), (0, 90, 90), np.uint8))
    golden = hashlib.sha256((tmp_path / "golden.png").read_bytes()).hexdigest()
    (tmp_path / "watch.yaml").write_text(RECIPE.format(every=PART, golden=golden))
    settings = Settings.model_validate(
        {
            "device": {"id": "box1", "data_dir": str(tmp_path / "data")},
            "engine": {"bundle": str(tiny_bundle), "threads": 1},
            "cameras": [
                {"id": "belt", "kind": "file", "path": str(tmp_path / "belt.avi"), "realtime": False}
            ],
            "stations": [{"id": "st1", "camera": "belt", "recipe": str(tmp_path / "watch.yaml")}],
            "grpc": {"listen": "127.0.0.1:0"},
        }
    )

    with running(settings, SystemClock(), threading.Event()) as built:
        finished = threading.Event()
        while not (built.units[0].finished and built.store.last_sequence() >= 3):
            assert not finished.wait(0.05)
        first, *_, last = built.store.since(0)
        kept = {ref.role: decoded(built.store.read_evidence(ref.evidence_id)) for ref in last.evidence}

    assert {reason.code for reason in first.draft.reasons} >= {ReasonCode.NO_FRAME}, "no second had passed"
    assert [outcome.ask for outcome in last.draft.outcomes] == ["moves", "same"]
    assert [ref.role for ref in last.evidence] == ["frame", "clip", "golden", "crop"]
    # A third of a second is 3.3 pictures, of 4 grey levels each.
    strip = kept["clip"]
    assert np.diff(strip[20, 16::32, 0].astype(int)).min() >= 8
    assert strip.shape == (32, 4 * 32, 3)
    assert (kept["golden"] == (0, 90, 90)).all()


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
