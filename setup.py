"""Build steps that pyproject.toml cannot say: which packages there are, and the gRPC code from `protos/`.

The folders `daemon/`, `dashboard/`, `engines/`, `plugins/` and `protos/lineside/v1/` install as
`lineside.daemon`, `lineside.dashboard`, `lineside.engines`, `lineside.plugins` and `lineside.v1` (a namespace
without an `__init__`). Packages are found by walking, so a new folder is never left out of a wheel.
Generated code lies beside the protos and is never committed.
"""

import os
import sys
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
ROOTS = {
    "lineside.daemon": "daemon",
    "lineside.dashboard": "dashboard",
    "lineside.engines": "engines",
    "lineside.plugins": "plugins",
    "lineside.v1": "protos/lineside/v1",
}


def packages() -> list[str]:
    """Every folder with an `__init__.py` under the mapped roots, as a dotted package name."""
    found = []
    for name, folder in ROOTS.items():
        for init in sorted((ROOT / folder).rglob("__init__.py")):
            inside = init.parent.relative_to(ROOT / folder).parts
            found.append(".".join((name, *inside)))
    return found


def generate_protos() -> None:
    """Write `*_pb2.py`, `*_pb2_grpc.py` and their stubs beside each proto of `protos/lineside/v1`."""
    import grpc_tools
    from grpc_tools import protoc

    protos = sorted(str(p) for p in (ROOT / "protos").rglob("*.proto"))
    if not protos:
        return
    include = [str(ROOT / "protos"), str(Path(grpc_tools.__file__).parent / "_proto")]
    common = _googleapis()
    out = str(ROOT / "protos")
    args = ["protoc", *(f"-I{path}" for path in [*include, *common])]
    args += [f"--python_out={out}", f"--grpc_python_out={out}"]
    args += [f"--mypy_out=quiet:{out}", f"--mypy_grpc_out=quiet:{out}"]
    path = os.environ.get("PATH", "")
    # The stub plugins are scripts of this environment, which need not be the activated one.
    scripts = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    os.environ["PATH"] = os.pathsep.join([*scripts, path])
    try:
        if protoc.main([*args, *protos]) != 0:
            raise SystemExit("protoc failed: see the message above")
    finally:
        os.environ["PATH"] = path


def _googleapis() -> list[str]:
    """Where `google/api/*.proto`, `google/rpc/*.proto` and `google/longrunning/operations.proto` are."""
    import google.rpc

    packages = Path(next(iter(google.rpc.__path__))).parent.parent
    operations = "google/longrunning/operations.proto"
    # The package ships this one file under another name, and its code under the right one.
    return [str(packages), f"{operations}={packages / 'google/longrunning/operations_proto.proto'}"]


class BuildPy(build_py):
    """`build_py` that makes the gRPC code first; also what an editable install runs."""

    def run(self) -> None:
        generate_protos()
        super().run()


setup(
    packages=packages(),
    package_dir=ROOTS,
    cmdclass={"build_py": BuildPy},
    include_package_data=False,
    package_data={
        "": [
            "*.json",
            "*.md",
            "*.jinja",
            "**/*.html",
            "static/*",
            "*.yaml",
            "*.toml",
            "*.lsengine",
            "*.ini",
            "*.mako",
            "*.typed",
            "*.pyi",
            "*.proto",
            "*.cpp",
            "*.cu",
            "*.cuh",
            "*.h",
        ]
    },
)
