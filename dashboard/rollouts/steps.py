"""What is done at a device in each state of a rollout. Each step looks first and may be done twice.

A process may be killed between a device's doing and our noting it: the next one finds it done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import grpc

from lineside.dashboard.rollouts.machine import DeviceState, Outcome
from lineside.v1.client import Failed

AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
BUSY = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED)
TRUSTED = "trusted"


@dataclass(frozen=True, slots=True)
class Installed:
    """An engine on a device. `slot`: active, previous or staged; `signature` as the device says."""

    digest: str
    slot: str
    signature: str
    is_demo: bool = False


class EngineCalls(Protocol):
    """The calls of a rollout on one device. Each raises `lineside.v1.client.Failed`."""

    def engines(self) -> list[Installed]:
        """What is installed."""

    def install(self) -> Installed:
        """Sends the bundle, going on where a transfer broke off, and has the device verify it."""

    def activate(self, digest: str, request_id: str) -> None:
        """Has the device judge with an installed engine; returns when it does."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step to do. `request_id` is the same for the same step, and another after a failure."""

    state: DeviceState
    wanted: str
    before: str
    request_id: str
    only_trusted: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """How a step ended. `before`: the engine that judged, where that was found out; `signature`: as told."""

    outcome: Outcome
    why: str = ""
    before: str = ""
    signature: str = ""


def carry_out(step: Step, calls: EngineCalls, gate: Callable[[], Ended]) -> Ended:
    """Does a step; `gate` says whether a device that judges with the engine may go on doing so."""
    try:
        match step.state:
            case DeviceState.INSTALLING:
                return _install(step, calls)
            case DeviceState.ACTIVATING:
                return _activate(step, calls)
            case DeviceState.WATCHING:
                return gate()
            case DeviceState.REVERTING:
                return _revert(step, calls)
            case _:
                raise AssertionError(f"nothing is done at a device in {step.state}")
    except Failed as error:
        passing = error.code in AWAY or error.code in BUSY
        return Ended(Outcome.AGAIN if passing else Outcome.FAILED, str(error)[:500])


def _install(step: Step, calls: EngineCalls) -> Ended:
    installed = calls.engines()
    before = next((one.digest for one in installed if one.slot == "active"), "")
    found = next((one for one in installed if one.digest == step.wanted), None)
    if found is None:
        found = calls.install()
    if found.digest != step.wanted:
        return Ended(Outcome.FAILED, f"the device installed {found.digest[:12]}, not {step.wanted[:12]}")
    if step.only_trusted and found.signature != TRUSTED:
        return Ended(
            Outcome.FAILED, f"the device says of its signature: {found.signature}", before, found.signature
        )
    return Ended(Outcome.DONE, "", before, found.signature)


def _activate(step: Step, calls: EngineCalls) -> Ended:
    if not any(one.digest == step.wanted and one.slot == "active" for one in calls.engines()):
        calls.activate(step.wanted, step.request_id)
    return Ended(Outcome.DONE)


def _revert(step: Step, calls: EngineCalls) -> Ended:
    installed = calls.engines()
    active = next((one.digest for one in installed if one.slot == "active"), "")
    if active != step.wanted or step.before == step.wanted:
        return Ended(Outcome.DONE)
    if step.before not in {one.digest for one in installed}:
        return Ended(Outcome.FAILED, "the engine before is not on the device any more: install it there")
    calls.activate(step.before, step.request_id)
    return Ended(Outcome.DONE)
