"""The roofline table against figures derived apart from it, and against a finished graph.

The expected numbers were worked out by hand from the published configurations and data sheets, before this
code: bytes of weights a token, its states, its cache, operations of prefill and tower, and what follows for
each device.
"""

from __future__ import annotations

import json
from pathlib import Path

import published
import pytest
from click.testing import CliRunner, Result

from lineside.engines.bundle import open_bundle
from lineside.engines.commands import engine as commands
from lineside.engines.config import parse_config
from lineside.engines.roofline import Roofline
from lineside.engines.roofline_devices import DEVICES, detect, device_named, this_machine
from lineside.engines.roofline_engines import FP32, PRECISIONS, PUBLISHED, cost_of, precision_of
from lineside.engines.roofline_table import Work, bound
from lineside.engines.traffic import read_traffic

COSTS = {name: cost_of(name, config) for name, config in PUBLISHED.items()}
FORMS = {precision.name: precision for precision in PRECISIONS}
BOXES = {device.name: device for device in DEVICES}
FRAME = Work(640, 480, 64, 1024, 4096)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_sizes_are_those_of_the_published_configurations(name: str) -> None:
    there = parse_config(published.config_of(published.SIZES[name]))
    assert (PUBLISHED[name].text, PUBLISHED[name].vision) == (there.text, there.vision)


# Billions: layers that a token meets, embedding or head, tower. Layers of the mixture: all of them 33.6 less.
@pytest.mark.parametrize(
    ("name", "layers", "head", "tower"),
    [
        ("0.8B", 0.498, 0.254, 0.10),
        ("2B", 1.373, 0.509, 0.33),
        ("4B", 3.569, 0.636, 0.33),
        ("9B", 6.919, 1.017, 0.46),
        ("35B-A3B", 2.44, 0.509, 0.45),
    ],
)
def test_weights_add_up(name: str, layers: float, head: float, tower: float) -> None:
    cost = COSTS[name]
    assert cost.active / 1e9 == pytest.approx(layers, rel=0.002)
    assert cost.head / 1e9 == pytest.approx(head, rel=0.002)
    assert cost.vision / 1e9 == pytest.approx(tower, rel=0.03)
    assert (cost.layers == cost.active) is (name != "35B-A3B")


def test_a_mixture_keeps_all_its_experts_and_meets_the_chosen() -> None:
    assert COSTS["35B-A3B"].layers / 1e9 == pytest.approx(33.6, rel=0.003)


# Gigabytes a token after 1024 tokens: int4; with the head in int8; with it in float16; all in float16.
@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        ("0.8B", (0.44, 0.56, 0.82, 1.55)),
        ("2B", (1.02, 1.27, 1.77, 3.82)),
        ("4B", (2.31, 2.62, 3.25, 8.55)),
        ("9B", (4.23, 4.72, 5.74, 16.0)),
        ("35B-A3B", (1.67, 1.91, 2.42, 6.04)),
    ],
)
def test_bytes_a_token(name: str, gigabytes: tuple[float, ...]) -> None:
    found = [
        COSTS[name].streamed(FORMS[form], 1024) / 1e9
        for form in ("int4", "int4+head8", "int4+head16", "fp16")
    ]
    assert found == pytest.approx(gigabytes, rel=0.015)


# Megabytes of recurrent state read and written a token, and KiB of cache a token. Convolution states come on
# top of the former: 3 columns of its channels a layer.
@pytest.mark.parametrize(
    ("name", "recurrent", "convolution", "cache"),
    [
        ("0.8B", 37.7, 18 * 3 * 6144 * 4, 12),
        ("2B", 37.7, 18 * 3 * 6144 * 4, 12),
        ("4B", 100.7, 24 * 3 * 8192 * 4, 32),
        ("9B", 100.7, 24 * 3 * 8192 * 4, 32),
        ("35B-A3B", 125.8, 30 * 3 * 8192 * 4, 20),
    ],
)
def test_states_and_cache(name: str, recurrent: float, convolution: int, cache: int) -> None:
    cost = COSTS[name]
    assert 2 * (cost.states - convolution) / 1e6 == pytest.approx(recurrent, rel=0.002)
    assert cost.cache_per_token == cache << 10


# Tera-operations: prefill of 256, 512 and 1024 tokens; the tower on 640×480 and 1280×720.
@pytest.mark.parametrize(
    ("name", "prefill", "tower"),
    [
        ("0.8B", (0.27, 0.55, 1.10), (0.26, 1.11)),
        ("2B", (0.72, 1.44, 2.90), (0.88, 3.5)),
        ("4B", (1.87, 3.75, 7.53), (0.88, 3.5)),
        ("9B", (3.6, 7.2, 14.4), (1.19, 4.64)),
    ],
)
def test_operations(name: str, prefill: tuple[float, ...], tower: tuple[float, ...]) -> None:
    cost = COSTS[name]
    assert [cost.prefill_operations(n) / 1e12 for n in (256, 512, 1024)] == pytest.approx(prefill, rel=0.036)
    assert [cost.vision_operations(n) / 1e12 for n in (1200, 44 * 80)] == pytest.approx(tower, rel=0.04)


# Tokens a second: int4, int4 with the head in float16, float16.
BOUNDS = {
    ("0.8B", "orin-nano"): (232, 125, 66),
    ("2B", "orin-nano"): (100, 57, 27),
    ("2B", "orin-nx"): (100, 58, 27),
    ("2B", "agx-orin"): (200, 115, 54),
    ("2B", "thor"): (267, 154, 72),
    ("2B", "rtx-4060"): (266, 153, 71),
    ("2B", "l4"): (294, 169, 79),
    ("2B", "rtx-4090"): (987, 567, 264),
    ("2B", "rtx-5090"): (1754, 1009, 470),
    ("4B", "orin-nano"): (44, 31, 12),
    ("4B", "agx-orin"): (89, 63, 24),
    ("4B", "thor"): (118, 84, 32),
    ("4B", "rtx-4090"): (437, 310, 118),
    ("9B", "thor"): (65, 48, 17),
    ("9B", "rtx-5090"): (424, 312, 112),
    ("35B-A3B", "agx-orin"): (123, 85, 34),
    ("35B-A3B", "rtx-5090"): (1074, 739, 297),
}


@pytest.mark.parametrize(("which", "expected"), BOUNDS.items(), ids=lambda one: "-".join(map(str, one)))
def test_decoding_at_most(which: tuple[str, str], expected: tuple[int, ...]) -> None:
    cost, box = COSTS[which[0]], BOXES[which[1]]
    found = [bound(cost, FORMS[form], box, FRAME).decode_tokens_s for form in ("int4", "int4+head16", "fp16")]
    # Half a token a second is what writing whole numbers loses.
    assert found == pytest.approx(expected, rel=0.012, abs=0.5)


# Milliseconds at half of the peak for a 640×480 picture and 64 tokens of words: tower, prefill.
@pytest.mark.parametrize(
    ("name", "box", "tower", "prefill"), [("2B", "orin-nano", 104, 120), ("4B", "orin-nano", 104, 313)]
)
def test_the_first_token_at_most(name: str, box: str, tower: float, prefill: float) -> None:
    found = bound(COSTS[name], FORMS["int4"], BOXES[box], FRAME)
    assert found.prefill_tokens == 364
    assert (2 * found.vision_ms, 2 * found.prefill_ms) == pytest.approx((tower, prefill), rel=0.015)
    assert found.first_token_ms == found.vision_ms + found.prefill_ms


def test_what_does_not_fit_and_what_a_chip_has_not_is_said() -> None:
    nano, thor = BOXES["orin-nano"], BOXES["thor"]
    big = COSTS["35B-A3B"]
    assert not bound(big, FORMS["int4"], nano, FRAME).fits
    assert bound(big, FORMS["int4"], thor, FRAME).fits
    runs = {name: bound(COSTS["2B"], FORMS["nvfp4"], BOXES[name], FRAME).runs for name in BOXES}
    assert [name for name, yes in runs.items() if yes] == ["thor", "rtx-5090"]
    assert not bound(COSTS["2B"], FORMS["fp8"], BOXES["agx-orin"], FRAME).runs


def test_a_mixture_reads_nearly_all_its_experts_in_a_long_prefill() -> None:
    big = COSTS["35B-A3B"]
    one, many = (big.read_by_prefill(FORMS["fp16"], tokens) for tokens in (1, 2000))
    assert one == pytest.approx(2 * (big.active + big.head))
    assert many == pytest.approx(2 * (big.layers + big.head), rel=1e-6)


def test_a_short_prefill_is_bound_by_reading_the_weights_once() -> None:
    found = bound(COSTS["2B"], FORMS["fp16"], BOXES["thor"], Work(32, 32, 0, 0, 1))
    assert found.prefill_tokens == 1
    assert found.prefill_ms == pytest.approx(1e3 * 2 * (1.373159424e9 + 0.50855936e9) / 273e9)


def test_a_graphs_own_count_agrees_with_the_architectures(bundle: Path, tmp_path: Path) -> None:
    """Two ways to the same number: the finished graph's products, and the configuration."""
    opened = open_bundle(bundle, tmp_path)
    build = opened.manifest.onnx
    assert build is not None
    traffic = read_traffic(opened.path(build.decoder), build)
    cost = cost_of("tiny", parse_config(opened.json("config.json")))
    # Convolutions are weights that a token meets, but no matrix products.
    sizes = cost.text.linear
    linear = sum(kind == "linear_attention" for kind in cost.text.layer_types)
    taps = linear * sizes.conv_kernel * sizes.conv_channels
    assert traffic.multiply_adds == cost.active + cost.head - taps
    assert traffic.head_multiply_adds == cost.head
    assert traffic.states == 2 * cost.states
    assert traffic.per_past_token == 2 * cost.cache_per_token  # float32 there


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        (
            "proc/device-tree/model",
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
            "orin-nano",
        ),
        ("proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0", "agx-orin"),
        ("proc/device-tree/model", "NVIDIA Jetson AGX Thor Developer Kit\0", "thor"),
        (
            "proc/driver/nvidia/gpus/0000:01:00.0/information",
            "Model: \t\t NVIDIA GeForce RTX 4060\nIRQ: 1\n",
            "rtx-4060",
        ),
        ("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA L4\nIRQ: 1\n", "l4"),
        ("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: NVIDIA GeForce RTX 4060 Ti\n", None),
        ("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: NVIDIA L40S\n", None),
        ("proc/device-tree/model", "Raspberry Pi 5\0", None),
    ],
)
def test_a_listed_device_is_known_by_what_the_kernel_shows(
    tmp_path: Path, file: str, text: str, name: str | None
) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    found = detect(tmp_path)
    assert (found.name if found else None) == name


def test_this_machine_counts_as_it_was_measured() -> None:
    box = this_machine(Roofline(1e9, 2e9, 3e9, 4), 8 << 30)
    assert (box.bandwidth, box.operations("fp16"), box.operations("nvfp4")) == (2e9, 6e9, 6e9)
    assert device_named("abacus") is None


@pytest.mark.parametrize(
    ("written", "form"), [("int4", FORMS["int4"]), ("fp16, head int8", FORMS["fp16"]), ("fp32", FP32)]
)
def test_a_manifests_precision_is_understood(written: str, form: object) -> None:
    assert precision_of(written) == form


def run(*arguments: object) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_command_prints_the_table_and_takes_a_bundle(bundle: Path) -> None:
    shown = run("roofline", "--device", "orin-nano", "--engine", "2B", "--precision", "int4").output
    assert "102 GB/s" in shown
    assert "100 t/s" in shown
    said = json.loads(
        run("roofline", "--device", "thor", "--engine", bundle, "--image", "32x32", "--json").output
    )
    assert {row["engine"] for row in said["rows"]} == {"tiny"}
    assert said["devices"][0]["bandwidth"] == 273e9
    everything = json.loads(run("roofline", "--json").output)["rows"]
    assert len(everything) == len(DEVICES) * len(PUBLISHED) * len(PRECISIONS)


@pytest.mark.parametrize(
    "wrong", [("--device", "abacus"), ("--engine", "3B"), ("--precision", "int3"), ("--image", "9")]
)
def test_what_is_not_listed_is_wrong_usage(wrong: tuple[str, str]) -> None:
    said = run("roofline", *wrong)
    assert said.exit_code == 2


def test_the_table_in_the_docs_is_what_is_computed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "jetson.md").read_text()
    for name, cost in COSTS.items():
        bounds = [bound(cost, FORMS["int4"], box, FRAME) for box in DEVICES]
        cells = [
            f"{b.decode_tokens_s:.0f} / {b.first_token_ms:.0f}" if b.fits else "does not fit" for b in bounds
        ]
        assert f"| {name} | {' | '.join(cells)} |" in page
