"""Tables of every key of a settings or recipe file, made from the models that check them.

`python -m lineside.daemon.keytable settings docs/configuration.md` and `… recipe docs/recipes.md` write what
stands between the markers of these pages; a test holds the two together.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lineside.daemon.recipes.schema import Recipe
from lineside.daemon.settings import Settings

BEGIN, END = "<!-- keys: made by `python -m lineside.daemon.keytable` -->", "<!-- end of keys -->"
FILES: dict[str, type[BaseModel]] = {"settings": Settings, "recipe": Recipe}
Schema = Mapping[str, Any]


def key_table(model: type[BaseModel]) -> str:
    """A Markdown table: key path, what it may be, its default, what it means."""
    schema = model.model_json_schema()
    rows = "\n".join(_rows(schema, schema.get("$defs", {}), ""))
    return f"| key | value | default | meaning |\n| --- | --- | --- | --- |\n{rows}"


def _rows(schema: Schema, definitions: Mapping[str, Schema], path: str) -> Iterator[str]:
    required = set(schema.get("required", ()))
    for name, entry in schema.get("properties", {}).items():
        here = f"{path}{name}"
        default = "required" if name in required else _code(entry.get("default", "–"))
        meaning = str(entry.get("description", "")).replace("|", "\\|")
        inner = list(_objects(entry, definitions))
        kind = "a section" if inner and not _is_list(entry) else _kind(entry, definitions)
        yield f"| `{here}` | {kind} | {'' if inner and default != 'required' else default} | {meaning} |"
        for one in inner:
            tag = _tag(one)
            joined = f"{here}[{tag}]" if _is_list(entry) else f"{here}({tag})" if tag else here
            yield from _rows(one, definitions, f"{joined}.")


def _is_list(entry: Schema) -> bool:
    return entry.get("type") == "array" or any(_is_list(one) for one in entry.get("anyOf", ()))


def _objects(entry: Schema, definitions: Mapping[str, Schema]) -> Iterator[Schema]:
    """The sections a key may hold: one, or one for each kind."""
    if "$ref" in entry:
        target = definitions[str(entry["$ref"]).rpartition("/")[2]]
        if "properties" in target:
            yield target
        return
    if isinstance(entry.get("items"), Mapping):
        yield from _objects(entry["items"], definitions)
    for one in (*entry.get("anyOf", ()), *entry.get("oneOf", ()), *entry.get("allOf", ())):
        yield from _objects(one, definitions)


def _tag(schema: Schema) -> str:
    """What tells the kinds of a section apart, such as `kind: file`."""
    kind = schema.get("properties", {}).get("kind", {})
    return str(kind["const"]) if "const" in kind else ""


def _kind(entry: Schema, definitions: Mapping[str, Schema]) -> str:
    if "const" in entry:
        return _code(entry["const"])
    if "enum" in entry:
        return ", ".join(_code(value) for value in entry["enum"])
    if "$ref" in entry:
        return _kind(definitions[str(entry["$ref"]).rpartition("/")[2]], definitions)
    choices = [*entry.get("anyOf", ()), *entry.get("oneOf", ())]
    if choices:
        return " or ".join(dict.fromkeys(_kind(one, definitions) for one in choices))
    if entry.get("type") == "array":
        return "a list"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    named = words.get(str(entry.get("type")), "null" if entry.get("type") == "null" else "a section")
    return f"{named}{_bounds(entry)}"


def _bounds(entry: Schema) -> str:
    low = entry.get("minimum", entry.get("exclusiveMinimum"))
    high = entry.get("maximum", entry.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f", {low:g} to {high:g}"
    if low is not None:
        return f", {'above' if 'exclusiveMinimum' in entry else 'at least'} {low:g}"
    return f", at most {high:g}" if high is not None else ""


def _code(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`" if text not in ("–", "") else text


def between_markers(page: str) -> str:
    """The table as a page has it. Raises ValueError: the page has no markers."""
    return page[page.index(BEGIN) + len(BEGIN) : page.index(END)].strip()


def main() -> None:
    """Writes one page's table anew."""
    if len(sys.argv) != 3 or sys.argv[1] not in FILES:
        raise SystemExit(f"usage: python -m lineside.daemon.keytable {'|'.join(FILES)} PAGE")
    path = Path(sys.argv[2])
    page = path.read_text()
    before, after = page[: page.index(BEGIN) + len(BEGIN)], page[page.index(END) :]
    path.write_text(f"{before}\n{key_table(FILES[sys.argv[1]])}\n{after}")


if __name__ == "__main__":
    main()
