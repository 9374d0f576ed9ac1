"""Bodies that are damaged or made to do harm: they are refused, by one error, and cost nothing."""

from __future__ import annotations

import tracemalloc
import zlib

import blosc2
import numpy as np
import pytest
import wire_values as wire
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import Paint
from colipri_core.errors import ProtocolError
from colipri_core.errors import TooLargeError
from colipri_core.prompts import Crop
from colipri_core.remote.protocol.arrays import CHUNK_BYTES
from colipri_core.remote.protocol.editing import EditAnswer
from colipri_core.remote.protocol.editing import EditRequest
from colipri_core.remote.protocol.editing import StepHeader
from colipri_core.remote.protocol.editing import answer_from
from colipri_core.remote.protocol.editing import answer_parts
from colipri_core.remote.protocol.editing import edit_from
from colipri_core.remote.protocol.editing import edit_parts
from colipri_core.remote.protocol.editing import step_from
from colipri_core.remote.protocol.editing import step_parts
from colipri_core.remote.protocol.frames import PREAMBLE
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import decode_frame
from colipri_core.remote.protocol.frames import frame_bytes
from colipri_core.remote.protocol.questions import embedding_from
from colipri_core.remote.protocol.questions import search_from
from colipri_core.remote.protocol.questions import similar_from
from colipri_core.remote.protocol.results import matches_from
from colipri_core.remote.protocol.results import segmentation_from
from colipri_core.remote.protocol.sessions import OpeningReceiver
from colipri_core.remote.protocol.volumes import VolumeReceiver
from colipri_core.remote.protocol.volumes import volume_frames
from colipri_core.volume import Volume

quick = settings(max_examples=25, deadline=None)


def all_bodies() -> list[bytes]:
    """A body of each kind that has arrays."""
    volume = Volume(voxels=np.arange(210, dtype=np.int16).reshape(wire.SHAPE), affine=np.eye(4))
    editor = LabelEditor(volume)
    crop = Crop(lower=(1, 1, 1), mask=np.ones((3, 4, 5), dtype=bool))
    change = editor.apply(Paint(voxels=crop, label=2))
    answer = EditAnswer(change=change, state=editor.state, revision=1, step=StepHeader.of(editor.steps[0]))
    large = np.random.default_rng(0).integers(0, 9, (20, 20, 20)).astype(np.uint8)
    return [
        frame_bytes(Kind.REQUEST, *edit_parts(EditRequest(edit=Paint(voxels=crop, label=2), after=0))),
        frame_bytes(Kind.RESULT, *answer_parts(answer)),
        frame_bytes(Kind.STEP, *step_parts(editor.steps[0])),
        frame_bytes(Kind.RESULT, {}, {"labelmap": large}),
        *(b"".join(parts) for parts in volume_frames(volume)),
    ]


def read_all(content: bytes) -> None:
    """Read a body in every way there is."""
    shape = wire.SHAPE
    frame = decode_frame(content)
    for name, (header, _) in frame.packed.items():
        with_any = {"dtypes": (header.dtype,), "shape": header.shape}
        frame.array(name, **with_any)
    for read in (
        lambda: edit_from(frame, shape=shape),
        lambda: answer_from(frame, shape=shape),
        lambda: step_from(frame, shape=shape),
        lambda: segmentation_from(frame, shape=shape),
        lambda: embedding_from(frame, shape=shape),
        lambda: similar_from(frame, shape=shape),
        lambda: search_from(frame),
        lambda: matches_from(frame),
        lambda: VolumeReceiver().take(frame),
        lambda: OpeningReceiver().take(frame),
    ):
        try:
            read()
        except (ProtocolError, TooLargeError):
            continue
        except ValueError as error:  # voxels off the grid, as the local engine says it
            if "grid" not in str(error):
                raise


class TestMutatedBodies:
    @settings(max_examples=400, deadline=None)
    @given(st.sampled_from(all_bodies()), st.data())
    def test_nothing_but_a_protocol_error_ever_comes_of_them(self, body: bytes, data: st.DataObject) -> None:
        content = bytearray(body)
        for _ in range(data.draw(st.integers(1, 4))):
            where = data.draw(st.integers(0, len(content) - 1))
            match data.draw(st.integers(0, 3)):
                case 0:
                    content[where] = data.draw(st.integers(0, 255))
                case 1:
                    del content[where : where + data.draw(st.integers(1, 8))]
                case 2:
                    content[where:where] = data.draw(st.binary(max_size=8))
                case 3:
                    content[where:where] = content[:where]
            if not content:
                break
        try:
            read_all(bytes(content))
        except (ProtocolError, TooLargeError):
            return

    @quick
    @given(st.binary(max_size=200))
    def test_garbage(self, content: bytes) -> None:
        with pytest.raises(ProtocolError):
            decode_frame(content)

    @pytest.mark.parametrize(("header", "arrays"), [(2**31, 0), (0, 2**40), (9 << 20, 0)])
    def test_a_frame_that_announces_more_than_is_allowed_is_too_large(self, header: int, arrays: int) -> None:
        content = PREAMBLE.pack(b"CLPR", 1, Kind.REQUEST, header, arrays)
        with pytest.raises(TooLargeError, match="Send less"):
            decode_frame(content)

    def test_a_header_of_deep_brackets_and_one_of_no_number(self) -> None:
        for text in (
            b"[" * 100_000,
            b'{"body": {"x": NaN}, "arrays": []}',
            b'{"body": ' + b'{"a":' * 5000,
            b"\xff\xfe",
        ):
            frame = frame_bytes(Kind.RESULT, {})
            content = frame[:6] + len(text).to_bytes(4, "little") + bytes(8) + text
            with pytest.raises(ProtocolError):
                decode_frame(content)

    @pytest.mark.parametrize("shape", [[10**6, 10**6, 10**6], [2**40, 1], [-1, 5], [1] * 9, [2**33]])
    def test_a_small_body_that_announces_a_large_array_costs_nothing(self, shape: list[int]) -> None:
        """Shapes are judged before memory is asked for, whatever the packed bytes claim."""
        good = frame_bytes(Kind.RESULT, {}, {"labelmap": np.zeros((20, 20, 20), np.uint8)})
        text = good[18:-32].replace(b"[20,20,20]", str(shape).replace(" ", "").encode())
        content = good[:6] + len(text).to_bytes(4, "little") + good[10:18] + text + good[-32:]
        tracemalloc.start()
        try:
            with pytest.raises(ProtocolError):
                read_all(content)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()

    def test_a_chunk_that_unpacks_to_more_than_announced_is_refused(self) -> None:
        """The CRC is right, as an attacker would make it; the lengths inside the chunk are not."""
        chunk = blosc2.compress2(np.zeros(CHUNK_BYTES, np.uint8))
        good = frame_bytes(Kind.RESULT, {}, {"labelmap": np.zeros((20, 20, 20), np.uint8)})
        crc = zlib.crc32(good[-32:])
        text = good[18:-32].replace(f'"crc":{crc}'.encode(), f'"crc":{zlib.crc32(chunk)}'.encode())
        text = text.replace(b'"size":32', f'"size":{len(chunk)}'.encode())
        content = good[:6] + len(text).to_bytes(4, "little") + len(chunk).to_bytes(8, "little") + text + chunk
        with pytest.raises(ProtocolError, match="chunk"):
            decode_frame(content).array("labelmap", dtypes=("uint8",), shape=(20, 20, 20))
