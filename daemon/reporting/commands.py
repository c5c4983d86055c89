"""Commands over MQTT: read, done, and always answered. Knows no broker.

A command that is not of the contract is answered with an error; nothing that arrives can end the
listener. `docs/mqtt.md` is the contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import structlog
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from lineside.daemon.ports import NotReady, RunningAppliance, UnknownName
from lineside.daemon.reporting.mqtt import Message, Received
from lineside.daemon.reporting.payload import encode
from lineside.daemon.reporting.replay import ReplayRunning, Span
from lineside.daemon.reporting.topics import BadTopic, Topics
from lineside.daemon.store.requests import RequestReused
from lineside.daemon.values import TriggerKind

REPLY = "lineside.reply/1"
LARGEST_COMMAND = 64 * 1024
MOST_REPLAYED = 100_000
_log = structlog.get_logger(__name__)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a character that cannot be printed")
    return text


Name = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_printable)]
PartId = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)]
Expected = Annotated[str, StringConstraints(max_length=1000)]


class _Command(BaseModel):
    """`correlation_id` comes back in the answer, for clients of MQTT 3.1.1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    correlation_id: Name | None = None


class TriggerCommand(_Command):
    """A part is in place. The same `request_id` again inspects once."""

    station: Name
    part_id: PartId | None = None
    expected: dict[Name, Expected] = {}
    request_id: Name | None = None


class SelectRecipeCommand(_Command):
    """Judge by this recipe from the next part on."""

    station: Name
    recipe: Name


class ReplayCommand(_Command):
    """Send stored results once more, from this sequence on."""

    from_sequence: Annotated[int, Field(ge=1, le=2**63 - 1)]
    limit: Annotated[int, Field(ge=1, le=MOST_REPLAYED)] = 1000


class Refused(Exception):
    """A command that is not done; `code` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Commands:
    """Does what commands ask. Stateless; not for several threads at once.

    `replay` takes the first sequence and how many, and begins; None: there is no such command.
    """

    def __init__(
        self,
        appliance: RunningAppliance,
        topics: Topics,
        replay: Callable[[int, int], Span] | None = None,
    ) -> None:
        self._appliance = appliance
        self._topics = topics
        self._ask_replay = replay
        self._known: Mapping[str, Callable[[bytes], dict[str, object]]] = {
            "trigger": self._trigger,
            "select_recipe": self._select_recipe,
        }
        if replay is not None:
            self._known = {**self._known, "replay": self._replay}

    def answer(self, received: Received) -> Message | None:
        """Does the command and gives the answer; None when there is nobody to answer."""
        name = self._topics.command_of(received.topic)
        if name is None:
            return None
        body: dict[str, object] = {"schema": REPLY, "command": name, "correlation_id": _correlation(received)}
        try:
            body |= {"ok": True, **self._do(name, received)}
        except Refused as refusal:
            body |= {"ok": False, "error": {"code": refusal.code, "message": str(refusal)}}
        except UnknownName as error:
            body |= {"ok": False, "error": {"code": "UNKNOWN_NAME", "message": str(error)}}
        except RequestReused as error:
            body |= {"ok": False, "error": {"code": "REQUEST_ID_REUSED", "message": str(error)}}
        except ReplayRunning as error:
            body |= {"ok": False, "error": {"code": "REPLAY_RUNNING", "message": str(error)}}
        except NotReady as error:
            body |= {"ok": False, "error": {"code": "NOT_READY", "message": str(error)}}
        except Exception as error:  # noqa: BLE001 - the listener's edge: the sender must hear that it failed
            _log.error("command_failed", command=name, exc_info=error)
            body |= {
                "ok": False,
                "error": {"code": "INTERNAL_ERROR", "message": "the device's software failed"},
            }
        return self._reply(name, received, body)

    def busy(self, received: Received) -> Message | None:
        """The answer to a command that there was no room for."""
        name = self._topics.command_of(received.topic)
        if name is None:
            return None
        error = {"code": "BUSY", "message": "too many commands wait already: it was not done, send it again"}
        body = {"schema": REPLY, "command": name, "correlation_id": None, "ok": False, "error": error}
        return self._reply(name, received, body)

    def _do(self, name: str, received: Received) -> dict[str, object]:
        if received.response_topic is not None:
            try:
                self._topics.check_response(received.response_topic)
            except BadTopic as error:
                raise Refused("BAD_COMMAND", str(error)) from error
        if received.retained:
            # It would be done again at every reconnecting, on whatever part stands there then.
            raise Refused("RETAINED", "a command must not be retained: it was not done")
        if len(received.payload) > LARGEST_COMMAND:
            raise Refused("BAD_COMMAND", f"longer than {LARGEST_COMMAND} bytes")
        known = self._known.get(name)
        if known is None:
            raise Refused("UNKNOWN_COMMAND", f"there are {', '.join(self._known)}")
        try:
            return known(received.payload)
        except ValidationError as error:
            raise Refused("BAD_COMMAND", _said(error)) from error

    def _trigger(self, payload: bytes) -> dict[str, object]:
        command = TriggerCommand.model_validate_json(payload)
        result_id = self._appliance.trigger(
            command.station,
            part_id=command.part_id,
            expected=command.expected,
            source=TriggerKind.MQTT,
            request_id=command.request_id,
        )
        return {"result_id": result_id}

    def _select_recipe(self, payload: bytes) -> dict[str, object]:
        command = SelectRecipeCommand.model_validate_json(payload)
        ref = self._appliance.select_recipe(command.station, command.recipe)
        return {"recipe": {"name": ref.name, "version": ref.version, "hash": ref.hash}}

    def _replay(self, payload: bytes) -> dict[str, object]:
        command = ReplayCommand.model_validate_json(payload)
        assert self._ask_replay is not None  # else it is not known
        span = self._ask_replay(command.from_sequence, command.limit)
        return {"replay": {"from_sequence": span.first, "to_sequence": span.last}}

    def _reply(self, name: str, received: Received, body: Mapping[str, object]) -> Message | None:
        try:
            topic = self._topics.check_response(received.response_topic or self._topics.reply(name))
        except BadTopic:
            try:
                topic = self._topics.reply(name)  # the chosen topic is refused: its sender hears it here
            except BadTopic:
                return None  # the command's own name cannot be in a topic
        return Message(topic, encode(body), user={"schema": REPLY}, correlation=received.correlation)


def _correlation(received: Received) -> str | None:
    """The `correlation_id` of a command, whatever else may be wrong with it."""
    if len(received.payload) > LARGEST_COMMAND:
        return None
    try:
        return _OnlyCorrelation.model_validate_json(received.payload).correlation_id
    except ValidationError:
        return None


class _OnlyCorrelation(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    correlation_id: Name | None = None


def _said(error: ValidationError) -> str:
    faults: list[Any] = error.errors(include_url=False, include_input=False, include_context=False)[:5]
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'payload'}: {fault['msg']}" for fault in faults
    )
