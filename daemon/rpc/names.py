"""Resource names (AIP-122): written and read in one place. Knows no resource beyond its name."""

from __future__ import annotations

import re

from lineside.daemon.rpc.errors import bad_field, not_found

THIS_DEVICE = "-"
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._~-]{0,126}[A-Za-z0-9])?")


def device_name(device: str) -> str:
    """`devices/{device}`."""
    return f"devices/{device}"


def child_name(device: str, collection: str, child: str) -> str:
    """`devices/{device}/{collection}/{child}`."""
    return f"devices/{device}/{collection}/{child}"


def check_device(name: str, device: str, field: str) -> None:
    """Accepts ``, `devices/-` and `devices/{device}` of this device.

    Raises:
        RpcFault: INVALID_ARGUMENT for another shape, NOT_FOUND for another device.
    """
    if name in {"", device_name(THIS_DEVICE), device_name(device)}:
        return
    parts = name.split("/")
    if len(parts) != 2 or parts[0] != "devices" or not parts[1]:
        raise bad_field(field, f"'{name}' is not of the form devices/{{device}}")
    raise not_found("Device", name, f"this device is '{device_name(device)}', not '{name}'")


def child_id(name: str, collection: str, device: str, field: str) -> str:
    """The last part of `devices/{device}/{collection}/{child}` of this device.

    Raises:
        RpcFault: INVALID_ARGUMENT for another shape, NOT_FOUND for another device.
    """
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != "devices" or parts[2] != collection:
        raise bad_field(field, f"'{name}' is not of the form devices/{{device}}/{collection}/{{id}}")
    check_device("/".join(parts[:2]), device, field)
    bare = parts[3].partition("@")[0] if collection == "recipes" else parts[3]
    if not _ID.fullmatch(bare):
        raise bad_field(
            field,
            f"'{parts[3]}' is not an id: 1 to 128 of A-Z a-z 0-9 . _ ~ -, a letter or digit at both ends",
        )
    return parts[3]
