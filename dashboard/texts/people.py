"""Words for coming in, going out, one's own account, and for what is refused."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, tuple[str, str]] = {
    "sign_in": ("Sign in", "Anmelden"),
    "sign_out": ("Sign out", "Abmelden"),
    "user_name": ("Name", "Name"),
    "password": ("Password", "Passwort"),
    "sign_in_wrong": ("Name or password is wrong.", "Name oder Passwort ist falsch."),
    "sign_in_again": (
        "This form was too old. Please sign in once more.",
        "Dieses Formular war zu alt. Bitte noch einmal anmelden.",
    ),
    "sign_in_wait": (
        "Too many failed attempts. Try again in {minutes} min.",
        "Zu viele Fehlversuche. In {minutes} min wieder möglich.",
    ),
    "sign_in_nobody": ("Nobody can sign in yet", "Noch kann sich niemand anmelden"),
    "sign_in_nobody_hint": (
        "There is no default password. On the dashboard's machine, make the first user:",
        "Es gibt kein voreingestelltes Passwort. Auf der Maschine des Dashboards den ersten Benutzer anlegen:",
    ),
    "link_over": ("This link was used, or is over", "Dieser Link wurde benutzt oder ist abgelaufen"),
    "link_over_hint": (
        "A sign-in link works once. Make another one on the dashboard's machine: lineside dashboard user link NAME",
        "Ein Anmeldelink gilt einmal. Auf der Maschine des Dashboards einen neuen machen: lineside dashboard user link NAME",
    ),
    "account": ("Account", "Konto"),
    "signed_in_as": ("Signed in as {name}", "Angemeldet als {name}"),
    "role": ("Role", "Rolle"),
    "role_viewer": ("viewer", "Betrachter"),
    "role_reviewer": ("reviewer", "Prüfer"),
    "role_engineer": ("engineer", "Ingenieur"),
    "role_admin": ("admin", "Verwalter"),
    "role_none": ("none elsewhere", "sonst keine"),
    "role_everywhere": ("On every other line", "Auf jeder anderen Linie"),
    "password_change": ("Change password", "Passwort ändern"),
    "password_present": ("Present password", "Jetziges Passwort"),
    "password_new": ("New password (12 characters or more)", "Neues Passwort (mindestens 12 Zeichen)"),
    "password_again": ("New password again", "Neues Passwort noch einmal"),
    "password_differs": ("The two new passwords differ.", "Die beiden neuen Passwörter sind verschieden."),
    "password_weak": (
        "Not accepted: 12 to 256 characters, more than four different ones, and not your name. A sentence is easiest.",
        "Nicht angenommen: 12 bis 256 Zeichen, mehr als vier verschiedene, nicht der eigene Name. Am leichtesten ist ein Satz.",
    ),
    "password_effect": (
        "Every other browser you are signed in with is signed out.",
        "Jeder andere Browser, in dem Sie angemeldet sind, wird abgemeldet.",
    ),
    "error_401": ("You are not signed in any more", "Sie sind nicht mehr angemeldet"),
    "error_401_hint": ("Sign in again; nothing was changed.", "Bitte neu anmelden; nichts wurde geändert."),
    "error_403": ("You may not do this", "Das dürfen Sie nicht"),
    "error_403_hint": (
        "Your role does not include it. Somebody who manages users can change that.",
        "Ihre Rolle umfasst es nicht. Wer die Benutzer verwaltet, kann das ändern.",
    ),
    "error_429": ("Too many requests", "Zu viele Anfragen"),
    "error_form": ("This form was not ours, or too old", "Dieses Formular war nicht von uns oder zu alt"),
    "error_form_hint": (
        "Nothing was changed. Go back, load the page anew and try again.",
        "Nichts wurde geändert. Zurückgehen, die Seite neu laden und noch einmal versuchen.",
    ),
}
