"""Who is let in, by the database: tokens made and used, devices that wait, decisions of people.

A token is for one device and, once used, for one key. Where it asks for approval, the first call only makes
the device wait, and a later one by the same key gets the certificate: a person compares fingerprints between.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from lineside.dashboard.database.alerting_tables import EnrolmentToken
from lineside.dashboard.database.steering_tables import Enrolment, Setting
from lineside.dashboard.enrolment.signing import (
    Authority,
    RefusedRequest,
    alternative,
    key_print,
    read_request,
    word,
)
from lineside.dashboard.people import audit

SERVED = "enrolment"
LONGEST_HOURS = 24 * 30


class NotLetIn(Exception):
    """A device that gets no certificate now. `code` is for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Served:
    """Where devices are let in, as its process wrote it down: what pages need to make tokens."""

    fleet: str
    fingerprint: str
    url: str
    signs: bool


@dataclass(frozen=True, slots=True)
class Admitted:
    """A device that is let in. `certificate`: what was brought for it by hand; empty: sign the request."""

    request: x509.CertificateSigningRequest
    device: str
    names: tuple[str, ...]
    certificate: str


def note_served(session: Session, authority: Authority, url: str, at: datetime) -> None:
    """Writes down where devices are let in."""
    told = {
        "fleet": authority.fleet,
        "fingerprint": authority.fingerprint,
        "url": url,
        "signs": authority.signs,
    }
    row = session.get(Setting, SERVED)
    if row is None:
        session.add(Setting(name=SERVED, value=told, changed_at=at))
    elif row.value != told:
        row.value, row.changed_at = told, at


def served(session: Session) -> Served | None:
    """Where devices are let in; None before that was ever so."""
    row = session.get(Setting, SERVED)
    return Served(**row.value) if row is not None else None


def make_token(
    session: Session,
    where: Served,
    device: str,
    names: Sequence[str],
    hours: int,
    *,
    needs_approval: bool,
    by: str,
    at: datetime,
) -> str:
    """A token that lets one device in. Raises RefusedRequest: a name is none, or the hours are too many."""
    word(device)
    for name in names:
        alternative(name)
    if not 1 <= hours <= LONGEST_HOURS:
        raise RefusedRequest(f"a token holds for 1 to {LONGEST_HOURS} hours")
    secret = secrets.token_hex(16)
    session.add(
        EnrolmentToken(
            token_hash=_hash(secret),
            device=device,
            names=list(names),
            needs_approval=needs_approval,
            made_by=by,
            made_at=at,
            ends_at=at + timedelta(hours=hours),
        )
    )
    detail = {"names": list(names), "hours": hours, "needs_approval": needs_approval}
    audit.note(session, at, by, "enrolment.token", device, detail)
    return f"{where.fingerprint}.{secret}"


def admit(
    session: Session, secret: str, device: str, request_text: str, source: str, at: datetime, *, signs: bool
) -> Admitted | NotLetIn:
    """Whether a device that calls is let in. What is written must be kept also when it is not.

    `signs`: the authority's key is here; otherwise a person must have brought the certificate.

    Raises:
        RefusedRequest: the request is none.
    """
    request = read_request(request_text)
    found = key_print(request)
    token = session.scalars(
        select(EnrolmentToken).where(EnrolmentToken.token_hash == _hash(secret)).with_for_update()
    ).one_or_none()
    if token is None:
        return NotLetIn("TOKEN_REFUSED", "no such token was given out here")
    if token.device != device:
        return NotLetIn("TOKEN_REFUSED", "the token is for another device")
    if token.used_by not in (None, found):
        return NotLetIn("TOKEN_REFUSED", "the token was used by another key already: make a new one")
    if at > token.ends_at:
        return NotLetIn(
            "TOKEN_REFUSED", f"the token ended at {token.ends_at:%Y-%m-%d %H:%M} UTC: make a new one"
        )
    token.used_by = found
    row = session.scalars(select(Enrolment).where(Enrolment.fingerprint == found)).one_or_none()
    if row is None:
        state = "waiting" if token.needs_approval else "approved"
        row = Enrolment(device=device, address=source, fingerprint=found, asked_at=at, state=state)
        session.add(row)
        detail = {"fingerprint": found, "from": source, "state": state}
        audit.note(session, at, f"device {device}", "enrolment.ask", device, detail)
    elif row.device != device:
        return NotLetIn("KEY_REFUSED", f"this key belongs to the device '{row.device}'")
    row.address, row.request = source, request_text
    if row.state == "refused":
        return NotLetIn("REFUSED", "a person has refused this device")
    if row.state == "waiting" and token.needs_approval:
        return NotLetIn(
            "WAITING",
            f"this device waits for a person's approval; its key's fingerprint is {spaced(found)}. "
            "Compare it, approve it on the dashboard, then run the same command again",
        )
    if not signs and not token.certificate:
        return NotLetIn(
            "WAITING", "its certificate has to be signed by the plant's authority first: try again"
        )
    return Admitted(request, device, tuple(token.names), token.certificate)


def decide(
    session: Session, enrolment: int, state: str, user: int, by: str, at: datetime
) -> Enrolment | None:
    """A person's decision about a device that waits: approved or refused. None: there is none of that id."""
    row = session.get(Enrolment, enrolment)
    if row is None:
        return None
    if row.state != state:
        row.state, row.decided_at, row.decided_by = state, at, user
        audit.note(session, at, by, f"enrolment.{state}", row.device, {"fingerprint": row.fingerprint})
    return row


def bring(session: Session, row: Enrolment, chain: str, by: str, at: datetime) -> None:
    """Takes a certificate that was signed elsewhere for a device. Raises RefusedRequest: not for its key."""
    try:
        leaf = x509.load_pem_x509_certificates(chain.encode())[0]
    except ValueError:
        raise RefusedRequest("this is no certificate in PEM form") from None
    if key_print(leaf) != row.fingerprint:
        raise RefusedRequest("this certificate is for another key than the device's")
    token = session.scalars(
        select(EnrolmentToken)
        .where(EnrolmentToken.used_by == row.fingerprint)
        .order_by(EnrolmentToken.made_at.desc())
        .limit(1)
    ).one_or_none()
    if token is None:
        raise RefusedRequest("the device has no token that it could fetch this with: make one")
    token.certificate = chain
    audit.note(session, at, by, "enrolment.certificate", row.device, {"serial": f"{leaf.serial_number:x}"})


def is_refused(session: Session, fingerprint: str) -> bool:
    """Whether a person has refused this key: then it is not renewed either."""
    found = session.scalars(select(Enrolment.state).where(Enrolment.fingerprint == fingerprint)).one_or_none()
    return found == "refused"


def spaced(fingerprint: str) -> str:
    """A fingerprint in groups of four, as a person compares it."""
    return " ".join(fingerprint[i : i + 4] for i in range(0, len(fingerprint), 4))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
