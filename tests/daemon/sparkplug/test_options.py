"""Sparkplug as the settings file asks for it."""

from __future__ import annotations

import pytest

from lineside.daemon.plant import consumers, mqtt_options, sparkplug_options
from lineside.daemon.settings import load_settings
from lineside.daemon.yamlfile import BadFile

FILE = """\
device: {{id: box7, site: north, area: filling, data_dir: data}}
cameras: [{{id: cam1, kind: folder, path: pictures}}]
stations:
  - {{id: st1, camera: cam1, recipe: r.yaml}}
  - {{id: {second}, camera: cam1, recipe: r.yaml}}
mqtt:
  brokers: [{{host: plant}}]
  {mqtt}
"""


@pytest.fixture
def load(tmp_path):
    """The settings with these lines under `mqtt`."""

    def load(mqtt, second="st2"):
        path = tmp_path / "lineside.yaml"
        path.write_text(FILE.format(mqtt=mqtt, second=second))
        return load_settings(path)

    return load


def test_without_the_section_only_json_is_spoken(load):
    settings = load("keepalive: 30")
    assert settings.mqtt.sparkplug is None
    assert consumers(settings.mqtt) == ("mqtt",)


def test_an_empty_section_takes_names_from_the_device(load):
    settings = load("sparkplug: {}")
    told = sparkplug_options(settings.mqtt, settings.device)
    assert (told.names.group, told.names.node, told.names.host) == ("north:filling", "box7", None)
    assert told.settle_s > 2 * settings.mqtt.keepalive  # a broken connection shows before
    assert consumers(settings.mqtt) == ("mqtt", "sparkplug")
    assert mqtt_options(settings.mqtt, "box7", "").session_expiry_s == 0


def test_sparkplug_may_be_all_that_is_spoken(load):
    settings = load("json_dialect: false\n  sparkplug: {group: g, edge_node: n, primary_host: scada}")
    assert consumers(settings.mqtt) == ("sparkplug",)
    names = sparkplug_options(settings.mqtt, settings.device).names
    assert (names.group, names.node, names.host) == ("g", "n", "scada")


@pytest.mark.parametrize(
    ("mqtt", "key", "says"),
    [
        ("json_dialect: false", "mqtt.json_dialect", "nothing is reported"),
        ("sparkplug: {group: STATE}", "mqtt.sparkplug.group", "where hosts speak"),
        ("sparkplug: {edge_node: a/b}", "mqtt.sparkplug.edge_node", "holds"),
        ("sparkplug: {primary_host: '#'}", "mqtt.sparkplug.primary_host", "holds"),
        ("sparkplug: {history_per_s: 0}", "mqtt.sparkplug.history_per_s", "greater than 0"),
    ],
)
def test_a_mistake_is_named(load, mqtt, key, says):
    with pytest.raises(BadFile) as refused:
        load(mqtt)
    assert [problem.key for problem in refused.value.problems] == [key]
    assert says in str(refused.value)


def test_a_device_is_named_once(load):
    with pytest.raises(BadFile, match="taken by"):
        load("sparkplug: {}", second="st1")
