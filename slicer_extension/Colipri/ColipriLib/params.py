"""What is kept with the scene, in the module's parameter node: names, defaults and checks, in plain Python.

The node is a `vtkMRMLScriptedModuleNode`, or anything with its methods: parameters are strings under a name, nodes are
referred to by a role. `Colipri.py` describes the same names to Slicer's parameter node wrapper, so widgets that are
connected to it and the code here read and write one place. The server's token is never among them.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

DEFAULT_SERVER = "http://127.0.0.1:8765"

NODE_ROLES = ("volume", "structures", "labels", "report", "results", "points", "antipoints", "drawing")
"""Roles of the nodes that are referred to: the CT, outlined structures, edited labels, draft report, stored results,
points on the object, points beside it, and the markup that is being drawn."""

DEFAULTS: dict[str, str] = {
    "server": DEFAULT_SERVER,
    "store": "",
    "tool": "",
    "positive": "true",
    "policy": "keep",
    "object": "1",
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
    def positive(self) -> bool:
        """Whether prompts show what belongs to the object."""
        return self.text("positive") == "true"

    @property
    def object(self) -> int:
        """Label of the object that is edited."""
        return int(self.text("object"))

    def node_of(self, role: str) -> Any:
        """Return the node of a role, None if there is none.

        Args:
            role: One of `NODE_ROLES`.

        Raises:
            KeyError: If there is no such role.
        """
        return self.node.GetNodeReference(_role(role))

    def set_node(self, role: str, node: Any) -> None:
        """Refer to a node; None refers to none.

        Args:
            role: One of `NODE_ROLES`.
            node: The node.

        Raises:
            KeyError: If there is no such role.
        """
        self.node.SetNodeReferenceID(_role(role), node.GetID() if node is not None else None)

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
    if name == "object" and not (value.isdigit() and int(value) >= 1):
        msg = f'Expected a label of 1 or more, got "{value}".'
        raise ValueError(msg)
    return checked_server(value) if name == "server" else value


def _role(role: str) -> str:
    if role not in NODE_ROLES:
        msg = f'No node role "{role}". There are: {", ".join(NODE_ROLES)}.'
        raise KeyError(msg)
    return role
