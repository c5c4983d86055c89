"""The Debian package in a fresh Debian: installed, judging parts, removed with its data kept, purged.

`make deb-test` runs it (about four minutes; root, debootstrap and a Debian mirror are needed).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.debian, pytest.mark.timeout(1500)]
ROOT = Path(__file__).parents[2]
MIRROR = os.environ.get("LINESIDE_DEBIAN_MIRROR", "http://deb.debian.org/debian")
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SETTINGS = """
device: {id: fresh-box, data_dir: /var/lib/lineside}
cameras: [{id: cam1, kind: folder, path: /srv/parts}]
stations: [{id: st1, camera: cam1, recipe: /etc/lineside/recipes/cap-check.yaml}]
"""


class FreshDebian:
    """A Debian root that nothing but the base system is in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a shell command inside, with a clean environment."""
        words = ["chroot", str(self.folder), "/bin/sh", "-c", command]
        env = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def has(self, path: str) -> bool:
        return os.path.lexists(self.folder / path.lstrip("/"))


def mounted(folder: Path) -> bool:
    return (
        subprocess.run(["mount", "--bind", "/proc", folder], check=False, capture_output=True).returncode == 0
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("dist")
    command = [sys.executable, ROOT / "systemd" / "debian" / "build.py", "--output", output]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Path(said.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[FreshDebian]:
    """The package installed by apt into a fresh root."""
    suite = SUITES.get(PYTHON)
    if suite is None:
        pytest.skip(f"no Debian release has Python {PYTHON}")
    folder = tmp_path_factory.mktemp("root")
    folder.chmod(0o755)
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=ca-certificates", suite, folder, MIRROR],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"debootstrap cannot make a root here: {made.stdout.strip().splitlines()[-1:]}")
    fresh = FreshDebian(folder)
    never = folder / "usr/sbin/policy-rc.d"
    never.write_text("#!/bin/sh\nexit 101\n")
    never.chmod(0o755)
    if not mounted(folder / "proc"):
        pytest.skip("this machine does not let us mount /proc into a root")
    shutil.copy(package, folder / "tmp")
    try:
        fresh.run(f"apt-get update -qq && apt-get install -qq -y --no-install-recommends /tmp/{package.name}")
        yield fresh
    finally:
        subprocess.run(["umount", folder / "proc"], check=False)


needs_a_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("debootstrap") is None,
    reason="a fresh Debian root needs root and debootstrap (sudo apt install debootstrap)",
)


@needs_a_root
class TestInstalled:
    """In the order of a device's life."""

    def test_users_folders_and_units_are_there(self, debian: FreshDebian) -> None:
        groups = debian.run("id -nG lineside").stdout.split()
        assert {"lineside", "video", "render"} <= set(groups)
        assert debian.run("stat -c '%U:%G %a' /etc/lineside").stdout.split() == ["root:lineside", "750"]
        assert debian.run("stat -c '%U:%G %a' /var/lib/lineside").stdout.split() == [
            "lineside:lineside",
            "750",
        ]
        said = debian.run(
            "systemd-analyze verify /usr/lib/systemd/system/linesided.service 2>&1", check=False
        )
        assert "lineside" not in "".join(
            line for line in said.stdout.splitlines() if "rror" in line or "nknown" in line
        ), said.stdout

    def test_nothing_of_it_comes_from_outside_its_own_environment(self, debian: FreshDebian) -> None:
        told = debian.run(
            "/opt/lineside/bin/python -c 'import sys, lineside.daemon, onnxruntime, cv2, grpc; "
            "print(sys.prefix, lineside.daemon.__file__, cv2.__file__)'"
        ).stdout.split()
        assert all(word.startswith("/opt/lineside") for word in told)

    def test_the_examples_are_good(self, debian: FreshDebian) -> None:
        debian.run("cp /usr/share/doc/lineside/examples/cap-check.yaml /etc/lineside/recipes/")
        debian.run("lineside recipe check /etc/lineside/recipes/cap-check.yaml")
        debian.run("lineside daemon --check --config /usr/share/doc/lineside/examples/lineside.yaml")

    def test_doctor_finds_a_good_machine(self, debian: FreshDebian) -> None:
        debian.run("mkdir -p /srv/parts && chmod 755 /srv/parts")
        (debian.folder / "etc/lineside/lineside.yaml").write_text(SETTINGS)
        said = debian.run("lineside doctor --json --config /etc/lineside/lineside.yaml", check=False)
        found = json.loads(said.stdout)
        levels = {one["check"]: one["level"] for one in found["findings"]}
        assert levels["platform"] == "OK", said.stdout
        assert levels["recipes"] == "OK", said.stdout

    def test_the_installed_product_judges_a_line(self, debian: FreshDebian) -> None:
        demo = "cd /var/lib/lineside && lineside demo --parts 5 --seed 7 --headless"
        said = debian.run(f"setpriv --reuid lineside --regid lineside --init-groups sh -c '{demo}'")
        summary = json.loads(said.stdout.strip().splitlines()[-1])
        assert summary["parts_judged"] == summary["parts_drawn"] == 5
        assert summary["escapes"] == 0

    def test_removal_keeps_what_was_judged(self, debian: FreshDebian) -> None:
        debian.run("touch /var/lib/lineside/a-result && apt-get remove -qq -y lineside")
        assert not debian.has("/opt/lineside/lib")
        assert not debian.has("/usr/bin/linesided")
        assert debian.has("/var/lib/lineside/a-result")
        assert debian.has("/etc/lineside/lineside.yaml")

    def test_purge_takes_it(self, debian: FreshDebian) -> None:
        debian.run("apt-get purge -qq -y lineside")
        assert not debian.has("/var/lib/lineside")
        assert not debian.has("/etc/lineside")
