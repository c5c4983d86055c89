"""Texts that hold on any machine: no paths of one of ours, and links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT = {
    ".py",
    ".md",
    ".toml",
    ".yaml",
    ".yml",
    ".json",
    ".proto",
    ".html",
    ".js",
    ".css",
    ".txt",
    ".service",
    ".sh",
    "",
}
MACHINE_PATH = re.compile(r"(?<![\w.])/(work|root|Users)/|(?<![\w.])/home/(?!lineside\b)\w+/")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")


def headings(text: str) -> set[str]:
    """The anchors that a Markdown page offers, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_no_file_names_a_folder_of_somebodys_machine(root: Path, files: list[Path]) -> None:
    found = []
    for path in files:
        if path.suffix in TEXT and path.name != "test_texts.py":
            text = (root / path).read_text(errors="ignore")
            found += [f"{path}: {match[0]}" for match in MACHINE_PATH.finditer(text)]
    assert found == []


def test_links_of_the_docs_lead_somewhere(root: Path, files: list[Path]) -> None:
    pages = [path for path in files if path.suffix == ".md"]
    assert pages
    broken = []
    for page in pages:
        for target in LINK.findall(re.sub(r"```.*?```", "", (root / page).read_text(), flags=re.DOTALL)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            place = (root / page).parent / name if name else root / page
            if not place.exists():
                broken.append(f"{page}: {target}")
            elif anchor and place.suffix == ".md" and anchor not in headings(place.read_text()):
                broken.append(f"{page}: {target} (no such heading)")
    assert broken == []


@pytest.mark.parametrize("script", ["run", "make-venv", "system-packages", "torch-source"])
def test_scripts_can_be_run(root: Path, script: str) -> None:
    path = root / ".ci" / script
    assert path.stat().st_mode & 0o111
    assert path.read_text().startswith("#!")
