"""The installer on trees written from documentation, its commands taken down: nothing ran on a Jetson yet."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import install
import judge
import machine
import pytest
import steps
from l4t_trees import AGX_ORIN, jetson, plant

ROOT = Path(__file__).parents[2]
GIB = 1 << 30
NODES = ("dev/nvmap", "dev/nvhost-gpu", "dev/nvgpu/igpu0/ctrl", "dev/video0")


def dpkg(**versions: str) -> str:
    return "\n".join(
        f"Package: {name.replace('_', '-').replace('-dot-', '.')}\n"
        f"Status: install ok installed\nVersion: {version}\n"
        for name, version in versions.items()
    )


def box(tmp_path: Path, *, tensorrt: str = "10.16.1.11-1+cuda13.2", cuda: str = "13.2.0", **changes) -> Path:
    tree = jetson(**changes)
    tree["var/lib/dpkg/status"] = dpkg(libnvinfer10=tensorrt) if tensorrt else ""
    tree["usr/local/cuda/version.json"] = json.dumps({"cuda": {"version": cuda}})
    tree |= dict.fromkeys(NODES, "")
    return plant(tmp_path / "root", tree)


class Commands:
    """Takes down commands and does what the real ones would leave behind; `fail`: words of one that fails."""

    def __init__(self, root: Path, fail: str = "") -> None:
        self.root, self.fail = root, fail
        self.ran: list[str] = []

    def __call__(self, command: list) -> None:
        words = " ".join(map(str, command))
        self.ran.append(words)
        if self.fail and self.fail in words:
            raise steps.StepFailed(f"`{words}` ended with 1")
        if "apt-get install" in words:
            plant(self.root, {"usr/lib/python3/dist-packages/tensorrt/__init__.py": ""})
            status = self.root / "var/lib/dpkg/status"
            names = {name.replace("-", "_").replace(".", "_dot_"): "1" for name in steps.PACKAGES}
            status.write_text(status.read_text() + "\n" + dpkg(**names))
        if "-m venv" in words:
            plant(self.root, {"opt/lineside/bin/python": ""})
        if "nvpmodel -m" in words:
            plant(self.root, {"var/lib/nvpmodel/status": f"pmode:{int(words.split()[-1]):04d}\n"})


@pytest.fixture(autouse=True)
def room_and_python(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100 * GIB, 0, 50 * GIB))
    monkeypatch.setattr(sys, "version_info", (3, 12, 3, "final", 0))


def run(root: Path, *arguments: str, commands: Commands | None = None) -> tuple[int, Commands]:
    commands = commands or Commands(root)
    return install.main(["--root", str(root), *arguments], commands), commands


def said(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_a_fresh_box_is_installed_step_by_step(tmp_path: Path) -> None:
    root = box(tmp_path)
    code, commands = run(root)
    assert code == 0
    order = [words.split()[0] for words in commands.ran]
    assert order[:3] == ["apt-get", "apt-get", "python3"]
    assert any("pip install" in words and "cuda-bindings" in words for words in commands.ran)
    assert (root / "usr/bin/linesided").readlink() == Path("/opt/lineside/bin/linesided")
    assert (root / "usr/lib/systemd/system/linesided.service").read_text() == (
        ROOT / "systemd/linesided.service"
    ).read_text()
    link = root / "opt/lineside/lib/python3.12/site-packages/tensorrt"
    assert link.readlink() == Path("/usr/lib/python3/dist-packages/tensorrt")
    rights = (root / steps.DROP_IN).read_text()
    assert "DeviceAllow=/dev/nvgpu/igpu0/ctrl rw" in rights
    assert "DeviceAllow=/dev/nvmap rw" in rights
    # Nothing is started that has not been told what to watch, and the power mode stays as it is.
    assert not any("enable --now" in words or "nvpmodel" in words for words in commands.ran)


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    root = box(tmp_path)
    run(root)
    code, commands = run(root)
    assert (code, commands.ran) == (0, [])


def test_another_checkout_is_installed_over_the_old_one(tmp_path: Path) -> None:
    root = box(tmp_path)
    run(root)
    (root / "opt/lineside/.installed-from").write_text("an older one")
    _, commands = run(root)
    assert [words for words in commands.ran if "pip install" in words] == commands.ran


@pytest.mark.parametrize("fail", ["apt-get install", "-m venv", "pip install", "systemd-sysusers"])
def test_what_failed_is_taken_up_again(tmp_path: Path, fail: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = box(tmp_path)
    code, first = run(root, "--json", commands=Commands(root, fail))
    report = said(capsys)
    assert code == 1
    assert fail in report["error"]
    assert report["steps"][-1]["state"] == "failed"
    assert fail in first.ran[-1]
    code, second = run(root)
    assert code == 0
    assert fail in " ".join(second.ran)
    done = [words for words in first.ran[:-1] if "apt-get update" not in words and "systemd" not in words]
    assert not set(done) & set(second.ran)


def test_a_dry_run_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = box(tmp_path)
    before = sorted(root.rglob("*"))
    code, commands = run(root, "--dry-run", "--power", "15W", "--engine", "x.lsengine")
    assert (code, commands.ran) == (0, [])
    assert sorted(root.rglob("*")) == before
    shown = capsys.readouterr().out
    assert "to do     engine" in shown
    assert "decoding at most 67% as fast" in shown
    assert "graphics up to 612 of 1020 MHz" in shown


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"jetpack": "6.2"}, "release", "TensorRT 10.3 has neither plugins compiled ahead of time"),
        ({"jetpack": "7.1", "board": AGX_ORIN}, "release", "TensorRT 10.13 has no attention"),
        ({"tensorrt": "10.13.3.9-1+cuda13.0"}, "tensorrt", "older than 10.16"),
        ({"cuda": "12.6.1"}, "cuda", "older than 13.0"),
    ],
)
def test_a_box_that_will_not_do_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict, name: str, words: str
) -> None:
    root = box(tmp_path, **changes)
    code, commands = run(root, "--json")
    failed = [one for one in said(capsys)["findings"] if one["level"] == "FAILED"]
    assert (code, commands.ran) == (1, [])
    assert [one["name"] for one in failed] == [name]
    assert words in failed[0]["message"]
    assert failed[0]["next_step"]


def test_a_box_with_the_debian_package_is_left_to_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = box(tmp_path)
    status = root / "var/lib/dpkg/status"
    status.write_text(status.read_text() + "\n" + dpkg(lineside="0.1.0"))
    code, commands = run(root, "--json")
    (failed,) = [one for one in said(capsys)["findings"] if one["level"] == "FAILED"]
    assert (code, commands.ran) == (1, [])
    assert failed["name"] == "package"
    assert "apt remove lineside" in failed["next_step"]


def test_no_jetson_little_memory_no_room_and_an_old_python_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10 * GIB, 0, 3 * GIB))
    monkeypatch.setattr(sys, "version_info", (3, 10, 12, "final", 0))
    root = plant(tmp_path / "root", {"proc/meminfo": "MemTotal: 3900000 kB\n"})
    levels = {one.name: one.level for one in judge.judge(machine.look(root))}
    assert levels == {
        "release": "FAILED",
        "tensorrt": "WARNING",
        "cuda": "WARNING",
        "python": "FAILED",
        "memory": "FAILED",
        "disk": "FAILED",
    }


def test_the_chosen_power_mode_is_set_once(tmp_path: Path) -> None:
    root = box(tmp_path)
    _, commands = run(root, "--power", "maxn_super")
    assert "nvpmodel -m 2" in commands.ran
    _, again = run(root, "--power", "MAXN_SUPER")
    assert again.ran == []


def test_a_mode_that_needs_a_restart_is_left_to_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = box(tmp_path)
    code, commands = run(root, "--power", "7W", "--json")
    assert code == 1
    assert "needs a restart" in said(capsys)["error"]
    assert not any(words.startswith("nvpmodel") for words in commands.ran)


def test_an_unknown_mode_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, commands = run(box(tmp_path), "--power", "900W", "--json")
    assert (code, commands.ran) == (2, [])
    assert "15W, 25W, MAXN_SUPER, 7W" in said(capsys)["error"]


def test_an_engine_is_forecast_then_compiled_as_the_daemons_user(tmp_path: Path) -> None:
    _, commands = run(box(tmp_path), "--engine", "/data/x.lsengine", "--image", "640x480", "--image", "32x32")
    forecast, compiled = [words for words in commands.ran if "engine compile" in words]
    assert forecast == f"{compiled} --forecast"
    assert compiled.startswith("runuser -u lineside -- env LINESIDE_CACHE=/var/cache/lineside ")
    assert compiled.endswith("compile /data/x.lsengine --image 640x480 --image 32x32")


def test_a_configured_box_is_started_and_looked_at(tmp_path: Path) -> None:
    root = box(tmp_path)
    plant(root, {"etc/lineside/lineside.yaml": "device: {}\n"})
    _, commands = run(root)
    assert commands.ran[-2:] == [
        "systemctl enable --now linesided",
        "runuser -u lineside -- /usr/bin/lineside doctor",
    ]


def test_a_command_of_somebody_else_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = box(tmp_path)
    plant(root, {"usr/bin/lineside": "not ours"})
    code, _ = run(root, "--json")
    assert (code, "move it away" in said(capsys)["error"]) == (1, True)
    assert (root / "usr/bin/lineside").read_text() == "not ours"


def test_the_script_needs_nothing_but_python() -> None:
    """Without site-packages and without our package on the path."""
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "jetson" / "install.py"), "--dry-run", "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert run.stderr == ""
    assert json.loads(run.stdout)["findings"][0]["name"] == "release"


@pytest.mark.parametrize("command", [["false"], ["no-such-command-anywhere"]])
def test_a_command_that_fails_says_what_to_do(command: list[str]) -> None:
    with pytest.raises(steps.StepFailed, match="run this again"):
        steps.run_command(command)
