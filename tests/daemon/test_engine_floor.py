"""No engine below the version that judged here: versions order as people order them."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.engine_floor import below, order_of, raised

RISING = ["", "0.9", "1.0-rc1", "1.0-rc2", "1.0", "1.0.1", "1.2", "1.10", "2", "2026.11.24"]
VERSIONS = st.one_of(st.sampled_from(RISING), st.text(max_size=20))


def test_versions_rise_as_people_say() -> None:
    for lower, higher in itertools.combinations(RISING, 2):
        assert order_of(lower) < order_of(higher), (lower, higher)


@given(st.lists(VERSIONS, max_size=8), VERSIONS)
def test_a_floor_is_the_highest_that_judged_and_never_sinks(judged: list[str], asked: str) -> None:
    floors: dict[str, str] = {"another": "7"}
    for version in judged:
        floors = raised(floors, "qc", version)
    assert floors["another"] == "7"
    refused = below(floors, "qc", asked) is not None
    assert refused == any(order_of(asked) < order_of(version) for version in judged)
    assert below(floors, "unknown", asked) is None
