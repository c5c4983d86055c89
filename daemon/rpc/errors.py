"""Errors as the wire has them: canonical codes with machine-readable details (AIP-193).

Service code raises; the interceptor here is the one place where an exception becomes a status,
so that no handler can end an error as an empty, OK answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from lineside.daemon.engine_seat import EngineRefused
from lineside.daemon.engine_uploads import ShelfRefused
from lineside.daemon.gates.baseline import BadBaseline
from lineside.daemon.jobs import JobRefused
from lineside.daemon.ports import Changed, NothingBefore, NotReady, UnknownName
from lineside.daemon.recipes.shelf import VersionTaken
from lineside.daemon.store.errors import StoreBusy, StoreClosed
from lineside.daemon.store.requests import RequestReused
from lineside.daemon.yamlfile import BadFile
from lineside.engines.errors import EngineError

DOMAIN = "lineside"
MOST_PROBLEMS = 50
LONGEST_MESSAGE = 4000
"""Status messages travel in HTTP/2 trailers, which are bounded."""
_OURS = ("/lineside.v1.", "/google.longrunning.")
_log = structlog.get_logger(__name__)


class RpcFault(Exception):
    """A refusal that the caller is told in full. `reason` is UPPER_SNAKE and stable."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        details: tuple[Message, ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.details = details

    def status(self) -> grpc.Status:
        """The status with ErrorInfo first, then the other details."""
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata)
        packed = []
        for detail in (info, *self.details):
            wrapped = any_pb2.Any()
            wrapped.Pack(detail)
            packed.append(wrapped)
        number: int = self.code.value[0]
        status: grpc.Status = rpc_status.to_status(
            status_pb2.Status(code=number, message=self.message, details=packed)
        )
        return status


def bad_field(field: str, description: str) -> RpcFault:
    """INVALID_ARGUMENT that names the field."""
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
    return RpcFault(
        grpc.StatusCode.INVALID_ARGUMENT,
        "BAD_FIELD",
        f"{field}: {description}",
        metadata={"field": field},
        details=(error_details_pb2.BadRequest(field_violations=[violation]),),
    )


def not_found(kind: str, name: str, message: str) -> RpcFault:
    """NOT_FOUND that names the resource."""
    resource = error_details_pb2.ResourceInfo(
        resource_type=f"lineside.v1/{kind}", resource_name=name, description=message
    )
    return RpcFault(
        grpc.StatusCode.NOT_FOUND, "NOT_FOUND", message, metadata={"resource": name}, details=(resource,)
    )


def exhausted(what: str, limit: int) -> RpcFault:
    """RESOURCE_EXHAUSTED: a bound of this server is reached."""
    failure = error_details_pb2.QuotaFailure(
        violations=[error_details_pb2.QuotaFailure.Violation(subject=what, description=f"limit {limit}")]
    )
    return RpcFault(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY",
        f"{limit} {what} are open already: close one, or raise the limit in the device's configuration",
        metadata={"limit": str(limit)},
        details=(failure,),
    )


def stopping(**metadata: str) -> RpcFault:
    """UNAVAILABLE: the server goes down; the same call works again later."""
    return RpcFault(
        grpc.StatusCode.UNAVAILABLE,
        "STOPPING",
        "the device is stopping: call again",
        metadata=metadata,
    )


def etag_mismatch(message: str) -> RpcFault:
    """ABORTED: what the caller read before is no longer so (AIP-154)."""
    return RpcFault(grpc.StatusCode.ABORTED, "ETAG_MISMATCH", f"{message}: read it again")


def precondition(reason: str, message: str) -> RpcFault:
    """FAILED_PRECONDITION that says what stands in the way."""
    violation = error_details_pb2.PreconditionFailure.Violation(type=reason, description=message)
    failure = error_details_pb2.PreconditionFailure(violations=[violation])
    return RpcFault(grpc.StatusCode.FAILED_PRECONDITION, reason, message, details=(failure,))


def bad_recipe(error: BadFile) -> RpcFault:
    """INVALID_ARGUMENT with every problem of a recipe's text."""
    violations = [
        error_details_pb2.BadRequest.FieldViolation(
            field="text", description=f"line {one.line}: {one.key}: {one.message}"
        )
        for one in error.problems[:MOST_PROBLEMS]
    ]
    return RpcFault(
        grpc.StatusCode.INVALID_ARGUMENT,
        "BAD_RECIPE",
        str(error)[:LONGEST_MESSAGE],
        metadata={"field": "text"},
        details=(error_details_pb2.BadRequest(field_violations=violations),),
    )


def job_fault(refused: JobRefused) -> RpcFault:
    """What a caller is told when a job cannot be changed as it asks."""
    message = str(refused)
    match refused.reason:
        case "NOT_FOUND":
            return not_found("Job", "", message)
        case "ETAG_MISMATCH":
            return RpcFault(grpc.StatusCode.ABORTED, refused.reason, message)
        case "JOB_EXISTS":
            return RpcFault(grpc.StatusCode.ALREADY_EXISTS, refused.reason, message)
        case "TOO_MANY_JOBS":
            return RpcFault(grpc.StatusCode.RESOURCE_EXHAUSTED, refused.reason, message)
        case _:
            return precondition(refused.reason, message)


def shelf_fault(refused: ShelfRefused) -> RpcFault:
    """What a caller is told when engines cannot be changed as it asks."""
    code = {
        "NOT_FOUND": grpc.StatusCode.NOT_FOUND,
        "ETAG_MISMATCH": grpc.StatusCode.ABORTED,
        "BAD_UPLOAD": grpc.StatusCode.INVALID_ARGUMENT,
        "NO_ROOM": grpc.StatusCode.RESOURCE_EXHAUSTED,
        "GAP": grpc.StatusCode.OUT_OF_RANGE,
        "WRONG_HASH": grpc.StatusCode.DATA_LOSS,
    }.get(refused.reason)
    if code is None:
        return precondition(refused.reason, str(refused))
    return RpcFault(code, refused.reason, str(refused))


def fault_of(error: Exception) -> RpcFault:
    """The fault that a caller is told for an exception of the appliance."""
    match error:
        case RpcFault():
            return error
        case UnknownName():
            return not_found("Name", "", str(error))
        case NotReady():
            return precondition("NOT_READY", str(error))
        case NothingBefore():
            return precondition("NO_PREVIOUS", str(error))
        case Changed():
            return RpcFault(grpc.StatusCode.ABORTED, "ETAG_MISMATCH", str(error))
        case BadFile():
            return bad_recipe(error)
        case BadBaseline():
            return bad_field("baseline", str(error))
        case VersionTaken():
            return RpcFault(grpc.StatusCode.ALREADY_EXISTS, "VERSION_TAKEN", str(error))
        case RequestReused():
            return RpcFault(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED", str(error))
        case JobRefused():
            return job_fault(error)
        case ShelfRefused():
            return shelf_fault(error)
        case EngineRefused():
            return precondition("ENGINE_REFUSED", str(error))
        case EngineError():
            return precondition("BAD_ENGINE", str(error))
        case StoreBusy() | StoreClosed() | TimeoutError():
            message = "the device's disk does not take it now: call again, with the same request_id"
            return RpcFault(grpc.StatusCode.UNAVAILABLE, "STORE_BUSY", message)
        case _:
            # What went wrong inside goes to the log, not to the network.
            return RpcFault(
                grpc.StatusCode.INTERNAL,
                "INTERNAL_ERROR",
                f"the device's software failed ({type(error).__name__}): see its log",
            )


Handler = Callable[[Any, grpc.ServicerContext], Any]


class FaultInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Turns what our services raise into rich statuses; leaves other services alone."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the method's handler."""
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(_OURS):
            return handler
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                _answering(handler.unary_unary, method),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        assert handler.unary_stream is not None, "lineside.v1 has unary and server-streaming calls only"
        return grpc.unary_stream_rpc_method_handler(
            _streaming(handler.unary_stream, method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _refuse(error: Exception, method: str, context: grpc.ServicerContext) -> NoReturn:
    fault = fault_of(error)
    if fault.code is grpc.StatusCode.INTERNAL:
        _log.error("rpc_failed", method=method, exc_info=error)
    context.abort_with_status(fault.status())
    raise AssertionError("abort_with_status always raises")


def _answering(behaviour: Handler, method: str) -> Handler:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return behaviour(request, context)
        except Exception as error:  # noqa: BLE001 - the edge: whatever fails must reach the caller as an error
            _refuse(error, method, context)

    return answer


def _streaming(behaviour: Handler, method: str) -> Handler:
    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from behaviour(request, context)
        except Exception as error:  # noqa: BLE001 - the edge: whatever fails must reach the caller as an error
            _refuse(error, method, context)

    return stream
