"""Words of the review queue."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, tuple[str, str]] = {
    "nav_review": ("Review", "Prüfen"),
    "review_title": ("Review queue", "Prüfliste"),
    "review_first": ("Waiting", "Wartet"),
    "review_second": ("Second reader", "Zweitleser"),
    "review_disputed": ("Disagreements", "Uneinig"),
    "review_show": ("Show", "Zeigen"),
    "review_all": ("all", "alle"),
    "review_NOT_DECIDABLE": ("not decided", "nicht entschieden"),
    "review_NOT_OK": ("NG", "NG"),
    "review_sample": ("sample of OK", "OK-Stichprobe"),
    "review_this": ("This part", "Dieses Teil"),
    "review_golden": ("Golden part", "Musterteil"),
    "review_last_ok": (
        "Last OK part of this station (no golden part of {recipe} yet)",
        "Letztes OK-Teil dieser Station (noch kein Musterteil von {recipe})",
    ),
    "review_no_golden": (
        "No golden part of {recipe} yet, and no OK part before this one.",
        "Noch kein Musterteil von {recipe} und kein OK-Teil vor diesem.",
    ),
    "review_asked": ("Asked", "Gefragt"),
    "review_it_said": ("It said", "Antwort"),
    "review_sampled": ("Drawn by chance from the OK parts", "Zufällig aus den OK-Teilen gezogen"),
    "review_second_hint": (
        "You are the second reader. What the first one said is not shown.",
        "Sie lesen als Zweite. Was zuerst gesagt wurde, wird nicht gezeigt.",
    ),
    "review_disputed_hint": (
        "Two readers differ: an engineer settles it.",
        "Zwei Leser sind uneinig: ein Ingenieur entscheidet.",
    ),
    "review_readings": ("What was decided", "Was entschieden wurde"),
    "review_decide": ("Your decision", "Ihre Entscheidung"),
    "review_ng_other": ("NG", "NG"),
    "review_cannot_tell": ("Cannot tell", "Nicht erkennbar"),
    "review_skip": ("Skip", "Später"),
    "review_undo": ("Undo", "Zurücknehmen"),
    "review_note": ("Note", "Notiz"),
    "review_make_golden": ("Keep as golden", "Als Muster behalten"),
    "review_last": ("Last: {part}", "Zuletzt: {part}"),
    "review_skipped": ("skipped by you", "von Ihnen zurückgestellt"),
    "review_waits_for": ("waiting {age}", "wartet seit {age}"),
    "review_ahead": ("Next", "Als Nächstes"),
    "review_done": ("Nothing waits for you", "Nichts wartet auf Sie"),
    "review_done_hint": (
        "NG, undecided parts and a sample of the OK parts come here by themselves.",
        "NG, nicht entschiedene Teile und eine Stichprobe der OK-Teile kommen von selbst hierher.",
    ),
    "review_to_second": ("{n} parts want a second reader", "{n} Teile brauchen einen Zweitleser"),
    "review_to_disputed": ("{n} disagreements to settle", "{n} Uneinigkeiten zu entscheiden"),
    "review_decided_already": (
        "Decided already. Another decision counts as a second reading.",
        "Schon entschieden. Eine weitere Entscheidung zählt als Zweitlesung.",
    ),
    "review_gone": (
        "This picture is gone: its time of keeping on the device is over.",
        "Dieses Bild ist fort: seine Aufbewahrung auf dem Gerät ist vorbei.",
    ),
    "review_away": (
        "The device does not answer: the picture comes when it is back.",
        "Das Gerät antwortet nicht: das Bild kommt, wenn es wieder da ist.",
    ),
    "review_failed": (
        "Not kept: the dashboard does not answer. Your decision was not taken; try again.",
        "Nicht gespeichert: das Dashboard antwortet nicht. Die Entscheidung gilt nicht; bitte noch einmal.",
    ),
    "review_nothing_to_undo": (
        "Nothing to undo: only your own decisions of the last 30 minutes.",
        "Nichts zurückzunehmen: nur eigene Entscheidungen der letzten 30 Minuten.",
    ),
    "review_engineer_only": (
        "Two people have read this part: only an engineer may decide it now.",
        "Zwei haben dieses Teil gelesen: nur ein Ingenieur darf es noch entscheiden.",
    ),
    "review_share_refused": (
        "Not changed: a share lies between 0 and 100 %.",
        "Nicht geändert: ein Anteil liegt zwischen 0 und 100 %.",
    ),
    "review_settings": ("Sampling", "Stichprobe"),
    "review_sample_percent": ("OK parts to review, %", "OK-Teile zur Prüfung, %"),
    "review_second_percent": ("Read twice by chance, %", "Zufällig doppelt gelesen, %"),
    "review_second_reader": (
        "Second reader where a person contradicts the device",
        "Zweitleser, wo ein Mensch dem Gerät widerspricht",
    ),
    "review_save": ("Save", "Speichern"),
    "review_from_now": (
        "Counts for parts judged from now on.",
        "Gilt für Teile, die von jetzt an beurteilt werden.",
    ),
    "golden_kept": ("Kept as a golden part.", "Als Musterteil behalten."),
    "golden_not_settled": (
        "Not kept: only a part that is settled as OK or NG can be golden.",
        "Nicht behalten: nur ein als OK oder NG entschiedenes Teil kann Muster sein.",
    ),
    "golden_no_picture": (
        "Not kept: the device does not give this part's picture.",
        "Nicht behalten: das Gerät gibt das Bild dieses Teils nicht her.",
    ),
    "golden_full": (
        "Not kept: this recipe has 500 golden parts already.",
        "Nicht behalten: dieses Rezept hat schon 500 Musterteile.",
    ),
    "golden_too_large": (
        "Not kept: the picture is larger than 4 MiB.",
        "Nicht behalten: das Bild ist größer als 4 MiB.",
    ),
    "review_keys_next": ("next part, and the one before", "nächstes Teil, und das davor"),
    "review_key_label": ("NG, with the defect of that number", "NG, mit dem Fehler dieser Nummer"),
    "review_pace": ("{n} left · {s} s a part", "noch {n} · {s} s je Teil"),
    "review_left": ("{n} left", "noch {n}"),
}
