"""What is kept with the scene: names, defaults and checks, in plain Python.

Parameters are strings under a name in the module's parameter node, a `vtkMRMLScriptedModuleNode`. Nodes are referred to
by a role: the chosen CT and the markup being drawn by the parameter node, everything that belongs to a CT by that CT,
which also says which object is edited, so that two CTs in a scene never share labels or results. `Colipri.py` describes
the same names to Slicer's parameter node wrapper, so widgets that are connected to it and the code here read and write
one place. The server's token is never among them.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

DEFAULT_SERVER = "http://127.0.0.1:8765"

VOLUME_ROLES = ("structures", "labels", "report", "results", "points", "antipoints")
"""Roles of the nodes that a CT refers to: outlined structures, edited labels, draft report, stored results, points on
the object, and points beside it."""

NODE_ROLES = ("volume", "drawing", *VOLUME_ROLES)
"""All roles: the chosen CT, the markup that is being drawn, and those of `VOLUME_ROLES`."""

OWNER = "Colipri.volume"
"""Role by which a node refers back to its CT. A copied CT takes its references along, and has none of these."""

_OBJECT = "Colipri.object"
"""Attribute of a CT: its node id and the label of its object that is edited. A copied CT has another id."""

_GRID = "referenceImageGeometryRef"
"""Role by which Slicer's segmentations refer to the volume they were made on."""

DEFAULTS: dict[str, str] = {
    "server": DEFAULT_SERVER,
    "store": "",
    "tool": "",
    "positive": "true",
    "policy": "keep",
}
"""Parameter -> its value in a new scene."""

TOOLS = ("", "point", "scribble", "lasso", "box")
POLICIES = ("keep", "replace")


class Parameters:
    """Reads and writes the parameter node.

    Args:
        node: The parameter node.
    """

    def __init__(self, node: Any) -> None:
        self.node = node

    def text(self, name: str) -> str:
        """Return a parameter.

        Args:
            name: One of `DEFAULTS`.

        Raises:
            KeyError: If there is no such parameter.
        """
        default = DEFAULTS[name]
        return self.node.GetParameter(name) or default

    def set_text(self, name: str, value: str) -> None:
        """Set a parameter.

        Args:
            name: One of `DEFAULTS`.
            value: Its value.

        Raises:
            KeyError: If there is no such parameter.
            ValueError: If it cannot have that value; the message lists those it can have.
        """
        checked = _checked(name, value)
        if self.text(name) != checked:
            self.node.SetParameter(name, checked)

    @property
    def server(self) -> str:
        """Address of the server in its normal form; what is typed is kept as it stands.

        Raises:
            ValueError: If it is no address.
        """
        return checked_server(self.text("server"))

    @property
    def positive(self) -> bool:
        """Whether prompts show what belongs to the object."""
        return self.text("positive") == "true"

    @property
    def object(self) -> int:
        """Label of the object of the chosen CT that is edited."""
        volume = self.node_of("volume")
        return self.object_of(volume) if volume is not None else 1

    def object_of(self, volume: Any) -> int:
        """Return the label of the object of a CT that is edited; 1 until another one is chosen.

        Args:
            volume: The CT.
        """
        node_id, _, label = (volume.GetAttribute(_OBJECT) or "").partition(" ")
        return int(label) if label.isdigit() and node_id == volume.GetID() else 1

    def set_object(self, label: int, volume: Any = None) -> None:
        """Edit an object of a CT from now on.

        Args:
            label: The object.
            volume: The CT; None for the chosen one.

        Raises:
            ValueError: If it is no label, or no CT is chosen.
        """
        owner = self._owner("object", volume)
        if label < 1:
            msg = f"Expected a label of 1 or more, got {label}."
            raise ValueError(msg)
        owner.SetAttribute(_OBJECT, f"{owner.GetID()} {label}")

    def node_of(self, role: str, volume: Any = None) -> Any:
        """Return the node of a role, None if there is none.

        Args:
            role: One of `NODE_ROLES`.
            volume: The CT whose node is wanted, of those in `VOLUME_ROLES`; None for the chosen one.

        Raises:
            KeyError: If there is no such role.
        """
        if _role(role) not in VOLUME_ROLES:
            return self.node.GetNodeReference(role)
        owner = self.node_of("volume") if volume is None else volume
        found = owner.GetNodeReference(f"Colipri.{role}") if owner is not None else None
        return found if found is not None and found.GetNodeReferenceID(OWNER) == owner.GetID() else None

    def set_node(self, role: str, node: Any, volume: Any = None) -> None:
        """Refer to a node; None refers to none.

        Args:
            role: One of `NODE_ROLES`.
            node: The node.
            volume: The CT it belongs to, of those in `VOLUME_ROLES`; None for the chosen one.

        Raises:
            KeyError: If there is no such role.
            ValueError: If it belongs to a CT, and none is chosen.
        """
        found = node.GetID() if node is not None else None
        if _role(role) not in VOLUME_ROLES:
            self.node.SetNodeReferenceID(role, found)
            return
        owner = self._owner(f"node of the {role}", volume)
        if node is not None:
            node.SetNodeReferenceID(OWNER, owner.GetID())
        owner.SetNodeReferenceID(f"Colipri.{role}", found)

    def take_over_nodes(self) -> None:
        """Give CTs what the parameter node refers to in scenes of earlier versions, which had one node a role for all.

        A segmentation goes to the volume it was made on, anything else to the chosen one.
        """
        for role in VOLUME_ROLES:
            node = self.node.GetNodeReference(role)
            if node is None:
                continue
            volume = node.GetNodeReference(_GRID) or self.node_of("volume")
            if volume is not None and self.node_of(role, volume) is None:
                self.set_node(role, node, volume)
            self.node.SetNodeReferenceID(role, None)

    def set_json(self, name: str, value: Any) -> None:
        """Keep plain values with the scene under a name of their own.

        Args:
            name: The name.
            value: JSON values.
        """
        self.node.SetParameter(f"json.{name}", json.dumps(value))

    def json(self, name: str) -> Any:
        """Return plain values that were kept; None if there are none, or they were damaged."""
        try:
            return json.loads(self.node.GetParameter(f"json.{name}") or "null")
        except ValueError:
            return None

    def _owner(self, what: str, volume: Any) -> Any:
        owner = self.node_of("volume") if volume is None else volume
        if owner is None:
            msg = f"Expected a CT that the {what} belongs to, found none. Choose a CT volume first."
            raise ValueError(msg)
        return owner


def checked_server(text: str) -> str:
    """Return the address of a server in its normal form.

    Args:
        text: What was typed; "host:port" is taken as http.

    Raises:
        ValueError: If it is no address.
    """
    words = text.strip()
    parts = urlsplit(words if "://" in words else f"http://{words}")
    try:
        unfit = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or parts.query
    except ValueError:  # a port that is no number
        unfit = True
    if unfit or parts.username or " " in words:
        msg = f'Expected the address of a server such as {DEFAULT_SERVER}, got "{text}".'
        raise ValueError(msg)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _checked(name: str, value: str) -> str:
    allowed = {"tool": TOOLS, "policy": POLICIES, "positive": ("true", "false")}.get(name)
    if name not in DEFAULTS:
        msg = f'No parameter "{name}". There are: {", ".join(DEFAULTS)}.'
        raise KeyError(msg)
    if allowed is not None and value not in allowed:
        msg = f'Expected {name} to be one of {", ".join(repr(item) for item in allowed)}, got "{value}".'
        raise ValueError(msg)
    return checked_server(value) if name == "server" else value


def _role(role: str) -> str:
    if role not in NODE_ROLES:
        msg = f'No node role "{role}". There are: {", ".join(NODE_ROLES)}.'
        raise KeyError(msg)
    return role
