"""Page tokens: opaque, bound to their arguments, and harmless whatever a client sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.rpc.errors import RpcFault
from lineside.daemon.rpc.paging import LARGEST_PAGE, decode_token, encode_token, page_of, page_size

arguments = st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4)


@given(st.text(), arguments)
def test_a_token_gives_its_cursor_back(cursor, given_arguments):
    token = encode_token(cursor, given_arguments)
    assert decode_token(token, given_arguments) == cursor
    assert token.isascii()


@given(st.text(), arguments, arguments)
def test_a_token_for_other_arguments_is_refused(cursor, made_for, used_for):
    if made_for == used_for:
        return
    with pytest.raises(RpcFault):
        decode_token(encode_token(cursor, made_for), used_for)


@given(st.text(min_size=1))
def test_what_is_no_token_is_refused_as_a_bad_field(text):
    with pytest.raises(RpcFault) as caught:
        decode_token(text, {})
    assert caught.value.metadata == {"field": "page_token"}


@given(st.lists(st.text(min_size=1), unique=True, max_size=30), st.integers(1, 10))
def test_pages_of_a_list_are_the_list(items, size):
    seen: list[str] = []
    token = ""
    for _ in range(len(items) + 1):
        page, token = page_of(items, str, size, token, {})
        assert len(page) <= size
        seen += page
        if not token:
            break
    assert seen == sorted(items)


def test_sizes_are_bounded():
    assert page_size(0) == 50
    assert page_size(7) == 7
    assert page_size(10_000) == LARGEST_PAGE
    with pytest.raises(RpcFault):
        page_size(-1)
