"""What the settings say about who may come in: the device's certificate, and gRPC's options."""

from __future__ import annotations

from contextlib import ExitStack

import structlog

from lineside.daemon.clock import Clock
from lineside.daemon.pki.device import DeviceKeys
from lineside.daemon.pki.files import PkiError
from lineside.daemon.pki.identity import Role
from lineside.daemon.pki.renewal import Renewal
from lineside.daemon.rpc.options import RpcOptions, TlsFiles
from lineside.daemon.settings import Settings

LOG = structlog.get_logger("admission")


def keep_certificates(settings: Settings, clock: Clock, stack: ExitStack) -> None:
    """The device's key and request at the first start, and a thread that renews its certificate in time.

    A folder that cannot be written costs the key, never the line: parts are judged without one.
    """
    keys = DeviceKeys.under(settings.device.data_dir, settings.device.id)
    try:
        if keys.ensure():
            LOG.info("the device has a key now", request=str(keys.request))
    except (PkiError, OSError) as error:
        LOG.error("the device has no key it could use", because=str(error))
    renewal = Renewal(keys, clock)
    renewal.open()
    stack.callback(renewal.close)


def rpc_options(settings: Settings) -> RpcOptions:
    """What the gRPC server is told, from the settings file."""
    grpc, tls = settings.grpc, None
    if grpc.tls is not None:
        keys = DeviceKeys.under(settings.device.data_dir, settings.device.id)
        tls = TlsFiles(
            grpc.tls.certificate or keys.certificate,
            grpc.tls.key or keys.key,
            grpc.tls.client_ca or keys.authority,
        )
    return RpcOptions(
        address=grpc.listen,
        tls=tls,
        local_address=grpc.local_listen,
        local_role=Role(grpc.local_role),
        rate_per_s=grpc.calls_per_s,
        rate_burst=2 * grpc.calls_per_s,
    )
