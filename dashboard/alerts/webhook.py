"""Tells a program of an alert by POST, signed. No redirect is followed; 2xx is the only yes.

Idempotency-Key: the message's, the same however often it is sent
X-Lineside-Timestamp: seconds since 1970
X-Lineside-Signature: sha256=HEX, the HMAC-SHA256 of "TIMESTAMP." and the body by the shared secret
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

from lineside.dashboard.alerts.channels import Webhook, read_secret

PATIENCE_S = 15.0


class NotDelivered(Exception):
    """A message did not arrive, as far as is known; the message says why, without secrets."""


def post(hook: Webhook, key: str, message: Mapping[str, object], at: datetime) -> None:
    """Sends one message. Raises NotDelivered, RefusedConfiguration (the secret's file)."""
    body = json.dumps({"id": key, **message}, ensure_ascii=False).encode()
    timestamp = str(int(at.timestamp()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "lineside-dashboard",
        "Idempotency-Key": key,
        "X-Lineside-Timestamp": timestamp,
        "X-Lineside-Signature": f"sha256={signature(read_secret(hook.secret_file), timestamp, body)}",
    }
    parts = urlsplit(hook.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.hostname or ""
    try:
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=str(hook.authority) if hook.authority else None)
            connection = http.client.HTTPSConnection(host, parts.port, timeout=PATIENCE_S, context=context)
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=PATIENCE_S)
        try:
            connection.request("POST", target, body, headers)
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise NotDelivered(f"{host} cannot be reached: {error or type(error).__name__}") from None
    if not 200 <= status < 300:
        raise NotDelivered(f"{host} answered {status}")


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """What signs a body: hex of the HMAC-SHA256."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
