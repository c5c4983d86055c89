"""Who is calling: from the certificate of the connection, never from anything that the client says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import grpc
from cryptography import x509

from lineside.daemon.pki.identity import BadIdentity, Role, identity_of
from lineside.daemon.rpc.errors import RpcFault

LOCAL = "local"
"""The identity of whoever calls over a local socket without TLS: a process of this machine."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who calls. `identity`: the certificate's URI, or `local`."""

    identity: str
    role: Role


class Callers:
    """Recognises callers. `local_role`: what a process of this machine may do without a certificate."""

    def __init__(self, local_role: Role) -> None:
        self._local = Caller(LOCAL, local_role)

    def of(self, context: grpc.ServicerContext) -> Caller:
        """Who calls.

        Raises:
            RpcFault: PERMISSION_DENIED (NO_ROLE): a certificate of the fleet that names nobody who may call.
        """
        # The stubs say one value a key; there are several.
        shown = cast("Mapping[str, Sequence[bytes]]", context.auth_context())
        kind = b"".join(shown.get("transport_security_type", ()))
        # Only loopback and Unix sockets are listened on without TLS (`options.check_address`).
        if kind == b"insecure":
            return self._local
        certificates = shown.get("x509_pem_cert", ())
        if kind != b"ssl" or len(certificates) != 1:
            raise _nobody("the connection shows no certificate")
        try:
            return _caller(bytes(certificates[0]))
        except (BadIdentity, ValueError) as error:
            raise _nobody(str(error)) from error


@lru_cache(maxsize=256)  # a certificate is read once, not at every call
def _caller(pem: bytes) -> Caller:
    identity = identity_of(x509.load_pem_x509_certificate(pem))
    if identity.role is None:
        raise BadIdentity(f"{identity.uri} is not somebody who may call a device")
    return Caller(identity.uri, identity.role)


def _nobody(because: str) -> RpcFault:
    return RpcFault(
        grpc.StatusCode.PERMISSION_DENIED,
        "NO_ROLE",
        f"{because}: have a certificate made with a role (`lineside ca issue NAME --role …`)",
    )
