"""Words of the fleet page and of the frame around every page."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, tuple[str, str]] = {
    "nav": ("Pages", "Seiten"),
    "nav_fleet": ("Fleet", "Flotte"),
    "search": ("Search", "Suchen"),
    "search_hint": ("station, device, line", "Station, Gerät, Linie"),
    "fleet_title": ("Fleet", "Flotte"),
    "attention": ("Needs attention", "Braucht Aufmerksamkeit"),
    "attention_none": ("Nothing needs attention.", "Nichts braucht Aufmerksamkeit."),
    "attention_more": ("and {n} more", "und {n} weitere"),
    "all_lines": ("All lines", "Alle Linien"),
    "lines": ("Lines", "Linien"),
    "no_line": ("no line named", "ohne Linie"),
    "labels": ("Labels", "Gruppen"),
    "stations_n": ("{n} stations", "{n} Stationen"),
    "drift_show": ("Show devices instead of verdicts", "Geräte statt Urteile zeigen"),
    "drift_hide": ("Show verdicts instead of devices", "Urteile statt Geräte zeigen"),
    "last_60": ("Last 60 verdicts", "Letzte 60 Urteile"),
    "strip_words": (
        "{n} verdicts: {ok} OK, {ng} NG, {review} Review",
        "{n} Urteile: {ok} OK, {ng} NG, {review} Prüfen",
    ),
    "fpy": ("First pass", "Erstausbeute"),
    "fpy_hint": (
        "Parts judged OK at once, of all judged today, with the 95 % interval",
        "Sofort als OK beurteilte Teile, von allen heute beurteilten, mit 95-%-Intervall",
    ),
    "waiting_review": ("Waiting", "Wartet"),
    "recipe_engine": ("Recipe · engine", "Rezept · Engine"),
    "differs": ("differs from the rest", "weicht von den übrigen ab"),
    "outbox": ("Outbox", "Ausgang"),
    "outbox_depth": ("{n}, oldest {age}", "{n}, ältestes {age}"),
    "disk_free": ("Disk free", "Platte frei"),
    "gigabytes": ("{n} GB", "{n} GB"),
    "temperature": ("Temperature", "Temperatur"),
    "celsius": ("{n} °C", "{n} °C"),
    "certificate": ("Certificate", "Zertifikat"),
    "software": ("Software", "Software"),
    "not_told": ("not told", "nicht gemeldet"),
    "no_word_for": ("No word for {age}", "Keine Nachricht seit {age}"),
    "last_known": ("last engine {engine}, outbox unknown", "zuletzt Engine {engine}, Ausgang unbekannt"),
    "concern_never": ("Not heard yet", "Noch nicht gehört"),
    "concern_silent": ("No word for {value}", "Keine Nachricht seit {value}"),
    "concern_ng": ("NG {value} of the last {n}", "NG {value} der letzten {n}"),
    "concern_not_ready": ("Not ready", "Nicht bereit"),
    "concern_waiting": ("{value} waiting for review", "{value} warten auf Prüfung"),
    "concern_outbox": ("Results not delivered for {value}", "Ergebnisse seit {value} nicht zugestellt"),
    "concern_disk": ("Disk nearly full: {value} GB free", "Platte fast voll: {value} GB frei"),
    "concern_hot": ("Hot: {value} °C", "Heiß: {value} °C"),
    "concern_certificate": ("Certificate ends in {value}", "Zertifikat endet in {value}"),
    "concern_clock": ("Clock not synchronised", "Uhr nicht synchronisiert"),
    "oldest": ("oldest {age}", "ältestes {age}"),
    "fleet_empty": ("No device yet", "Noch kein Gerät"),
    "fleet_empty_hint": (
        "Name one at the start: lineside dashboard --device HOST:PORT, or the plant's broker with --mqtt HOST:PORT; "
        "devices that announce themselves there appear here by themselves.",
        "Beim Start nennen: lineside dashboard --device HOST:PORT, oder den Broker des Werks mit --mqtt HOST:PORT; "
        "Geräte, die sich dort melden, erscheinen hier von selbst.",
    ),
    "fleet_none_found": ("No station fits", "Keine Station passt"),
    "fleet_none_found_hint": (
        "Searched in the names of stations, devices, lines and labels.",
        "Gesucht in den Namen von Stationen, Geräten, Linien und Gruppen.",
    ),
    "show_all": ("Show all stations", "Alle Stationen zeigen"),
    "page_of": ("Page {page} of {pages}", "Seite {page} von {pages}"),
    "page_before": ("Before", "Zurück"),
    "page_after": ("Next", "Weiter"),
    "nobody_follows": (
        "Nobody follows the devices: no device was heard for {age}. What is shown is old.",
        "Niemand folgt den Geräten: seit {age} wurde keines gehört. Das Gezeigte ist alt.",
    ),
    "nobody_follows_mend": (
        "On the dashboard's machine: systemctl status lineside-dashboard, or lineside dashboard follow",
        "Auf der Maschine des Dashboards: systemctl status lineside-dashboard, oder lineside dashboard follow",
    ),
}
