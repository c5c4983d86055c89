#!/usr/bin/env python3
"""Builds `lineside_VERSION_ARCH.deb`: the product with its own virtual environment, units, users and folders.

    systemd/debian/build.py [--arch amd64|arm64] [--python 3.11] [--output dist]

Needs only pip and dpkg-deb, on any Debian or Ubuntu: wheels of another architecture or Python are
fetched, not built, so that an arm64 package is made on an amd64 machine. The package holds everything that
pip would install (`constraints.txt` to the digit) and asks apt for Python alone: a device needs no index and
no compiler. The same sources and SOURCE_DATE_EPOCH give the same tree.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
HOME = Path("opt/lineside")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
OLDEST_GLIBC = {"3.11": 36, "3.12": 39, "3.13": 41}
"""Minor version of glibc 2 on the oldest system that has this Python: Debian 12, Ubuntu 24.04, Debian 13."""
UNITS = ("linesided.service", "lineside-dashboard.service")
SCRIPTS = {"lineside": "lineside.daemon.cli:main", "linesided": "lineside.daemon.cli:daemon_main"}
MAINTAINER_SCRIPTS = ("postinst", "prerm", "postrm")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--arch", choices=sorted(MACHINES), default=_own_arch())
    parser.add_argument(
        "--python",
        choices=sorted(OLDEST_GLIBC),
        default=f"{sys.version_info.major}.{sys.version_info.minor}",
        help="the target's: 3.11 for Debian 12, 3.12 for Ubuntu 24.04, 3.13 for Debian 13",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder for the package")
    parser.add_argument("--extra", action="append", default=[], help="an extra of the package, such as gpio")
    options = parser.parse_args()
    if shutil.which("dpkg-deb") is None:
        sys.exit("dpkg-deb is not here: build on Debian or Ubuntu, or install dpkg")
    package = build(options.arch, options.python, options.output, tuple(options.extra))
    sys.stdout.write(f"{package}\n")


def build(arch: str, python: str, output: Path, extras: tuple[str, ...] = ()) -> Path:
    """Makes the package and gives its path. Raises CalledProcessError when a step fails."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        _environment(tree, arch, python, extras, Path(scratch))
        _system_files(tree)
        _control(tree, arch, python)
        package = output / f"lineside_{_version()}_{arch}.deb"
        _settle(tree)
        whole = package.with_suffix(".deb.new")
        command = ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z9", "--build", tree, whole]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole.replace(package)
    return package


def _environment(tree: Path, arch: str, python: str, extras: tuple[str, ...], scratch: Path) -> None:
    """A virtual environment as `venv` would make it on the target, filled with the target's wheels."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheels = scratch / "wheels"
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT], check=True
    )
    (wheel,) = wheels.glob("lineside-*.whl")
    wanted = f"lineside[{','.join(extras)}] @ {wheel.as_uri()}" if extras else str(wheel)
    packages = tree / HOME / "lib" / f"python{python}" / "site-packages"
    platforms = [
        *(f"manylinux_2_{minor}_{MACHINES[arch]}" for minor in range(5, OLDEST_GLIBC[python] + 1)),
        *(f"manylinux{year}_{MACHINES[arch]}" for year in ("2014", "2010", "1")),
        f"linux_{MACHINES[arch]}",
    ]
    command = [*pip, "install", "--target", packages, "--no-compile", "--only-binary", ":all:"]
    command += ["--implementation", "cp", "--python-version", python]
    command += [word for platform in reversed(platforms) for word in ("--platform", platform)]
    subprocess.run([*command, "--constraint", ROOT / "constraints.txt", wanted], check=True)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    binaries = tree / HOME / "bin"
    binaries.mkdir()
    (tree / HOME / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n"
    )
    (binaries / "python").symlink_to(f"/usr/bin/python{python}")
    (binaries / "python3").symlink_to("python")
    for name, target in SCRIPTS.items():
        module, function = target.split(":")
        script = binaries / name
        script.write_text(
            f"#!/{HOME}/bin/python\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
        )
        script.chmod(0o755)
    if python == f"{sys.version_info.major}.{sys.version_info.minor}":
        # The service may not write beside its code: without this, every start would compile everything anew.
        compileall.compile_dir(
            packages,
            quiet=2,
            stripdir=str(tree),
            prependdir="/",
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


def _system_files(tree: Path) -> None:
    (tree / "usr/bin").mkdir(parents=True)
    for name in SCRIPTS:
        (tree / "usr/bin" / name).symlink_to(f"/{HOME}/bin/{name}")
    systemd = ROOT / "systemd"
    places = {
        "usr/lib/systemd/system": [systemd / unit for unit in UNITS],
        "usr/lib/sysusers.d": [systemd / "lineside.sysusers"],
        "usr/lib/tmpfiles.d": [systemd / "lineside.tmpfiles"],
        "usr/share/doc/lineside/examples": sorted((HERE / "examples").iterdir()),
        "usr/share/doc/lineside": [HERE / "copyright"],
    }
    renamed = {"lineside.sysusers": "lineside.conf", "lineside.tmpfiles": "lineside.conf"}
    for folder, files in places.items():
        (tree / folder).mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(file, tree / folder / renamed.get(file.name, file.name))


def _control(tree: Path, arch: str, python: str) -> None:
    folder = tree / "DEBIAN"
    folder.mkdir()
    major, minor = python.split(".")
    text = (HERE / "control").read_text()
    size = sum(path.lstat().st_size for path in tree.rglob("*")) // 1024
    values = {
        "VERSION": _version(),
        "ARCH": arch,
        "SIZE": str(size),
        "PYTHON": python,
        "NEXT": f"{major}.{int(minor) + 1}",
    }
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    (folder / "control").write_text(text)
    for name in MAINTAINER_SCRIPTS:
        shutil.copyfile(HERE / name, folder / name)
        (folder / name).chmod(0o755)


def _settle(tree: Path) -> None:
    """One time stamp and plain modes, whoever builds, with whatever umask."""
    when = int(os.environ.get("SOURCE_DATE_EPOCH") or _last_commit())
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (when, when), follow_symlinks=False)


def _last_commit() -> int:
    command = ["git", "-C", ROOT, "log", "-1", "--format=%ct"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(said.stdout or 0)


def _version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _own_arch() -> str:
    machine = os.uname().machine
    return next((arch for arch, name in MACHINES.items() if name == machine), "amd64")


if __name__ == "__main__":
    main()
