"""Every language says everything, and templates ask for nothing that nobody says."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import lineside.dashboard
from lineside.dashboard.texts import LANGUAGES, PAIRS, station
from lineside.v1 import results_pb2

ENGLISH = LANGUAGES["en"]
TEMPLATES = Path(lineside.dashboard.__file__).parent / "templates"


def placeholders(words: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(words) if name}


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_a_language_has_the_same_keys_and_placeholders(language: str) -> None:
    words = LANGUAGES[language]
    assert set(ENGLISH) == set(words)
    assert {k: placeholders(v) for k, v in ENGLISH.items()} == {k: placeholders(v) for k, v in words.items()}


def test_templates_ask_only_for_words_that_exist() -> None:
    asked = set()
    for template in TEMPLATES.rglob("*.html"):
        asked |= set(re.findall(r"\bt\(['\"](\w+)['\"]\s*[,)]", template.read_text()))
        asked |= set(re.findall(r"p\.(?:before|after)\(['\"](\w+)['\"],", template.read_text()))
    assert len(asked) > 50
    assert set() == asked - set(ENGLISH)


def test_every_reason_code_of_the_contract_has_words() -> None:
    codes = [name.removeprefix("REASON_CODE_") for name in results_pb2.ReasonCode.keys()]  # noqa: SIM118
    assert [c for c in codes if c != "UNSPECIFIED" and f"reason_{c}" not in ENGLISH] == []


def test_no_template_has_a_script_style_or_handler_inline() -> None:
    for template in TEMPLATES.rglob("*.html"):
        text = template.read_text()
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|\|safe|autoescape", text), template
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), template


def test_a_key_is_of_one_file_only() -> None:
    keys = [key for words in (station.ENGLISH, *PAIRS) for key in words]
    assert [key for key in keys if keys.count(key) > 1] == []
