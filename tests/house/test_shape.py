"""Files that can be read in one go, named for what they hold, that say what they do."""

from __future__ import annotations

import ast
import re
from pathlib import Path

MOST_LINES = 400
BANNED = re.compile(r"(^|_)(utils?|helpers?|managers?|misc|common|stuff)(_|$)")
BANNED_CLASS = re.compile(r"(Utils?|Helpers?|Manager|Misc)$")


def test_no_source_file_is_longer_than_one_can_read(root: Path, sources: list[Path]) -> None:
    lengths = {str(path): len((root / path).read_text().splitlines()) for path in sources}
    assert lengths
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


def test_no_file_or_folder_is_named_for_nothing(files: list[Path]) -> None:
    named_for_nothing = [
        str(path)
        for path in files
        if any(BANNED.search(part.partition(".")[0].lower()) for part in path.parts)
    ]
    assert named_for_nothing == []


def test_no_class_is_named_for_nothing(root: Path, sources: list[Path]) -> None:
    found = [
        f"{path}: {node.name}"
        for path in sources
        for node in ast.walk(ast.parse((root / path).read_text()))
        if isinstance(node, ast.ClassDef) and BANNED_CLASS.search(node.name)
    ]
    assert found == []


def test_every_module_says_what_it_does(root: Path, sources: list[Path]) -> None:
    silent = [str(path) for path in sources if not ast.get_docstring(ast.parse((root / path).read_text()))]
    assert silent == []


def test_every_public_class_and_function_says_what_it_does(root: Path, sources: list[Path]) -> None:
    silent = [
        f"{path}:{node.lineno} {node.name}"
        for path in sources
        for node in ast.parse((root / path).read_text()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_nothing_is_left_to_be_done(root: Path, files: list[Path]) -> None:
    promise = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
    found = [
        f"{path}:{number}"
        for path in files
        if path.suffix in {".py", ".proto", ".sql", ".html", ".js", ".css", ".toml", ".yaml", ".md", ".cu"}
        for number, line in enumerate((root / path).read_text().splitlines(), 1)
        if promise.search(line)
    ]
    assert found == []
