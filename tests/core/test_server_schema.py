"""The schema kept in the tree is the server's own, and describes every body."""

from __future__ import annotations

import json
from pathlib import Path

from repository import ROOT
from scripted_engine import ScriptedEngine

from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.sessions import ModelAnswer
from colipri_core.remote.protocol.sessions import ServerLimits
from colipri_core.remote.server import ServerSettings
from colipri_core.remote.server import create_app

KEPT = json.loads((ROOT / "docs" / "reference" / "openapi.json").read_text(encoding="utf-8"))


def test_the_schema_in_the_tree_is_the_servers(tmp_path: Path) -> None:
    app = create_app(ScriptedEngine(), ServerSettings(state=tmp_path))

    assert json.loads(json.dumps(app.openapi())) == KEPT, "make openapi"


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(KEPT)
    names = set(KEPT["components"]["schemas"])
    used = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}

    assert used <= names
    assert {"PromptRequest", "SessionAnswer", "ModelAnswer", "Error"} <= used


def test_every_route_says_what_a_refusal_looks_like() -> None:
    for path, item in KEPT["paths"].items():
        for method, operation in item.items():
            if path.startswith("/v1/"):
                assert "4XX" in operation["responses"], (method, path)
                assert "Colipri-Protocol" in {parameter["name"] for parameter in operation["parameters"]}


def test_an_answer_has_the_keys_of_the_schema() -> None:
    engine = ScriptedEngine()
    answer = ModelAnswer(
        card=engine.card,
        capabilities=engine.capabilities,
        device="cpu",
        limits=ServerLimits(voxels=1, body_bytes=1, sessions=1),
    )

    assert set(to_plain(answer)) == set(KEPT["components"]["schemas"]["ModelAnswer"]["properties"])
