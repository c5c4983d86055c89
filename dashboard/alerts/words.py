"""An alert in words, for pages and messages alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lineside.dashboard.present import Presenter

DIGITS = {"disk": 1, "review_rate": 1}


def headline(shown: Presenter, rule: str, value: float | None) -> str:
    """What happened, as `NG 6 times in a row`; a rule newer than this software by its name."""
    key = f"alert_{rule}"
    try:
        amount = shown.number(value, DIGITS.get(rule, 0)) if value is not None else "–"
        return shown.t(key, n=amount)
    except KeyError:
        return rule


def subject(shown: Presenter, event: str, message: Mapping[str, Any]) -> str:
    """The mail's subject: what it is, what happened, where."""
    what = headline(shown, str(message["rule"]), message.get("value"))
    return f"[{shown.t('alert_event_' + event)}] {message['subject']}: {what}"


def body(shown: Presenter, event: str, message: Mapping[str, Any]) -> str:
    """The mail's text."""
    lines = [
        subject(shown, event, message),
        "",
        f"{shown.t('alert_severity')}: {shown.t('severity_' + str(message['severity']))}",
        f"{shown.t('alert_began')}: {shown.moment(datetime.fromisoformat(message['began_at']))}",
    ]
    if message.get("ended_at"):
        lines.append(f"{shown.t('alert_ended')}: {shown.moment(datetime.fromisoformat(message['ended_at']))}")
    place = " / ".join(part for part in message.get("place", ()) if part)
    if place:
        lines.append(f"{shown.t('alert_place')}: {place}")
    if message.get("url"):
        lines += ["", str(message["url"])]
    return "\n".join(lines) + "\n"
