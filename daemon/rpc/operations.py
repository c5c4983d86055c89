"""`google.longrunning.Operations`: what takes long, one at a time, in a thread of its own (`rpc-operations`).

Operations are remembered until the daemon ends, the newest MOST of them; what they did outlives them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import structlog
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import empty_pb2
from google.rpc import error_details_pb2, status_pb2

from lineside.daemon.clock import Clock
from lineside.daemon.rpc import convert
from lineside.daemon.rpc.errors import DOMAIN, RpcFault, fault_of, not_found, precondition
from lineside.daemon.rpc.names import child_id, child_name
from lineside.daemon.rpc.paging import page_of
from lineside.v1 import engines_pb2

MOST = 200
MOST_WAITING = 4
LONGEST_WAIT_S = 30.0
Work = Callable[[Callable[[str], None]], engines_pb2.Engine]
_log = structlog.get_logger(__name__)


class Operations(operations_pb2_grpc.OperationsServicer):
    """Runs and tells of operations. `close` waits for the one under way, which its work must make short."""

    def __init__(self, device: str, clock: Clock) -> None:
        self._device = device
        self._clock = clock
        self._changed = threading.Condition()
        self._kept: OrderedDict[str, operations_pb2.Operation] = OrderedDict()
        self._by_request: dict[tuple[str, str], str] = {}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rpc-operations")

    def close(self) -> None:
        """Gives up what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self, target: str, request: tuple[str, str] | None, work: Work) -> operations_pb2.Operation:
        """Begins an operation on `target`; the same `request` again gives the one it began.

        Raises:
            RpcFault: RESOURCE_EXHAUSTED when too many wait already.
        """
        with self._changed:
            if request is not None and request in self._by_request:
                known = self._kept.get(self._by_request[request])
                if known is not None:
                    return known
            if sum(not one.done for one in self._kept.values()) >= MOST_WAITING:
                raise RpcFault(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "TOO_MANY",
                    f"{MOST_WAITING} operations are under way: wait for one of them",
                    metadata={"limit": str(MOST_WAITING)},
                )
            name = child_name(self._device, "operations", self._clock.new_id())
            operation = operations_pb2.Operation(name=name)
            progress = engines_pb2.EngineProgress(
                target=target, stage="waiting", start_time=convert.timestamp(self._clock.now())
            )
            operation.metadata.Pack(progress)
            self._kept[name] = operation
            if request is not None:
                self._by_request[request] = name
            while len(self._kept) > MOST:
                gone, _ = self._kept.popitem(last=False)
                self._by_request = {key: one for key, one in self._by_request.items() if one != gone}
        self._pool.submit(self._run, name, progress, work)
        return operation

    def _run(self, name: str, progress: engines_pb2.EngineProgress, work: Work) -> None:
        def told(stage: str) -> None:
            progress.stage = stage
            self._note(name, progress)

        try:
            engine = work(told)
        except Exception as error:  # noqa: BLE001 - the edge: however it failed, the operation says so
            fault = fault_of(error)
            if fault.code is grpc.StatusCode.INTERNAL:
                _log.error("operation_failed", operation=name, exc_info=error)
            progress.stage = "failed"
            progress.end_time.CopyFrom(convert.timestamp(self._clock.now()))
            self._note(name, progress, error=_status(fault))
        else:
            progress.stage = "done"
            progress.end_time.CopyFrom(convert.timestamp(self._clock.now()))
            self._note(name, progress, engine=engine)

    def _note(
        self,
        name: str,
        progress: engines_pb2.EngineProgress,
        *,
        engine: engines_pb2.Engine | None = None,
        error: status_pb2.Status | None = None,
    ) -> None:
        # A new message each time: one that was given out may be on its way to a client.
        operation = operations_pb2.Operation(name=name, done=engine is not None or error is not None)
        operation.metadata.Pack(progress)
        if engine is not None:
            operation.response.Pack(engine)
        if error is not None:
            operation.error.CopyFrom(error)
        with self._changed:
            if name in self._kept:
                self._kept[name] = operation
            self._changed.notify_all()

    def GetOperation(  # noqa: N802 - the contract's name
        self, request: operations_pb2.GetOperationRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        """One operation as it stands."""
        with self._changed:
            return self._found(request.name)

    def WaitOperation(  # noqa: N802 - the contract's name
        self, request: operations_pb2.WaitOperationRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        """Waits until it is done, at most as long as asked for, and LONGEST_WAIT_S."""
        wanted = request.timeout.ToMilliseconds() / 1e3 if request.HasField("timeout") else LONGEST_WAIT_S
        left = context.time_remaining()
        bound = min(max(wanted, 0.0), LONGEST_WAIT_S, LONGEST_WAIT_S if left is None else left * 0.8)
        with self._changed:
            self._found(request.name)
            self._changed.wait_for(lambda: self._found(request.name).done, bound)
            return self._found(request.name)

    def ListOperations(  # noqa: N802 - the contract's name
        self, request: operations_pb2.ListOperationsRequest, context: grpc.ServicerContext
    ) -> operations_pb2.ListOperationsResponse:
        """Every operation that is remembered."""
        with self._changed:
            kept = list(self._kept.values())
        page, token = page_of(
            kept, lambda one: one.name, request.page_size, request.page_token, {"list": "operations"}
        )
        return operations_pb2.ListOperationsResponse(operations=page, next_page_token=token)

    def CancelOperation(  # noqa: N802 - the contract's name
        self, request: operations_pb2.CancelOperationRequest, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        """Refused: each of its steps is short, or cannot be left half done."""
        with self._changed:
            self._found(request.name)
        raise precondition("NOT_CANCELLABLE", "an operation on engines goes on to its end")

    def DeleteOperation(  # noqa: N802 - the contract's name
        self, request: operations_pb2.DeleteOperationRequest, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        """Forgets an operation that is done."""
        with self._changed:
            found = self._found(request.name)
            if not found.done:
                raise precondition("NOT_DONE", "the operation is under way")
            del self._kept[found.name]
        return empty_pb2.Empty()

    def _found(self, name: str) -> operations_pb2.Operation:
        operation = child_id(name, "operations", self._device, "name")
        found = self._kept.get(child_name(self._device, "operations", operation))
        if found is None:
            raise not_found("Operation", name, f"no operation '{operation}' is remembered")
        return found


def _status(fault: RpcFault) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=fault.reason, domain=DOMAIN, metadata=fault.metadata)
    status = status_pb2.Status(code=fault.code.value[0], message=fault.message)
    status.details.add().Pack(info)
    return status
