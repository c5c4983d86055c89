"""Any bytes and any fields to any call: every answer is an answer or a proper error, and the server lives on.

INTERNAL would be a fault of ours, UNKNOWN an exception that got past the edge: neither may come. More with
`make fuzz`.
"""

from __future__ import annotations

import os
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineside.daemon.pki.identity import Role
from lineside.daemon.rpc.paging import encode_token
from lineside.v1 import (
    cameras_pb2,
    devices_pb2,
    engines_pb2,
    inspections_pb2,
    jobs_pb2,
    recipes_pb2,
    reviews_pb2,
    stations_pb2,
)

EXAMPLES = int(os.environ.get("LINESIDE_FUZZ_EXAMPLES", "150"))
FILES = (
    cameras_pb2,
    devices_pb2,
    engines_pb2,
    inspections_pb2,
    jobs_pb2,
    recipes_pb2,
    reviews_pb2,
    stations_pb2,
)
METHODS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for services in (
        *(file.DESCRIPTOR.services_by_name.values() for file in FILES),
        [operations_pb2.DESCRIPTOR.services_by_name["Operations"]],
    )
    for service in services
    for method in service.methods
}
NAMES = st.sampled_from(
    [
        "",
        "devices/-",
        "devices/box7",
        "devices/-/stations/st1",
        "devices/-/cameras/push1",
        "devices/-/recipes/cap@2",
        "devices/-/recipes/cap@" + "9" * 30,
        "devices/-/inspections/r1",
        "devices/-/jobs/J1",
        "devices/-/reviews/1",
        "devices/-/reviews/" + "9" * 40,
        "devices/-/engines/" + "ab" * 32,
        "devices/-/engineUploads/" + "ab" * 32,
        "devices/-/evidence/../../../etc/passwd",
        "devices/-/engines/..%2f..",
        "devices//stations/",
        "/" * 50,
        "WyIx",
        "\x00",
    ]
)
TOKENS = st.builds(  # as ours are made, by somebody who has read how
    lambda cursor, arguments: encode_token(cursor, arguments),
    st.text(max_size=30) | st.integers(-(2**80), 2**80).map(str),
    st.sampled_from(
        [
            {"list": "changes"},
            {"list": "jobs", "state": "", "station": ""},
            {"list": "reviews", "inspection": ""},
            {"list": "inspections", "filter": ""},
            {"list": "recipes"},
            {"list": "engines"},
        ]
    ),
)
FILTERS = st.builds(
    lambda field, operator, value: f"{field} {operator} {value}",
    st.sampled_from(["sequence", "station", "decide_time", "evaluation", "trigger_time", "part_id"]),
    st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
    st.sampled_from(["1", "9" * 30, "-1", '"a"', "OK", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"]),
)
TEXTS = NAMES | TOKENS | FILTERS | st.text(max_size=40)
_NUMBERS = {
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_ENUM: st.integers(-3, 99),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=200) | st.just(b"\x89PNG\r\n\x1a\n" + bytes(60)),
}


def fill(draw: st.DrawFn, message: Message, depth: int = 0) -> None:
    """Sets some of a message's fields to anything their types allow."""
    for field in message.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if field.message_type.GetOptions().map_entry:
                value = field.message_type.fields_by_name["value"]
                for _ in range(draw(st.integers(0, 3))):
                    getattr(message, field.name)[draw(TEXTS)] = draw(_NUMBERS[value.type])
            elif depth < 2:
                inner = getattr(message, field.name)
                fill(draw, inner.add() if field.is_repeated else inner, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(_NUMBERS[field.type], max_size=3)))
        else:
            # Any text may stand in any field; those with a form of their own get it more often.
            likely = {"page_token": TOKENS, "filter": FILTERS}.get(field.name, _NUMBERS[field.type])
            setattr(message, field.name, draw(likely))


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """A call, and what is sent to it: a message with any fields, or any bytes."""
    path = draw(st.sampled_from(sorted(METHODS)))
    if draw(st.integers(0, 4)) == 0:
        return path, draw(st.binary(max_size=300))
    message = message_factory.GetMessageClass(METHODS[path].input_type)()
    fill(draw, message)
    return path, message.SerializeToString()


@pytest.fixture
def open_channel(serve: Any) -> grpc.Channel:
    """A server that lets everything in, and ends what would wait."""
    return serve(local_role=Role.ADMIN, rate_per_s=1e6, rate_burst=1e6)[1]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(call=requests())
def test_any_request_is_answered_or_refused_properly(
    open_channel: grpc.Channel, call: tuple[str, bytes]
) -> None:
    path, sent = call
    code, details = outcome(open_channel, path, sent)
    what = f"{path} {sent!r}: {details}"
    assert code is not grpc.StatusCode.INTERNAL, what
    assert code is not grpc.StatusCode.UNKNOWN, what
    assert code is not grpc.StatusCode.UNAVAILABLE, what


def outcome(channel: grpc.Channel, path: str, sent: bytes) -> tuple[grpc.StatusCode, str]:
    """The code of a call, and what came with it."""
    try:
        if METHODS[path].server_streaming:
            answers = channel.unary_stream(path)(sent, timeout=10)
            next(answers, None)
            answers.cancel()
        else:
            timeout = 0.5 if path.endswith(("/Inspect", "/WaitOperation")) else 10
            channel.unary_unary(path)(sent, timeout=timeout)
    except grpc.RpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""
