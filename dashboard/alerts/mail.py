"""Tells people of an alert by mail. The Message-ID is the message's own, so that a repeated one is known."""

from __future__ import annotations

import smtplib
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime

from lineside.dashboard.alerts.channels import Mail, read_secret
from lineside.dashboard.alerts.webhook import NotDelivered

PATIENCE_S = 20.0


def compose(mail: Mail, key: str, subject: str, body: str, at: datetime) -> EmailMessage:
    """The mail; equal whenever it is made anew for the same message."""
    made = EmailMessage()
    made["From"], made["To"] = mail.sender, ", ".join(mail.to)
    # What devices call themselves stands in it: a header is one line, whatever they are called.
    made["Subject"] = " ".join(subject.split())
    made["Date"] = format_datetime(at)
    made["Message-ID"] = f"<{key}@lineside>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(body)
    return made


def send(mail: Mail, message: EmailMessage) -> None:
    """Sends one mail. Raises NotDelivered, RefusedConfiguration (the password's file)."""
    host, port = mail.server.host, mail.server.port
    try:
        context = ssl.create_default_context(cafile=str(mail.authority) if mail.authority else None)
        server: smtplib.SMTP
        if mail.security == "tls":
            server = smtplib.SMTP_SSL(host, port, timeout=PATIENCE_S, context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=PATIENCE_S)
        with server:
            if mail.security == "starttls":
                server.starttls(context=context)
            if mail.password_file is not None:
                server.login(mail.user, read_secret(mail.password_file).decode())
            refused = server.send_message(message)
    except smtplib.SMTPAuthenticationError as error:
        raise NotDelivered(f"{host} refuses the user or password ({error.smtp_code})") from None
    except smtplib.SMTPResponseException as error:
        said = (
            error.smtp_error
            if isinstance(error.smtp_error, str)
            else error.smtp_error.decode("utf-8", "replace")
        )
        raise NotDelivered(f"{host} answered {error.smtp_code} {said}"[:300]) from None
    except smtplib.SMTPRecipientsRefused:
        raise NotDelivered(f"{host} refuses every recipient") from None
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        raise NotDelivered(f"{host} cannot be reached: {error or type(error).__name__}"[:300]) from None
    if refused:
        # Some have it: to send it again would give it to them twice. The page shows who has it not.
        raise PartlyDelivered(f"{host} refuses {', '.join(sorted(refused))}"[:300])


class PartlyDelivered(Exception):
    """Some recipients were refused, the others have the mail; the message names those refused."""
