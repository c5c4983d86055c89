"""Sparkplug's payloads as values and as bytes. Pure; knows nothing of sessions, and nothing of stations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from google.protobuf.message import DecodeError

from lineside.v1 import sparkplug_pb2 as pb

Value = int | float | bool | str | None


class DataType(IntEnum):
    """The types of Sparkplug's list that this device speaks."""

    INT32 = 3
    INT64 = 4
    UINT32 = 7
    UINT64 = 8
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13


_WIDTH = {DataType.INT32: 32, DataType.UINT32: 32}
_SIGNED = {DataType.INT32, DataType.INT64}


class BadPayload(ValueError):
    """Bytes that are not what they should be; the message says how."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A named value, or None. `at_ms`: when it came about, in milliseconds since 1970, UTC."""

    name: str
    datatype: DataType
    value: Value
    at_ms: int


@dataclass(frozen=True, slots=True)
class Written:
    """A metric of a command: by name, alias or both. `value` None: null, absent, or of another type."""

    name: str | None
    alias: int | None
    value: Value


@dataclass(frozen=True, slots=True)
class HostState:
    """What a primary host says of itself; `timestamp` in milliseconds since 1970."""

    online: bool
    timestamp: int


def birth(metrics: Sequence[Metric], aliases: Mapping[str, int], *, seq: int, at_ms: int) -> bytes:
    """NBIRTH or DBIRTH: every metric with name, type and value; an alias where there is one."""
    payload = pb.SparkplugPayload(timestamp=at_ms, seq=seq)
    for metric in metrics:
        written = payload.metrics.add(name=metric.name, timestamp=metric.at_ms, datatype=metric.datatype)
        if metric.name in aliases:
            written.alias = aliases[metric.name]
        _put(written, metric)
    return payload.SerializeToString()


def data(
    metrics: Sequence[Metric],
    aliases: Mapping[str, int],
    *,
    seq: int,
    at_ms: int,
    historical: bool = False,
) -> bytes:
    """NDATA or DDATA: by alias where there is one, and without types."""
    payload = pb.SparkplugPayload(timestamp=at_ms, seq=seq)
    for metric in metrics:
        written = payload.metrics.add(timestamp=metric.at_ms)
        if metric.name in aliases:
            written.alias = aliases[metric.name]
        else:
            written.name = metric.name
        if historical:
            written.is_historical = True
        _put(written, metric)
    return payload.SerializeToString()


def node_death(bd_seq: int, at_ms: int) -> bytes:
    """NDEATH: nothing but which birth has ended."""
    payload = pb.SparkplugPayload(timestamp=at_ms)
    payload.metrics.add(name="bdSeq", timestamp=at_ms, datatype=DataType.INT64, long_value=bd_seq)
    return payload.SerializeToString()


def device_death(*, seq: int, at_ms: int) -> bytes:
    """DDEATH."""
    return pb.SparkplugPayload(timestamp=at_ms, seq=seq).SerializeToString()


def command(content: bytes) -> tuple[Written, ...]:
    """The metrics of NCMD or DCMD. Raises BadPayload."""
    payload = pb.SparkplugPayload()
    try:
        payload.ParseFromString(content)
    except DecodeError as error:
        raise BadPayload("not a Sparkplug payload") from error
    return tuple(
        Written(
            each.name if each.HasField("name") else None,
            each.alias if each.HasField("alias") else None,
            _value(each),
        )
        for each in payload.metrics
    )


def host_state(content: bytes) -> HostState:
    """The payload of STATE. Raises BadPayload."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadPayload("not JSON") from error
    if not isinstance(found, dict):
        raise BadPayload("not a JSON object")
    online, timestamp = found.get("online"), found.get("timestamp")
    if not isinstance(online, bool) or isinstance(timestamp, bool) or not isinstance(timestamp, int):
        raise BadPayload("needs `online`, true or false, and `timestamp`, a whole number")
    return HostState(online, timestamp)


def _put(written: pb.SparkplugMetric, metric: Metric) -> None:
    value = metric.value
    if value is None:
        written.is_null = True
    elif metric.datatype is DataType.BOOLEAN:
        written.boolean_value = bool(value)
    elif metric.datatype is DataType.STRING:
        written.string_value = str(value)
    elif metric.datatype is DataType.DOUBLE:
        written.double_value = float(value)
    else:
        bits = _WIDTH.get(metric.datatype, 64)
        number = int(value)
        if number < 0 and metric.datatype in _SIGNED:
            number += 1 << bits
        if bits == 32:
            written.int_value = number
        else:
            written.long_value = number


def _value(metric: pb.SparkplugMetric) -> Value:
    which = metric.WhichOneof("value")
    if which is None or which == "bytes_value" or metric.is_null:
        return None
    found: int | float | bool | str = getattr(metric, which)
    return found
