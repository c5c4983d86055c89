"""What a PTX text's head says, held against a kernel's contract."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scaled_add import KERNEL

from lineside.plugins.ptx.entry import NotOneKernel, contract, faults, read_entry

KINDS = {"pointer": "u64 .ptr .align 1", "int32": "u32", "f32": "f32", "u16": "u16"}


def ptx(
    name: str = "scaled_add",
    target: str = "sm_87",
    version: str = "9.0",
    parameters: tuple[str, ...] = ("pointer", "pointer", "int32", "pointer"),
) -> str:
    listed = ",\n".join(
        f"\t.param .{KINDS[kind]} {name}_param_{number}" for number, kind in enumerate(parameters)
    )
    return (
        f".version {version}\n.target {target}\n.address_size 64\n\n\t// .globl\t{name}\n\n"
        f".visible .entry {name}(\n{listed}\n)\n.maxntid 128, 1, 1\n{{\n\tret;\n}}\n"
    )


def test_the_contract_is_inputs_then_scalars_then_outputs() -> None:
    assert contract(KERNEL) == ("pointer", "pointer", "int32", "pointer")


def test_a_kernel_that_keeps_the_contract_has_no_faults() -> None:
    assert faults(KERNEL, "sm_87", ptx(), (9, 0)) == []


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        (ptx(version="9.2"), "newer"),
        (ptx(target="sm_110"), "made for sm_110, not sm_87"),
        (ptx(name="other"), "called other, not scaled_add"),
        (ptx(parameters=("pointer", "int32", "pointer", "pointer")), "but TensorRT will pass"),
        (ptx(parameters=("pointer", "pointer", "pointer")), "but TensorRT will pass"),
        (ptx(parameters=("pointer", "pointer", "f32", "pointer")), "f32"),
        (ptx() + ptx().partition(".address_size 64\n")[2], "holds: scaled_add, scaled_add"),
        ("", "holds: none"),
        (ptx().replace(".target sm_87\n", ""), "one extern"),
    ],
)
def test_each_breach_is_named(spoiled: str, said: str) -> None:
    (found,) = faults(KERNEL, "sm_87", spoiled, (9, 0))

    assert said in found


@given(
    st.lists(st.sampled_from(sorted(KINDS)), max_size=20),
    st.tuples(st.integers(1, 20), st.integers(0, 9)),
    st.from_regex(r"[a-z_][a-z_0-9]{0,30}", fullmatch=True),
)
def test_what_is_written_is_read(kinds: list[str], version: tuple[int, int], name: str) -> None:
    entry = read_entry(ptx(name=name, version=f"{version[0]}.{version[1]}", parameters=tuple(kinds)))

    assert (entry.name, entry.version, entry.parameters) == (name, version, tuple(kinds))


@given(st.text(max_size=200))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(NotOneKernel):
        read_entry(text)
