"""Words of the pages for those who manage: users, audit, enrolment, settings."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, tuple[str, str]] = {
    "nav_users": ("Users", "Benutzer"),
    "nav_audit": ("Audit", "Protokoll"),
    "nav_enrolment": ("Enrolment", "Aufnahme"),
    "nav_settings": ("Settings", "Einstellungen"),
    "users_title": ("Users", "Benutzer"),
    "users_all": ("All users", "Alle Benutzer"),
    "user_active": ("may come in", "darf herein"),
    "user_disabled": ("shut out", "ausgesperrt"),
    "user_last_in": ("Last signed in", "Zuletzt angemeldet"),
    "user_browsers": ("Browsers signed in", "Angemeldete Browser"),
    "user_has_password": ("has one", "hat eines"),
    "user_no_password": ("none: comes in by link", "keines: kommt über einen Link herein"),
    "user_add": ("Add a user", "Benutzer anlegen"),
    "user_add_hint": (
        "They get a link that signs in once, within twelve hours.",
        "Sie bekommen einen Link, der einmal anmeldet, innerhalb von zwölf Stunden.",
    ),
    "user_link": ("Make a sign-in link", "Anmeldelink machen"),
    "user_link_hint": (
        "Hand this link to {name} like a password. It signs in once, within twelve hours, and is not shown again.",
        "Diesen Link wie ein Passwort an {name} geben. Er meldet einmal an, binnen zwölf Stunden, und wird nicht noch einmal gezeigt.",
    ),
    "user_sign_out": ("Sign out everywhere", "Überall abmelden"),
    "user_disable": ("Shut out", "Aussperren"),
    "user_enable": ("Let in again", "Wieder hereinlassen"),
    "user_disable_hint": (
        "Who is shut out is signed out everywhere at once, open pages included. The name stays, for the audit.",
        "Wer ausgesperrt wird, ist sofort überall abgemeldet, auch auf offenen Seiten. Der Name bleibt, für das Protokoll.",
    ),
    "user_lines": ("Another role on one line", "Andere Rolle auf einer Linie"),
    "user_line": ("Line", "Linie"),
    "user_line_role": ("Role on this line", "Rolle auf dieser Linie"),
    "user_line_set": ("Set", "Setzen"),
    "user_line_back": ("As elsewhere", "Wie sonst"),
    "user_line_back_of": ("As elsewhere on {line}", "Wie sonst auf {line}"),
    "user_no_lines": ("No device has named its line yet.", "Noch hat kein Gerät seine Linie genannt."),
    "role_lines_only": ("none but on named lines", "keine außer auf genannten Linien"),
    "audit_title": ("Who changed what", "Wer was geändert hat"),
    "audit_verify": ("Verify the chain", "Kette prüfen"),
    "audit_whole": (
        "Whole: {n} rows, each sealed by the next",
        "Unversehrt: {n} Zeilen, jede von der nächsten besiegelt",
    ),
    "audit_broken": ("Broken at row {n}", "Gebrochen bei Zeile {n}"),
    "audit_broken_hint": (
        "From this row on the audit is not what was written. Keep the database as it is, and compare it with a backup.",
        "Ab dieser Zeile ist das Protokoll nicht mehr, was geschrieben wurde. Die Datenbank so lassen und mit einer Sicherung vergleichen.",
    ),
    "audit_at": ("When", "Wann"),
    "audit_who": ("Who", "Wer"),
    "audit_action": ("What", "Was"),
    "audit_subject": ("About", "Woran"),
    "audit_detail": ("Detail", "Näheres"),
    "audit_hash": ("Hash", "Hash"),
    "audit_none": ("No row fits.", "Keine Zeile passt."),
}
