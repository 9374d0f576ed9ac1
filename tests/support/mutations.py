"""Bodies that are almost right: what a server must refuse without harm.

Half are damaged blindly (bytes flipped, cut out, doubled, spliced). The others are damaged with knowledge: a value of
the header is replaced or the bytes of an array are changed, and then lengths and checksums are made right again, so
that the damage is met as deep inside as it can get.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from colipri_core.cases import Embedding
from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import Adopt
from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.edits import Paint
from colipri_core.prompts import Crop
from colipri_core.provenance import ModelCard
from colipri_core.provenance import Provenance
from colipri_core.remote.protocol.editing import EditRequest
from colipri_core.remote.protocol.editing import edit_parts
from colipri_core.remote.protocol.frames import PREAMBLE
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import frame_bytes
from colipri_core.remote.protocol.questions import EmbeddingRequest
from colipri_core.remote.protocol.questions import SearchRequest
from colipri_core.remote.protocol.questions import SimilarRequest
from colipri_core.remote.protocol.questions import embedding_parts
from colipri_core.remote.protocol.questions import search_parts
from colipri_core.remote.protocol.questions import similar_parts
from colipri_core.remote.protocol.sessions import OpenRequest
from colipri_core.remote.protocol.sessions import opening_frames
from colipri_core.remote.protocol.volumes import volume_frames
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

_ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 255, 256, 2**31, 2**63, 10**30, -0.5, 1e308, "", "x" * 3000, "../../etc/passwd"),
    *("\0", [], {}, [[]], [1, 2, 3], [10**9] * 3, {"kind": "point"}, "float64", "object", "uint8", "bool", "F"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A request whose body is binary.

    Args:
        method: Its method.
        path: Its path; "{session}" stands for the id of a session.
        body: A body that is right.
    """

    method: str
    path: str
    body: bytes


def targets(volume: Volume, card: ModelCard) -> list[Target]:
    """All requests with binary bodies, as they should be.

    Args:
        volume: A volume that the server holds.
        card: The server's model.
    """
    crop = Crop(lower=(2, 3, 4), mask=np.random.default_rng(0).random((9, 8, 7)) > 0.5)
    labelmap = (volume.voxels > 0).astype(np.uint8)
    given = Segmentation(labelmap=labelmap, geometry=volume.geometry, segments=(Segment(label=1, name="Tissue"),))
    editor = LabelEditor(volume)
    edits = (
        Paint(voxels=crop, label=1),
        AddObject(name="Nodule"),
        ChangeObject(label=1, locked=True),
        Adopt(segmentation=given),
    )
    for edit in edits[:3]:
        editor.apply(edit)
    opening = opening_frames(OpenRequest(volume=volume.sha256), done=editor.steps[:2], undone=editor.steps[2:])
    origin = Provenance(model=card, preprocessing={}, versions={}, device="cpu", timings={})
    query = Embedding(vector=np.ones(24, dtype=np.float32), provenance=origin)
    requests = [
        *(("edit", edit_parts(EditRequest(edit=edit, after=0))) for edit in edits),
        ("embedding", embedding_parts(EmbeddingRequest(region=crop))),
        ("similar", similar_parts(SimilarRequest(store="lab", region=crop))),
    ]
    found = [
        Target(method="POST", path=f"/v1/sessions/{{session}}/{verb}", body=frame_bytes(Kind.REQUEST, body, arrays))
        for verb, (body, arrays) in requests
    ]
    search = frame_bytes(Kind.REQUEST, *search_parts(SearchRequest(query=query)))
    return [
        *found,
        Target(method="POST", path="/v1/stores/lab/search", body=search),
        Target(method="POST", path="/v1/sessions", body=b"".join(b"".join(parts) for parts in opening)),
        Target(
            method="PUT",
            path=f"/v1/volumes/{volume.sha256}",
            body=b"".join(b"".join(parts) for parts in volume_frames(volume)),
        ),
    ]


def odd_prompts(volume: Volume, *, seed: int) -> Iterator[dict[str, Any]]:
    """Give JSON bodies of prompts without end: of every kind, with a value or two that nobody sends.

    Args:
        volume: The volume they are about.
        seed: Decides the values.
    """
    chance = random.Random(seed)
    near = [float(value) for value in volume.geometry.center]
    ahead = [value + 9.0 for value in near]
    aside = [near[0], near[1] + 30.0, near[2]]
    prompts: tuple[dict[str, Any], ...] = (
        {"kind": "point", "ras": near, "positive": True},
        {"kind": "box", "lower_ras": near, "upper_ras": ahead, "positive": True},
        {"kind": "scribble", "ras": [near, ahead], "positive": True, "radius_mm": 2.0},
        {"kind": "lasso", "ras": [near, [near[0] + 30.0, *near[1:]], aside], "positive": True},
        {"kind": "phrase", "text": "nodule"},
    )
    dots = [[*near] for _ in range(50_000)]  # lists of their own: what is put into one must not be in all
    path = [[*place] for _ in range(3_000) for place in (near, ahead, aside)]
    odd = (*_ODD, -9.2e18, 2.0**31, 1e200, dots, path, "nodule " * 150_000)
    while True:
        body = copy.deepcopy({"prompt": chance.choice(prompts), "label": 1, "policy": "keep", "after": 0})
        for _ in range(chance.randint(0, 2)):
            holder, key = chance.choice(list(_places(body)))
            holder[key] = copy.deepcopy(chance.choice(odd))
            if holder[key] == []:
                break
        yield body


def mutations(body: bytes, *, seed: int) -> Iterator[bytes]:
    """Give damaged bodies without end.

    Args:
        body: A body that is right.
        seed: Decides the damage.
    """
    chance = random.Random(seed)
    while True:
        yield (_damaged_blindly if chance.random() < 0.5 else _damaged_within)(body, chance)


def _damaged_blindly(body: bytes, chance: random.Random) -> bytes:
    content = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(content) + 1)
        end = min(len(content), start + chance.choice((1, 1, 2, 8, 100)))
        how = chance.randrange(4)
        if how == 0:
            content[start:end] = chance.randbytes(end - start)
        elif how == 1:
            del content[start : chance.choice((end, len(content)))]
        elif how == 2:
            content[start:start] = content[start:end]
        else:
            other = chance.randrange(len(content) + 1)
            content[start:end] = content[other : other + end - start]
    return bytes(content)


def _damaged_within(body: bytes, chance: random.Random) -> bytes:
    """Damage one frame of a body and make its lengths and checksums right again."""
    frames = list(_split(body))
    place = chance.randrange(len(frames))
    kind, header, arrays = copy.deepcopy(frames[place])
    if header["arrays"] and chance.random() < 0.4:
        number = chance.randrange(len(arrays))
        arrays[number] = _damaged_blindly(arrays[number] or b"\0", chance)
        header["arrays"][number] |= {"size": len(arrays[number]), "crc": zlib.crc32(arrays[number])}
    else:
        holder, key = chance.choice(list(_places(header)))
        holder[key] = chance.choice(_ODD)
    if chance.random() < 0.1:
        kind = chance.randrange(9)
    frames[place] = (kind, header, arrays)
    if chance.random() < 0.1:
        chance.shuffle(frames)
    return b"".join(_joined(*frame) for frame in frames)


def _split(body: bytes) -> Iterator[tuple[int, dict[str, Any], list[bytes]]]:
    start = 0
    while start < len(body):
        _, _, kind, header_bytes, array_bytes = PREAMBLE.unpack_from(body, start)
        middle = start + PREAMBLE.size + header_bytes
        header = json.loads(body[start + PREAMBLE.size : middle])
        arrays, at = [], middle
        for array in header["arrays"]:
            arrays.append(body[at : at + array["size"]])
            at += array["size"]
        yield kind, header, arrays
        start = middle + array_bytes


def _joined(kind: int, header: dict[str, Any], arrays: list[bytes]) -> bytes:
    text = json.dumps(header).encode()
    return PREAMBLE.pack(b"CLPR", 1, kind, len(text), sum(map(len, arrays))) + text + b"".join(arrays)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """All places of a JSON value at which something else could stand."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield value, key
        if isinstance(item, (dict, list)):
            yield from _places(item)
