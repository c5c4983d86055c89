"""That NVIDIA's validators accept our definitions says something only because they refuse spoiled ones."""

# Annotations stay objects in this file: the layer reads them.

from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def registered(plugin: ModuleType) -> ModuleType:
    """The layer with `lineside::fine` registered, and waiting for its implementation."""

    def fine(a: plugin.TensorDesc) -> plugin.TensorDesc:
        return a.like()

    plugin.register("lineside::fine")(fine)
    return plugin


def test_a_description_that_does_not_say_what_it_returns(plugin: ModuleType) -> None:
    def spoiled(a: plugin.TensorDesc):  # type: ignore[no-untyped-def]
        return a.like()

    with pytest.raises(ValueError, match="No return annotation"):
        plugin.register("lineside::spoiled")(spoiled)


def test_an_attribute_of_a_type_that_cannot_be_kept(plugin: ModuleType) -> None:
    def spoiled(a: plugin.TensorDesc, factor: complex) -> plugin.TensorDesc:
        return a.like()

    with pytest.raises(ValueError, match="not a supported serializable type"):
        plugin.register("lineside::spoiled")(spoiled)


def test_a_namespace_of_tensorrts_own(plugin: ModuleType) -> None:
    def fine(a: plugin.TensorDesc) -> plugin.TensorDesc:
        return a.like()

    with pytest.raises(ValueError, match="reserved"):
        plugin.register("trt::fine")(fine)


def test_an_implementation_that_returns_too_little(registered: ModuleType) -> None:
    def spoiled(a: Any, outputs: Any, tactic: int) -> tuple[str, str]:
        return "", ""

    spoiled.__annotations__ = {"return": tuple[str, str]}

    with pytest.raises(ValueError, match="Return annotation"):
        registered.aot_impl("lineside::fine")(spoiled)


def test_an_implementation_with_its_arguments_in_another_order(registered: ModuleType) -> None:
    returned = tuple[str, str, registered.KernelLaunchParams, registered.SymIntExprs]  # type: ignore[name-defined]

    def spoiled(outputs, a, tactic):  # type: ignore[no-untyped-def]
        return None

    spoiled.__annotations__ = {"return": returned}

    with pytest.raises(ValueError, match="does not match"):
        registered.aot_impl("lineside::fine")(spoiled)


def test_an_implementation_of_what_nobody_registered(plugin: ModuleType) -> None:
    with pytest.raises(ValueError, match="not registered"):
        plugin.aot_impl("lineside::unknown")(lambda: None)


def test_a_launch_in_a_fourth_dimension(plugin: ModuleType) -> None:
    with pytest.raises(AttributeError, match="grid_w"):
        plugin.KernelLaunchParams().grid_w = 1
