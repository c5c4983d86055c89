"""The door: who calls, whether that role may, how often, and how much. Before any service sees a call.

Every handler of the server goes through here, health and reflection too; what has no rule is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc
import structlog
from google.protobuf import duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2

from lineside.daemon.rpc.callers import Caller, Callers
from lineside.daemon.rpc.errors import RpcFault
from lineside.daemon.rpc.policy import RULES, Rule
from lineside.daemon.rpc.rates import Rates

Handler = Callable[[Any, grpc.ServicerContext], Any]
Note = Callable[[Caller, str, str, str], None]
"""Called as `note(caller, method, resource, outcome)` for changes, done or refused."""
_RESOURCE_FIELDS = ("name", "station", "upload", "parent")
_log = structlog.get_logger(__name__)


class AccessInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Lets calls in by the rules of `policy`."""

    def __init__(self, callers: Callers, rates: Rates, note: Note, rules: Mapping[str, Rule] = RULES) -> None:
        self._callers = callers
        self._rates = rates
        self._note = note
        self._rules = rules

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the method's handler."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        codecs = {
            "request_deserializer": _lenient(handler.request_deserializer),
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._unary(handler.unary_unary, method), **codecs)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._streaming(handler.unary_stream, method), **codecs
            )
        assert handler.stream_stream is not None, "only reflection sends streams"
        return grpc.stream_stream_rpc_method_handler(self._both(handler.stream_stream, method), **codecs)

    def _unary(self, behaviour: Handler, method: str) -> Handler:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            caller, rule = self._enter(method, request, context)
            if not rule.changes:
                return behaviour(request, context)
            try:
                given = behaviour(request, context)
            except Exception:
                self._note(caller, method, _resource(request), _outcome(context))
                raise
            self._note(caller, method, _resource(request), "OK")
            return given

        return answer

    def _streaming(self, behaviour: Handler, method: str) -> Handler:
        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            self._enter(method, request, context)
            yield from behaviour(request, context)

        return stream

    def _both(self, behaviour: Handler, method: str) -> Handler:
        def stream(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            self._enter(method, None, context)
            yield from behaviour(self._counted(requests, method, context), context)

        return stream

    def _counted(self, requests: Iterator[Any], method: str, context: grpc.ServicerContext) -> Iterator[Any]:
        """Each message of a stream counts as a call: a stream is no way around the rate."""
        for request in requests:
            self._enter(method, request, context)
            yield request

    def _enter(self, method: str, request: Any, context: grpc.ServicerContext) -> tuple[Caller, Rule]:
        try:
            return self._admitted(method, request, context)
        except RpcFault as fault:
            # Who calls too often must not fill the log as well.
            tell = _log.debug if fault.reason == "RATE" else _log.warning
            tell(
                "rpc_refused", method=method, peer=context.peer(), reason=fault.reason, because=fault.message
            )
            context.abort_with_status(fault.status())
            raise AssertionError("abort_with_status always raises") from fault

    def _admitted(self, method: str, request: Any, context: grpc.ServicerContext) -> tuple[Caller, Rule]:
        caller = self._callers.of(context)
        wait_s = self._rates.take(caller.identity)
        if wait_s > 0:
            raise _too_often(wait_s)
        rule = self._rules.get(method)
        if rule is None or not caller.role.may(rule.role):
            if rule is not None and rule.changes:
                self._note(caller, method, _resource(request), "PERMISSION_DENIED")
            raise _denied(caller, method, rule)
        if isinstance(request, Malformed):
            raise RpcFault(
                grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED", f"what came is no request of {method}"
            )
        size = request.ByteSize() if isinstance(request, Message) else 0
        if size > rule.largest:
            raise _too_large(size, rule.largest)
        return caller, rule


class Malformed:
    """Stands for bytes that are no message of the call's type."""


def _lenient(read: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """A deserializer that does not raise: a stream whose request cannot be read is never let go by gRPC's
    server, so that a hundred of them would use up their connection for good."""
    if read is None:
        return None

    def attempt(data: bytes) -> Any:
        try:
            return read(data)
        except (DecodeError, ValueError):
            return Malformed()

    return attempt


def _resource(request: Any) -> str:
    """What a request is about: the first field of a resource's name that it has."""
    for field in _RESOURCE_FIELDS:
        found = getattr(request, field, "")
        if isinstance(found, str) and found:
            return found[:300]
    return ""


def _outcome(context: grpc.ServicerContext) -> str:
    code = context.code()  # type: ignore[attr-defined]  # absent from the stubs
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"


def _denied(caller: Caller, method: str, rule: Rule | None) -> RpcFault:
    needed = rule.role.value if rule is not None else "nobody"
    return RpcFault(
        grpc.StatusCode.PERMISSION_DENIED,
        "ROLE",
        f"{method} needs the role {needed}; {caller.identity} has {caller.role}",
        metadata={"method": method, "needed": needed, "role": caller.role.value},
    )


def _too_often(wait_s: float) -> RpcFault:
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(round(wait_s * 1000) + 1)
    return RpcFault(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "RATE",
        f"too many calls of this caller: wait {wait_s:.2f} s",
        metadata={"wait_ms": str(round(wait_s * 1000) + 1)},
        details=(error_details_pb2.RetryInfo(retry_delay=delay),),
    )


def _too_large(size: int, largest: int) -> RpcFault:
    return RpcFault(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_LARGE",
        f"the request has {size} bytes, and this call takes at most {largest}",
        metadata={"largest_bytes": str(largest)},
    )
