"""What Sparkplug is told: the settings file's section, and what the edge node takes from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

from lineside.daemon.sparkplug.names import Names, check_group, check_id
from lineside.daemon.yamlfile import Strict

SparkplugId = Annotated[str, AfterValidator(check_id)]
GroupId = Annotated[str, AfterValidator(check_group)]


class SparkplugSettings(Strict):
    """Sparkplug B 3.0 on the same brokers, over a connection of its own."""

    group: GroupId | None = Field(default=None, description="group id; null: `site:area` of the device")
    edge_node: SparkplugId | None = Field(default=None, description="edge node id; null: the device's id")
    primary_host: SparkplugId | None = Field(
        default=None, description="host id whose STATE is waited for; null: none"
    )
    history_per_s: float = Field(
        default=50.0, gt=0, le=10_000, description="results of the past a second, behind live ones"
    )


@dataclass(frozen=True, slots=True)
class SparkplugOptions:
    """`settle_s`: a session must live on for so long before a result counts as arrived.

    `host_wait_s`: how long a server without the primary host is borne with where there is another.
    """

    names: Names
    history_per_s: float = 50.0
    settle_s: float = 65.0
    host_wait_s: float = 30.0
