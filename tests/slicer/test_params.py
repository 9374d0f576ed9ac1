"""Parameters kept with the scene: defaults, checks, and nothing that cannot be read back."""

from __future__ import annotations

from typing import Any

import extension  # noqa: F401 - makes ColipriLib importable
import pytest

from ColipriLib.params import DEFAULTS
from ColipriLib.params import Parameters
from ColipriLib.params import checked_server


class ParameterNode:
    """The part of a vtkMRMLScriptedModuleNode that is used, for an interpreter without VTK."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.nodes: dict[str, str | None] = {}
        self.writes = 0

    def GetParameter(self, name: str) -> str:  # noqa: N802 - VTK's name
        return self.values.get(name, "")

    def SetParameter(self, name: str, value: str) -> None:  # noqa: N802 - VTK's name
        self.values[name] = value
        self.writes += 1

    def SetNodeReferenceID(self, role: str, node_id: str | None) -> None:  # noqa: N802 - VTK's name
        self.nodes[role] = node_id

    def GetNodeReference(self, role: str) -> Any:  # noqa: N802 - VTK's name
        return self.nodes.get(role)


class Volume:
    """The part of a volume node that is used."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.attributes: dict[str, str] = {}

    def GetID(self) -> str:  # noqa: N802 - VTK's name
        return self.node_id

    def GetAttribute(self, name: str) -> str | None:  # noqa: N802 - VTK's name
        return self.attributes.get(name)

    def SetAttribute(self, name: str, value: str) -> None:  # noqa: N802 - VTK's name
        self.attributes[name] = value


@pytest.fixture
def params() -> Parameters:
    return Parameters(ParameterNode())


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_new_scene_has_the_defaults(params: Parameters, name: str) -> None:
    assert params.text(name) == DEFAULTS[name]


def test_values_are_read_back_and_written_once(params: Parameters) -> None:
    params.set_text("tool", "lasso")
    params.set_text("tool", "lasso")

    assert params.text("tool") == "lasso"
    assert params.node.writes == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("tool", "brush", "lasso"),
        ("policy", "merge", "keep"),
        ("positive", "yes", "true"),
        ("server", "", "address of a server"),
        ("server", "ftp://host", "address of a server"),
    ],
)
def test_values_that_cannot_be_are_refused(params: Parameters, name: str, value: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        params.set_text(name, value)
    assert params.node.writes == 0


def test_each_volume_has_an_object_of_its_own(params: Parameters) -> None:
    first, second = Volume("first"), Volume("second")
    params.set_object(3, first)

    assert (params.object_of(first), params.object_of(second), params.object) == (3, 1, 1)
    second.attributes |= first.attributes
    assert params.object_of(second) == 1, "a copied volume begins anew"
    with pytest.raises(ValueError, match="Choose a CT volume"):
        params.set_object(2)


@pytest.mark.parametrize("label", [0, -3])
def test_what_is_no_label_is_refused(params: Parameters, label: int) -> None:
    volume = Volume("first")
    with pytest.raises(ValueError, match="1 or more"):
        params.set_object(label, volume)
    assert volume.attributes == {}


def test_unknown_names_and_roles_are_refused(params: Parameters) -> None:
    with pytest.raises(KeyError):
        params.text("token")
    with pytest.raises(KeyError):
        params.set_text("token", "secret")
    with pytest.raises(KeyError):
        params.node_of("volumes")


def test_damaged_values_are_none(params: Parameters) -> None:
    params.set_json("rows", [1, {"a": None}])
    assert params.json("rows") == [1, {"a": None}]

    params.node.SetParameter("json.rows", "{")
    assert params.json("rows") is None
    assert params.json("other") is None


def test_an_address_that_a_widget_wrote_is_brought_to_its_form(params: Parameters) -> None:
    params.node.SetParameter("server", "gpu-host:8765")
    assert params.server == "http://gpu-host:8765"

    params.node.SetParameter("server", "ftp://host")
    with pytest.raises(ValueError, match="Expected the address"):
        _ = params.server


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("gpu-host:8765", "http://gpu-host:8765"),
        (" https://gpu.lab/ ", "https://gpu.lab"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("127.0.0.1", "http://127.0.0.1"),
    ],
)
def test_addresses_are_brought_to_one_form(typed: str, address: str) -> None:
    assert checked_server(typed) == address


@pytest.mark.parametrize("typed", ["", "http://", "a b", "http://host:port", "http://user:pass@host", "http://h?x=1"])
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="Expected the address"):
        checked_server(typed)
