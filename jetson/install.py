#!/usr/bin/env python3
"""Installs Lineside on a Jetson: looks at the box, says what is wrong, does what is not done yet.

    sudo python3 jetson/install.py --power 25W --engine qwen-2b.lsengine --image 640x480

Run it again whenever it stopped: what is done stays done. `--dry-run` changes nothing. Standard library only.
Exit codes: 0 done (or nothing to do), 1 the box will not do or a step failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from judge import FAILED, choose_mode, judge
from machine import look
from steps import Choice, StepFailed, run_command, steps

MARKS = {"OK": "✓", "WARNING": "!", "FAILED": "✗"}


def main(arguments: list | None = None, run=run_command) -> int:  # type: ignore[no-untyped-def]
    """Everything; `run` runs a command."""
    asked = _parser().parse_args(arguments)
    root = Path(asked.root)
    machine = look(root)
    choice = Choice(
        root, asked.power, asked.engine, tuple(asked.image), asked.wheels, tuple(machine.python[:2])
    )
    report = {"findings": [], "steps": [], "error": ""}
    say = (lambda text: None) if asked.json else (lambda text: sys.stdout.write(text + "\n"))
    code = _install(asked, machine, choice, report, say, run)
    if asked.json:
        sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    return code


def _install(asked, machine, choice, report, say, run) -> int:  # type: ignore[no-untyped-def]
    findings = judge(machine)
    report["findings"] = [asdict(finding) for finding in findings]
    for finding in findings:
        say(f"{MARKS[finding.level]} {finding.level:<8} {finding.name:<10} {finding.message}")
        if finding.next_step:
            say(f"{'':22}→ {finding.next_step}")
    if any(finding.level == FAILED for finding in findings):
        report["error"] = "this box will not do as it is; nothing was changed"
        say(report["error"])
        return 1
    try:
        if choice.power:
            choose_mode(choice.root, choice.power)
    except LookupError as error:
        report["error"] = str(error)
        say(f"✗ {error}")
        return 2
    if not asked.dry_run and asked.root == "/" and os.geteuid() != 0:
        report["error"] = "run it with sudo: it writes below /opt, /usr and /etc"
        say(report["error"])
        return 2
    return _steps(asked, choice, report, say, run)


def _steps(asked, choice, report, say, run) -> int:  # type: ignore[no-untyped-def]
    for step in steps(choice):
        if step.done(choice):
            state = "done"
        elif asked.dry_run:
            state = "to do"
        else:
            say(f"… {step.name}: {step.says(choice)}")
            try:
                step.act(choice, run)
            except (StepFailed, OSError) as error:
                report["steps"].append({"step": step.name, "state": "failed"})
                report["error"] = str(error)
                say(f"✗ {step.name}: {error}")
                return 1
            state = "done now"
        report["steps"].append({"step": step.name, "state": state, "says": step.says(choice)})
        say(f"  {state:<9} {step.name:<12} {step.says(choice)}")
    if not (choice.root / "etc/lineside/lineside.yaml").exists():
        say("Next: write /etc/lineside/lineside.yaml (docs/install.md), then run this again")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Install Lineside on a Jetson with JetPack 7.2 or newer.")
    parser.add_argument("--power", default="", metavar="MODE", help="power mode, such as 25W")
    parser.add_argument("--engine", default="", metavar="BUNDLE", help="compile this engine for the box")
    parser.add_argument(
        "--image", action="append", default=[], metavar="WxH", help="of the cameras' pictures"
    )
    parser.add_argument("--wheels", default="", metavar="DIR", help="wheels, for a box without internet")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--root", default="/", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
