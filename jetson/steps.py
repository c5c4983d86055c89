"""What is done to a Jetson, one step after the other, each only where it is not done already.

A step says what it is for, whether it is done, and how it is done; what goes wrong is said with what to do,
and a second run goes on where the first one stopped. Standard library only.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from judge import choose_mode, cost_of
from machine import REPOSITORY, installed, l4t

HOME = Path("/opt/lineside")
CACHE = "/var/cache/lineside"
PACKAGES = ("python3-venv", "python3-libnvinfer", "gstreamer1.0-tools", "gstreamer1.0-plugins-good")
UNITS = {
    "linesided.service": "usr/lib/systemd/system/linesided.service",
    "lineside.sysusers": "usr/lib/sysusers.d/lineside.conf",
    "lineside.tmpfiles": "usr/lib/tmpfiles.d/lineside.conf",
}
DROP_IN = "etc/systemd/system/linesided.service.d/10-jetson.conf"
NODES = ("nvhost*", "nvmap", "nvgpu/*/*", "nvidia*", "v4l2-nv*", "nvsciipc", "dri/*")


class StepFailed(Exception):
    """A step did not end well; the message says what to do."""


@dataclass(frozen=True)
class Choice:
    """What the operator asked for. `root`: below which files are written; `/` but in trials."""

    root: Path = Path("/")
    power: str = ""
    engine: str = ""
    images: tuple = ()
    wheels: str = ""
    python: tuple = (3, 12)

    @property
    def home(self) -> Path:
        """The virtual environment, below the root."""
        return self.root / HOME.relative_to("/")


@dataclass(frozen=True)
class Step:
    """`done(choice)`: nothing is to do; `act(choice, run)`: does it. `says`: what it is for."""

    name: str
    says: Callable
    done: Callable
    act: Callable


def run_command(command: list) -> None:
    """Runs a command; what it writes goes to our stderr. Raises StepFailed."""
    try:
        subprocess.run(command, check=True, stdout=sys.stderr)
    except FileNotFoundError as error:
        raise StepFailed(f"{command[0]} is not there: install it, then run this again") from error
    except subprocess.CalledProcessError as error:
        words = " ".join(command)
        raise StepFailed(
            f"`{words}` ended with {error.returncode}: see above, then run this again"
        ) from error


def steps(choice: Choice) -> list:
    """All steps for a choice, in order."""
    wanted = [
        Step("packages", lambda c: f"apt install {' '.join(PACKAGES)}", _has_packages, _packages),
        Step("environment", lambda c: f"a Python of its own in {HOME}", _has_environment, _environment),
        Step("software", lambda c: "lineside into it", _has_software, _software),
        Step("tensorrt", lambda c: "the system's TensorRT made visible in it", _sees_tensorrt, _tensorrt),
        Step("commands", lambda c: "lineside and linesided in /usr/bin", _has_commands, _commands),
        Step("service", lambda c: "users, folders and the systemd unit", _has_units, _units),
        Step("devices", lambda c: "the unit's rights to this box's devices", _has_drop_in, _drop_in),
    ]
    if choice.power:
        wanted.append(Step("power", _says_power, _has_power, _power))
    if choice.engine:
        wanted.append(
            Step("engine", lambda c: f"{c.engine} compiled for this box", lambda c: False, _compile_engine)
        )
    wanted.append(Step("start", lambda c: "the service, where it is configured", _is_unconfigured, _start))
    return wanted


def _has_packages(choice: Choice) -> bool:
    found = installed(choice.root)
    return all(name in found for name in PACKAGES)


def _packages(choice: Choice, run: Callable) -> None:
    run(["apt-get", "update"])
    run(["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES])


def _has_environment(choice: Choice) -> bool:
    return (choice.home / "bin" / "python").exists()


def _environment(choice: Choice, run: Callable) -> None:
    run(["python3", "-m", "venv", str(choice.home)])


def _sources() -> str:
    """Tells this checkout from another: a hash of what the package is built from."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt", "setup.py"):
        digest.update((REPOSITORY / name).read_bytes())
    for room in ("daemon", "engines", "plugins", "protos", "dashboard"):
        for path in sorted((REPOSITORY / room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and "_pb2" not in path.name:
                digest.update(str(path.relative_to(REPOSITORY)).encode() + path.read_bytes())
    return digest.hexdigest()


def _has_software(choice: Choice) -> bool:
    return l4t.read_text(choice.home / ".installed-from") == _sources()


def _software(choice: Choice, run: Callable) -> None:
    pip = [str(choice.home / "bin" / "python"), "-m", "pip", "install", "--constraint"]
    pip.append(str(REPOSITORY / "constraints.txt"))
    if choice.wheels:
        pip += ["--no-index", "--find-links", choice.wheels]
    # cuda-bindings has wheels for this processor; TensorRT is the system's own.
    run([*pip, str(REPOSITORY), "cuda-bindings"])
    (choice.home / ".installed-from").write_text(_sources())


def _link(choice: Choice) -> tuple:
    version = f"python{choice.python[0]}.{choice.python[1]}"
    site = choice.home / "lib" / version / "site-packages" / "tensorrt"
    return site, Path("/usr/lib") / "python3" / "dist-packages" / "tensorrt", Path("/usr/lib") / version


def _sees_tensorrt(choice: Choice) -> bool:
    return _link(choice)[0].exists() or _link(choice)[0].is_symlink()


def _tensorrt(choice: Choice, run: Callable) -> None:
    site, shared, versioned = _link(choice)
    places = (shared, versioned / "dist-packages" / "tensorrt")
    found = [place for place in places if (choice.root / place.relative_to("/")).is_dir()]
    if not found:
        raise StepFailed("python3-libnvinfer brought no tensorrt for Python: sudo apt install tensorrt")
    # This one package and not all of the system's: theirs must not take the place of ours.
    site.parent.mkdir(parents=True, exist_ok=True)
    site.symlink_to(found[0])


def _has_commands(choice: Choice) -> bool:
    return all((choice.root / "usr/bin" / name).is_symlink() for name in ("lineside", "linesided"))


def _commands(choice: Choice, run: Callable) -> None:
    for name in ("lineside", "linesided"):
        link = choice.root / "usr/bin" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.exists() and not link.is_symlink():
            raise StepFailed(f"{link} is a file of something else: move it away, then run this again")
        link.unlink(missing_ok=True)
        link.symlink_to(HOME / "bin" / name)


def _has_units(choice: Choice) -> bool:
    same = all(
        l4t.read_text(choice.root / place) == l4t.read_text(REPOSITORY / "systemd" / name)
        for name, place in UNITS.items()
    )
    return same and _was_finished(choice, "service", _unit_texts())


def _unit_texts() -> str:
    return "".join((REPOSITORY / "systemd" / name).read_text() for name in UNITS)


def _units(choice: Choice, run: Callable) -> None:
    for name, place in UNITS.items():
        write(choice.root / place, (REPOSITORY / "systemd" / name).read_text())
    run(["systemd-sysusers"])
    run(["systemd-tmpfiles", "--create", "lineside.conf"])
    run(["systemctl", "daemon-reload"])
    _finish(choice, "service", _unit_texts())


def drop_in(root: Path) -> str:
    """Rights to each of the box's own nodes for graphics, video and cameras."""
    nodes = sorted({node for pattern in NODES for node in (root / "dev").glob(pattern) if not node.is_dir()})
    lines = [f"DeviceAllow=/{node.relative_to(root)} rw" for node in nodes]
    return "\n".join(["# Written by jetson/install.py from the nodes of this box.", "[Service]", *lines, ""])


def _has_drop_in(choice: Choice) -> bool:
    text = drop_in(choice.root)
    return l4t.read_text(choice.root / DROP_IN) == text.strip() and _was_finished(choice, "devices", text)


def _drop_in(choice: Choice, run: Callable) -> None:
    text = drop_in(choice.root)
    write(choice.root / DROP_IN, text)
    run(["systemctl", "daemon-reload"])
    _finish(choice, "devices", text)


def _finish(choice: Choice, step: str, text: str) -> None:
    """Notes that a step's commands ran to their end for these files, which the files alone do not tell."""
    write(choice.home / f".{step}-finished", hashlib.sha256(text.encode()).hexdigest())


def _was_finished(choice: Choice, step: str, text: str) -> bool:
    noted = l4t.read_text(choice.home / f".{step}-finished")
    return noted == hashlib.sha256(text.encode()).hexdigest()


def _says_power(choice: Choice) -> str:
    mode = choose_mode(choice.root, choice.power)
    return f"power mode {mode.name}: {cost_of(choice.root, mode)}"


def _has_power(choice: Choice) -> bool:
    return l4t.power_mode(choice.root) == choose_mode(choice.root, choice.power).number


def _power(choice: Choice, run: Callable) -> None:
    mode = choose_mode(choice.root, choice.power)
    current = [one for one in l4t.power_modes(choice.root) if one.number == l4t.power_mode(choice.root)]
    if current and current[0].gates != mode.gates:
        raise StepFailed(
            f"{mode.name} switches other parts of the chip off than {current[0].name}, which "
            f"needs a restart: run `sudo nvpmodel -m {mode.number}`, confirm it, and run this again then"
        )
    run(["nvpmodel", "-m", str(mode.number)])


def _compile_engine(choice: Choice, run: Callable) -> None:
    sizes = [word for image in choice.images for word in ("--image", image)]
    # As the daemon's user: plans count only for whoever wrote them.
    engine = ["runuser", "-u", "lineside", "--", "env", f"LINESIDE_CACHE={CACHE}", str(HOME / "bin/lineside")]
    engine += ["engine", "compile", choice.engine, *sizes]
    run([*engine, "--forecast"])
    run(engine)


def _is_unconfigured(choice: Choice) -> bool:
    return not (choice.root / "etc/lineside/lineside.yaml").exists()


def _start(choice: Choice, run: Callable) -> None:
    run(["systemctl", "enable", "--now", "linesided"])
    run(["runuser", "-u", "lineside", "--", "/usr/bin/lineside", "doctor"])


def write(path: Path, text: str) -> None:
    """A file whole or not at all, readable by all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.chmod(0o644)
    temporary.replace(path)
