"""docs/mes.md is true: its calls are of the contract, and its messages parse. Its program: test_client.py."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from google.protobuf import json_format, message_factory

from lineside.v1 import (
    devices_pb2,
    inspections_pb2,
    jobs_pb2,
    recipes_pb2,
    reviews_pb2,
    stations_pb2,
)

PAGE = (Path(__file__).parents[2] / "docs" / "mes.md").read_text()
FILES = (devices_pb2, inspections_pb2, jobs_pb2, recipes_pb2, reviews_pb2, stations_pb2)
METHODS = {
    f"{service.full_name}/{method.name}": method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def commands() -> list[list[str]]:
    """Every `box …` line of the page, as a shell would read it."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    lines = "\n".join(blocks).replace("\\\n", " ")
    found, open_line = [], ""
    for line in lines.splitlines():
        open_line = f"{open_line} {line}" if open_line else line
        try:
            words = shlex.split(open_line, comments=True)
        except ValueError:
            continue  # a quote goes on in the next line
        if words and words[0] == "box":
            found.append(words)
        open_line = ""
    return found


def test_every_call_on_the_page_is_of_the_contract_and_its_message_parses() -> None:
    called = set()
    for words in commands():
        method = words[-1]
        if method == "list":
            continue
        request = message_factory.GetMessageClass(METHODS[method].input_type)()
        if "-d" in words:
            json_format.ParseDict(json.loads(words[words.index("-d") + 1]), request)
        called.add(method.rpartition(".")[2])
    assert called >= {
        "JobService/CreateJob",
        "InspectionService/Inspect",
        "InspectionService/WatchInspections",
        "ReviewService/SubmitReview",
    }
