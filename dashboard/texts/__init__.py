"""Every word a page shows, in every language. A file for each area; a key is of one file only.

A language is added by one more column of the same keys (a test compares them). Placeholders are named; what
is put into them is escaped by the template like any other value.
"""

from __future__ import annotations

from collections.abc import Mapping

from lineside.dashboard.texts import alerts, fleet, manage, people, quality, reviews, station, steering, trace

DEFAULT_LANGUAGE = "en"
PAIRS: tuple[Mapping[str, tuple[str, str]], ...] = (
    alerts.WORDS,
    fleet.WORDS,
    manage.WORDS,
    people.WORDS,
    quality.WORDS,
    reviews.WORDS,
    steering.WORDS,
    trace.WORDS,
)
"""Files that give each key its English and its German side by side."""

LANGUAGES: Mapping[str, Mapping[str, str]] = {
    "en": {**station.ENGLISH, **{key: words[0] for pairs in PAIRS for key, words in pairs.items()}},
    "de": {**station.GERMAN, **{key: words[1] for pairs in PAIRS for key, words in pairs.items()}},
}


def text(language: str, key: str, **values: object) -> str:
    """The words of `key` in `language`, with `values` put in. KeyError for a key that does not exist."""
    return LANGUAGES[language][key].format(**values)
