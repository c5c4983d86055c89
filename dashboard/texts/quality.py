"""Words of the quality page and the shift report."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, tuple[str, str]] = {
    "nav_quality": ("Quality", "Qualität"),
    "quality_title": ("Quality", "Qualität"),
    "quality_of_lot": ("Lot {lot}", "Los {lot}"),
    "quality_from": ("From", "Von"),
    "quality_to": ("To", "Bis"),
    "quality_line": ("Line", "Linie"),
    "quality_shift": ("Shift", "Schicht"),
    "quality_show": ("Show", "Zeigen"),
    "quality_judged": ("Judged", "Beurteilt"),
    "quality_fpy": ("First pass", "Erstausbeute"),
    "quality_ng": ("NG", "NG"),
    "quality_review": ("Review", "Prüfen"),
    "quality_passed_bad": ("Bad among those passed", "Schlecht unter den Bestandenen"),
    "quality_escape": ("Escape rate", "Schlupf"),
    "quality_overkill": ("Overkill", "Pseudoausschuss"),
    "quality_interval": ("{share} % ({low}–{high})", "{share} % ({low}–{high})"),
    "quality_n": ("n = {n}", "n = {n}"),
    "quality_n_reviewed": ("n = {n} reviewed", "n = {n} geprüft"),
    "quality_not_told": ("not to be told yet", "noch nicht zu sagen"),
    "quality_escape_why": (
        "A rate from unreviewed production is not an escape rate. OK parts count here only where they were drawn by chance and settled by people; NG and undecided parts where people settled them.",
        "Eine Rate aus ungeprüfter Fertigung ist kein Schlupf. OK-Teile zählen hier nur, wenn sie zufällig gezogen und von Menschen entschieden wurden; NG und nicht entschiedene, wenn Menschen sie entschieden.",
    ),
    "quality_reviewed_how": (
        "Settled by people: {ok} of {ok_n} OK, {ng} of {ng_n} NG, {nd} of {nd_n} not decided; {cannot} could not be told.",
        "Von Menschen entschieden: {ok} von {ok_n} OK, {ng} von {ng_n} NG, {nd} von {nd_n} nicht entschiedenen; {cannot} waren nicht erkennbar.",
    ),
    "quality_intervals": (
        "Intervals 95 %: Wilson for counted rates, Clopper-Pearson for reviewed ones.",
        "Intervalle 95 %: Wilson für gezählte Raten, Clopper-Pearson für geprüfte.",
    ),
    "quality_pareto": ("Defects", "Fehler"),
    "quality_pareto_words": (
        "Defects, most frequent first, with running share: {told}",
        "Fehler, häufigste zuerst, mit laufendem Anteil: {told}",
    ),
    "quality_no_defects": ("No defect was named in this time.", "In dieser Zeit wurde kein Fehler genannt."),
    "quality_more_labels": ("and {n} more, in the numbers", "und {n} weitere, in den Zahlen"),
    "quality_chart_ng": ("NG share", "NG-Anteil"),
    "quality_chart_review": ("Review share", "Prüf-Anteil"),
    "quality_by_hour": ("by the hour", "je Stunde"),
    "quality_by_shift": ("by the shift", "je Schicht"),
    "quality_chart_words": (
        "p-chart of {n} points around {centre} %; {broken} break a rule",
        "p-Karte aus {n} Punkten um {centre} %; {broken} verletzen eine Regel",
    ),
    "quality_centre": ("mean {share} %", "Mittel {share} %"),
    "quality_widened": (
        "Shares vary {spread} times more than chance: limits are Laney's p'.",
        "Anteile streuen {spread}-mal stärker als Zufall: Grenzen nach Laney (p').",
    ),
    "quality_limits": (
        "Limits: three standard deviations for each point's own n.",
        "Grenzen: drei Standardabweichungen je Punkt, nach seinem n.",
    ),
    "quality_rules": (
        "Squares break a rule: 1 beyond a limit · 2 nine on one side · 3 six rising or falling · 4 fourteen up and down · 5 two of three beyond 2σ · 6 four of five beyond 1σ",
        "Quadrate verletzen eine Regel: 1 außerhalb · 2 neun auf einer Seite · 3 sechs steigend oder fallend · 4 vierzehn im Wechsel · 5 zwei von drei jenseits 2σ · 6 vier von fünf jenseits 1σ",
    ),
    "quality_few": (
        "Too few points for a chart: choose a longer time.",
        "Zu wenige Punkte für eine Karte: bitte längere Zeit wählen.",
    ),
    "quality_lot_no_chart": (
        "A lot is one group: its rates stand above, its stations below.",
        "Ein Los ist eine Gruppe: Raten oben, Stationen unten.",
    ),
    "quality_numbers": ("The numbers", "Die Zahlen"),
    "quality_began": ("Began", "Begann"),
    "quality_rule": ("Rule", "Regel"),
    "quality_cumulative": ("Running", "Laufend"),
    "quality_share": ("Share", "Anteil"),
    "quality_low": ("Lower", "Untere"),
    "quality_high": ("Upper", "Obere"),
    "quality_by": ("By", "Nach"),
    "quality_by_shift_word": ("shift", "Schicht"),
    "quality_by_station_word": ("station", "Station"),
    "quality_by_line_word": ("line", "Linie"),
    "quality_by_lot_word": ("lot", "Los"),
    "quality_rows_left_out": (
        "The greatest shares of NG first; {n} more are not listed.",
        "Größte NG-Anteile zuerst; {n} weitere sind nicht aufgeführt.",
    ),
    "quality_empty": ("Nothing was judged in this time", "In dieser Zeit wurde nichts beurteilt"),
    "quality_empty_hint": (
        "Choose another time, or all lines.",
        "Bitte andere Zeit wählen, oder alle Linien.",
    ),
    "quality_all": ("Show the last seven days", "Die letzten sieben Tage zeigen"),
    "quality_report": ("Shift report", "Schichtbericht"),
    "quality_parts": ("parts", "Teile"),
    "report_top": ("Top five defects", "Die fünf häufigsten Fehler"),
    "report_stations": ("Stations", "Stationen"),
    "report_made": ("Made {at} by {who}", "Erstellt {at} von {who}"),
    "report_changes": ("Changes in this shift", "Änderungen in dieser Schicht"),
    "report_no_changes": (
        "No recipe or engine began within the shift.",
        "Kein Rezept und keine Engine begann innerhalb der Schicht.",
    ),
    "report_handover": ("Hand-over", "Übergabe"),
    "report_signed": ("Name, time", "Name, Zeit"),
}
