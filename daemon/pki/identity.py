"""Who a certificate is for: one URI among its subject's alternative names. Knows no file and no connection.

    spiffe://{fleet}/lineside/{role}/{name}

`role` is viewer, operator, engineer or admin for people and programs, device for an appliance, and service
for the fleet's own server. Only the first four may call a device; a certificate without such a name may
call nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_URI = re.compile(rf"spiffe://(?P<fleet>{_WORD.pattern})/lineside/(?P<role>[a-z]+)/(?P<name>{_WORD.pattern})")


class BadIdentity(ValueError):
    """A word or a certificate that names nobody; the message says what is wrong."""


class Role(StrEnum):
    """What somebody may do: each may do what those before may. The order is that of the definition."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ENGINEER = "engineer"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        """Whether this role is enough where `needed` is asked for."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


DEVICE = "device"
SERVICE = "service"
KINDS = (*(role.value for role in Role), DEVICE, SERVICE)


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody of a fleet. `kind` is one of KINDS."""

    fleet: str
    kind: str
    name: str

    def __post_init__(self) -> None:
        """Raises BadIdentity for words that cannot stand in the URI."""
        if self.kind not in KINDS:
            raise BadIdentity(f"'{self.kind}' is no role: there are {', '.join(KINDS)}")
        for word, what in ((self.fleet, "fleet"), (self.name, "name")):
            if not _WORD.fullmatch(word):
                raise BadIdentity(
                    f"'{word}' is no {what}: 1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first"
                )

    @property
    def role(self) -> Role | None:
        """The role; None for a device or a service, which may call nothing."""
        return Role(self.kind) if self.kind in set(Role) else None

    @property
    def uri(self) -> str:
        """As it stands in a certificate."""
        return f"spiffe://{self.fleet}/lineside/{self.kind}/{self.name}"


def parse_identity(uri: str) -> Identity:
    """An identity from its URI. Raises BadIdentity."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise BadIdentity(f"'{uri}' is not of the form spiffe://{{fleet}}/lineside/{{role}}/{{name}}")
    return Identity(match["fleet"], match["role"], match["name"])


def identity_of(certificate: x509.Certificate) -> Identity:
    """The one identity in a certificate.

    Raises:
        BadIdentity: it has none, or more than one, which would leave open which of them counts.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise BadIdentity("the certificate has no alternative names, hence no identity") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise BadIdentity(f"the certificate has {len(uris)} URIs among its names, and must have one")
    return parse_identity(uris[0])
