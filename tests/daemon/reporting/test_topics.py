"""Topics: what may be in one, and what is read out of one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.reporting.topics import BadTopic, Topics, check_segment


def test_every_topic_is_where_the_contract_says(topics):
    base = "lineside/v1/north/filling/l1/box7"
    assert topics.status == f"{base}/status"
    assert topics.alert == f"{base}/alert"
    assert topics.metrics == f"{base}/metrics"
    assert topics.verdict("st1") == f"{base}/stations/st1/verdict"
    assert topics.state("st1") == f"{base}/stations/st1/state"
    assert topics.commands == f"{base}/cmd/+"
    assert topics.reply("trigger") == f"{base}/reply/trigger"


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "$x", "a b", "a\0", "x" * 129, "\n"])
def test_what_would_change_the_tree_is_refused(name):
    with pytest.raises(BadTopic):
        Topics("north", "filling", name, "box7")


@given(st.text(max_size=40))
def test_a_segment_is_one_level_or_refused(name):
    try:
        check_segment(name)
    except BadTopic:
        return
    assert len(f"a/{name}/b".split("/")) == 3
    assert name.isprintable()


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_command_is_read_only_from_its_own_level(name):
    topics = Topics("n", "f", "l", "d")
    assert topics.command_of(f"{topics.base}/cmd/{name}") == (name if name and "/" not in name else None)
    assert topics.command_of(f"{topics.base}x/cmd/{name}") is None
