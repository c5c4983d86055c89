"""The units hold: systemd understands them, they let in little, and files, users and folders agree."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from lineside.daemon.commands.daemon import LOOK_EVERY_S, daemon

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "systemd"
UNITS = ("linesided.service", "lineside-dashboard.service")
SECURITY = ("systemd-analyze", "security", "--offline=true", "--no-pager")
MOST_EXPOSED = 20
"""Tenths of systemd's own points: 2.0 of 10."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze (Debian package systemd)"
)


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Section → key → every value given to it, in order."""
    sections: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
            continue
        key, _, value = line.partition("=")
        section.setdefault(key, []).append(value)
    return sections


def only(name: str, key: str, section: str = "Service") -> str:
    (value,) = unit(name)[section][key]
    return value


def users() -> dict[str, list[str]]:
    """User → groups, from the sysusers file."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / "lineside.sysusers").read_text().splitlines():
        match line.split()[:3]:
            case ["u", name, _]:
                found[name] = []
            case ["m", name, group]:
                found[name].append(group)
    return found


def folders() -> dict[str, tuple[str, str, str]]:
    """Folder → mode, user, group, from the tmpfiles file."""
    lines = [line.split() for line in (FOLDER / "lineside.tmpfiles").read_text().splitlines()]
    return {words[1]: (words[2], words[3], words[4]) for words in lines if words and words[0] == "d"}


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_a_unit_lets_in_little(name: str) -> None:
    said = subprocess.run(
        [*SECURITY, f"--threshold={MOST_EXPOSED}", str(FOLDER / name)],
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stdout.splitlines()[-1]


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    # The command need not be installed where the tests run.
    copy = tmp_path / name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", (FOLDER / name).read_text(), flags=re.M))

    said = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", str(copy)],
        capture_output=True,
        text=True,
    )

    assert (said.returncode, said.stdout + said.stderr) == (0, "")


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_what_the_package_installs(name: str) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    command = only(name, "ExecStart").split()[0]

    assert Path(command).parent == Path("/usr/bin")
    assert Path(command).name in scripts


def test_the_daemon_takes_the_arguments_it_is_started_with() -> None:
    arguments = only("linesided.service", "ExecStart").split()[1:]
    config = {option.name: option for option in daemon.params}["config"]

    assert arguments == ["--config", str(config.default)]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_runs_as_a_user_that_is_made(name: str) -> None:
    assert only(name, "User") in users()
    assert only(name, "User") == only(name, "Group")


def test_the_daemon_may_use_the_cameras_and_the_dashboard_owns_nothing_of_the_daemon() -> None:
    assert {"video", "render"} <= set(users()["lineside"])
    assert only("lineside-dashboard.service", "User") not in {user for _, user, _ in folders().values()}


@pytest.mark.parametrize(
    ("key", "above"),
    [("StateDirectory", "/var/lib"), ("CacheDirectory", "/var/cache"), ("ConfigurationDirectory", "/etc")],
)
def test_folders_are_the_same_in_the_unit_and_before_its_first_start(key: str, above: str) -> None:
    mode, user, group = folders()[f"{above}/{only('linesided.service', key)}"]

    assert mode == only("linesided.service", f"{key}Mode")
    assert group == only("linesided.service", "Group")
    # Settings are root's to write: who breaks into the daemon does not change them.
    assert user == ("root" if key == "ConfigurationDirectory" else only("linesided.service", "User"))


def test_the_watchdog_outlasts_several_looks() -> None:
    assert only("linesided.service", "Type") == "notify"
    assert only("linesided.service", "NotifyAccess") == "main"
    assert float(only("linesided.service", "WatchdogSec")) >= 4 * LOOK_EVERY_S


def test_every_credential_is_told_of() -> None:
    readme = (FOLDER / "README.md").read_text()
    names = unit("linesided.service")["Service"]["LoadCredential"]

    assert names
    assert [name for name in names if f"`{name}`" not in readme] == []
    # A path would make a credential that is missing keep the daemon from starting.
    assert [name for name in names if "/" in name or ":" in name] == []
