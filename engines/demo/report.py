"""The evaluation's numbers as a page a person reads. Knows Markdown; does not measure anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def _percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f} %"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return [*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows), ""]


def _confusion(table: Mapping[str, Mapping[str, int]]) -> list[str]:
    answers = sorted({given for row in table.values() for given in row} | set(table))
    rows = [
        [
            f"**{right}**",
            *(row.get(given, 0) or "·" for given in answers),
            _percent(row.get(right, 0) / max(1, sum(row.values()))),
        ]
        for right, row in table.items()
    ]
    return _table(["is \\ said", *answers, "right"], rows)


def _in_scope(found: Mapping[str, Any]) -> list[str]:
    lines = ["## Parts of the station as commissioned", ""]
    lines += _table(
        [
            "question",
            "crops",
            "whole answers right",
            "calibration error",
            "abstains",
            "wrong and decided",
            "ms",
        ],
        [
            [
                name,
                q["crops"],
                _percent(q["accuracy"]),
                f"{q['ece']:.4f}",
                _percent(q["abstention"]),
                _percent(q["wrong_and_decided"]),
                f"{q['milliseconds_median']:.1f}",
            ]
            for name, q in found.items()
        ],
    )
    for name, q in found.items():
        if "character_accuracy" in q:
            lines += [f"Characters of codes read right: {_percent(q['character_accuracy'], 3)}.", ""]
        if "confusion" in q:
            lines += [f"### {name}", "", *_confusion(q["confusion"])]
        if "by_severity" in q:
            rows = [[k, v["crops"], _percent(v["accuracy"])] for k, v in q["by_severity"].items()]
            lines += _table(["defect by severity (quarter 1 is at the floor)", "crops", "right"], rows)
    return lines


def _verdicts(found: Mapping[str, Any]) -> list[str]:
    lines = ["## Whole parts: escapes and overkill against review", ""]
    lines += [
        f"{found['parts']} parts, {found['good']} good and {found['bad']} bad, most bad ones with one fault.",
        "",
    ]
    return lines + _table(
        ["sent to review", "escapes", "of bad parts", "overkill", "of good parts"],
        [
            [
                _percent(row["review"], 1),
                row["escapes"],
                _percent(row["escape_rate"], 3),
                row["overkill"],
                _percent(row["overkill_rate"], 3),
            ]
            for row in found["review_curve"]
        ],
    )


def _out_of_scope(found: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Conditions it was not trained on",
        "",
        "Here it should abstain. Some answers are right all the same.",
        "",
    ]
    return lines + _table(
        ["condition", "question", "abstains", "unfamiliar", "answers right", "wrong and decided"],
        [
            [
                condition,
                name,
                _percent(q["abstention"], 1),
                _percent(q["unfamiliar"], 1),
                _percent(q["accuracy"], 1),
                _percent(q["wrong_and_decided"], 1),
            ]
            for condition, questions in found.items()
            for name, q in questions.items()
        ],
    )


def markdown(report: Mapping[str, Any]) -> str:
    """The whole page."""
    engine = report["engine"]
    lines = [
        "# The demo engine, measured",
        "",
        f"{engine['name']} {engine['version']} on {engine['runtime']}; parts from seed {report['seed']}, "
        f"never trained on. It abstains below confidence {report['minimum_confidence']} or when a crop is "
        "unfamiliar. Classes are drawn about equally often and faint defects are favoured: these are "
        "harder parts than a line's.",
        "",
        *_in_scope(report["in_scope"]),
        *_verdicts(report["verdicts"]),
        *_out_of_scope(report["out_of_scope"]),
    ]
    return "\n".join(lines).rstrip() + "\n"
