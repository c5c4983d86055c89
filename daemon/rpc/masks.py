"""Read masks (AIP-157): only the fields that a caller asks for. Pure."""

from __future__ import annotations

from google.protobuf import field_mask_pb2

from lineside.daemon.rpc.errors import bad_field
from lineside.v1 import results_pb2

MOST_PATHS = 64


def checked_mask(mask: field_mask_pb2.FieldMask) -> field_mask_pb2.FieldMask | None:
    """The mask as given; None when all fields are wanted. Raises RpcFault for fields there are not."""
    if not mask.paths:
        return None
    if len(mask.paths) > MOST_PATHS or not mask.IsValidForDescriptor(results_pb2.Inspection.DESCRIPTOR):
        raise bad_field("read_mask", "names a field that an Inspection does not have, or too many")
    return mask


def masked(
    inspection: results_pb2.Inspection, mask: field_mask_pb2.FieldMask | None
) -> results_pb2.Inspection:
    """The inspection with the fields that the mask names."""
    if mask is None:
        return inspection
    wanted = results_pb2.Inspection()
    mask.MergeMessage(inspection, wanted)
    return wanted
