"""The wire protocol: every value comes back as it was sent, and nothing but what was sent is taken."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import wire_values as wire
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from colipri_core import errors
from colipri_core.cases import CaseFilter
from colipri_core.cases import SentenceMatch
from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import Adopt
from colipri_core.editing.edits import Edit
from colipri_core.editing.edits import Paint
from colipri_core.editing.journal import Event
from colipri_core.engine import Capabilities
from colipri_core.errors import ColipriError
from colipri_core.errors import ProtocolError
from colipri_core.findings import Findings
from colipri_core.prompts import Crop
from colipri_core.prompts import Point
from colipri_core.provenance import ModelCard
from colipri_core.remote.protocol.editing import EditAnswer
from colipri_core.remote.protocol.editing import EditRequest
from colipri_core.remote.protocol.editing import PromptRequest
from colipri_core.remote.protocol.editing import StepHeader
from colipri_core.remote.protocol.editing import answer_from
from colipri_core.remote.protocol.editing import answer_parts
from colipri_core.remote.protocol.editing import delta_between
from colipri_core.remote.protocol.editing import edit_from
from colipri_core.remote.protocol.editing import edit_parts
from colipri_core.remote.protocol.editing import steps_to
from colipri_core.remote.protocol.errors import error_body
from colipri_core.remote.protocol.errors import error_from_body
from colipri_core.remote.protocol.errors import error_status
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import decode_frame
from colipri_core.remote.protocol.frames import frame_bytes
from colipri_core.remote.protocol.limits import Limits
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.questions import EmbeddingRequest
from colipri_core.remote.protocol.questions import SearchRequest
from colipri_core.remote.protocol.questions import SimilarRequest
from colipri_core.remote.protocol.questions import embedding_from
from colipri_core.remote.protocol.questions import embedding_parts
from colipri_core.remote.protocol.questions import search_from
from colipri_core.remote.protocol.questions import search_parts
from colipri_core.remote.protocol.questions import similar_from
from colipri_core.remote.protocol.questions import similar_parts
from colipri_core.remote.protocol.results import Parts
from colipri_core.remote.protocol.results import embeddings_from
from colipri_core.remote.protocol.results import embeddings_parts
from colipri_core.remote.protocol.results import evidence_from
from colipri_core.remote.protocol.results import evidence_parts
from colipri_core.remote.protocol.results import matches_from
from colipri_core.remote.protocol.results import matches_parts
from colipri_core.remote.protocol.results import regions_from
from colipri_core.remote.protocol.results import regions_parts
from colipri_core.remote.protocol.results import segmentation_from
from colipri_core.remote.protocol.results import segmentation_parts
from colipri_core.remote.protocol.sessions import OpeningReceiver
from colipri_core.remote.protocol.sessions import OpenRequest
from colipri_core.remote.protocol.sessions import opening_frames
from colipri_core.remote.protocol.streams import FrameReader
from colipri_core.remote.protocol.volumes import VolumeReceiver
from colipri_core.remote.protocol.volumes import volume_frames
from colipri_core.report import Report
from colipri_core.report import ReportSentence
from colipri_core.volume import Volume

quick = settings(max_examples=25, deadline=None)


def sent(parts: Parts) -> Frame:
    """What comes of body and arrays at the other end."""
    return decode_frame(frame_bytes(Kind.REQUEST, *parts))


def same(found: object, expected: object) -> bool:
    """Whether two values with arrays are equal, types and all."""
    if isinstance(expected, np.ndarray):
        return found.dtype == expected.dtype and np.array_equal(found, expected, equal_nan=expected.dtype.kind == "f")
    if dataclasses.is_dataclass(expected) and expected.__class__.__eq__ is not object.__eq__:
        return found == expected
    if dataclasses.is_dataclass(expected):
        names = [field.name for field in dataclasses.fields(expected)]
        return type(found) is type(expected) and all(same(getattr(found, n), getattr(expected, n)) for n in names)
    both_nan = isinstance(expected, float) and math.isnan(expected) and math.isnan(found)
    return both_nan or found == expected


def on_grid_of(volume: Volume, edit: Edit) -> Edit:
    """The edit, its segmentation brought to the volume's own grid."""
    if not isinstance(edit, Adopt):
        return edit
    return dataclasses.replace(edit, segmentation=dataclasses.replace(edit.segmentation, geometry=volume.geometry))


class TestPlainValues:
    @pytest.mark.parametrize(
        ("kind", "values"),
        [
            (Findings, wire.findings),
            (ModelCard, wire.cards),
            (Capabilities, wire.capabilities),
            (Report, wire.reports),
            (ReportSentence, wire.sentences),
            (CaseFilter, wire.filters),
            (SentenceMatch, wire.sentence_matches),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_what_comes_back_is_what_was_sent(self, kind, values) -> None:
        @quick
        @given(values)
        def check(value) -> None:
            assert from_plain(kind, decode_frame(frame_bytes(Kind.RESULT, to_plain(value))).body) == value

        check()

    @quick
    @given(wire.prompts, st.integers(0, 2**40), wire.labels)
    def test_prompts(self, prompt, after: int, label: int) -> None:
        request = PromptRequest(prompt=prompt, after=after, label=label, policy="replace")
        assert from_plain(PromptRequest, sent((to_plain(request), {})).body) == request

    @pytest.mark.parametrize(
        "change",
        [
            {"after": True},
            {"after": 1.0},
            {"after": 2**70},
            {"after": None},
            {"label": "1"},
            {"policy": "merge"},
            {"policy": ["keep"]},
            {"unknown": 1},
            {"prompt": {"kind": "star"}},
            {"prompt": {"kind": ["point"]}},
            {"prompt": {"kind": "point", "ras": [1, 2]}},
            {"prompt": {"kind": "point", "ras": [1, 2, 10**400]}},
            {"prompt": {"kind": "scribble", "ras": [[1, 2, 3]], "radius_mm": -1}},
            {"prompt": []},
        ],
        ids=str,
    )
    def test_anything_else_is_refused(self, change: dict) -> None:
        plain = to_plain(PromptRequest(prompt=Point(ras=(1, 2, 3)), after=3))
        with pytest.raises(ProtocolError):
            from_plain(PromptRequest, plain | change)

    def test_a_missing_key_is_refused(self) -> None:
        with pytest.raises(ProtocolError, match="prompt"):
            from_plain(PromptRequest, {"after": 3})


class TestResults:
    @quick
    @given(wire.evidence_maps())
    def test_evidence(self, found) -> None:
        assert same(evidence_from(sent(evidence_parts(found)), found.geometry), found)

    @quick
    @given(wire.segmentations())
    def test_segmentations(self, found) -> None:
        assert same(segmentation_from(sent(segmentation_parts(found)), shape=wire.SHAPE), found)

    @quick
    @given(st.lists(wire.embeddings, max_size=4))
    def test_embeddings(self, found) -> None:
        back = embeddings_from(sent(embeddings_parts(found)))
        assert len(back) == len(found)
        assert all(map(same, back, found))

    @quick
    @given(st.lists(wire.region_embeddings, max_size=4))
    def test_regions(self, found) -> None:
        assert all(map(same, regions_from(sent(regions_parts(found))), found))

    @quick
    @given(st.lists(wire.matches, max_size=4))
    def test_matches_with_their_pictures(self, found) -> None:
        assert matches_from(sent(matches_parts(found))) == found

    @quick
    @given(wire.evidence_maps())
    def test_a_map_of_another_grid_is_refused(self, found) -> None:
        frame = sent(evidence_parts(found))
        with pytest.raises(ProtocolError, match="values"):
            evidence_from(frame, dataclasses.replace(found.geometry, shape=(5, 6, 8)))


class TestRequests:
    @quick
    @given(wire.crops(), wire.filters, wire.embeddings)
    def test_questions_with_arrays(self, region: Crop, where: CaseFilter, query) -> None:
        assert same(
            embedding_from(sent(embedding_parts(EmbeddingRequest(region=region))), shape=wire.SHAPE).region, region
        )
        assert embedding_from(sent(embedding_parts(EmbeddingRequest())), shape=wire.SHAPE).region is None
        similar = SimilarRequest(store="s", k=3, region=region, where=where)
        assert same(similar_from(sent(similar_parts(similar)), shape=wire.SHAPE), similar)
        search = SearchRequest(query=query, k=2, where=where, by_region=True)
        assert same(search_from(sent(search_parts(search))), search)

    @quick
    @given(wire.edits, st.integers(0, 1000))
    def test_edits(self, edit, after: int) -> None:
        request = edit_from(sent(edit_parts(EditRequest(edit=edit, after=after))), shape=wire.SHAPE)
        assert request.after == after
        assert same(request.edit, edit)

    def test_voxels_off_the_grid_are_a_bad_value_as_they_are_locally(self) -> None:
        crop = Crop(lower=(4, 4, 4), mask=np.ones((4, 4, 4), dtype=bool))
        with pytest.raises(ValueError, match="grid"):
            edit_from(sent(edit_parts(EditRequest(edit=Paint(voxels=crop, label=1), after=0))), shape=wire.SHAPE)


class TestEditing:
    @quick
    @given(st.lists(wire.edits, min_size=1, max_size=6), wire.volumes())
    def test_the_client_makes_the_very_step_the_server_made(self, edits: list, volume: Volume) -> None:
        """Labels, state and history at both ends stay equal, from nothing but the answers."""
        server, client = LabelEditor(volume), LabelEditor(volume)
        for given_edit in edits:
            edit = on_grid_of(volume, given_edit)
            try:
                known = len(server.steps)
                change = server.apply(edit)
            except (ValueError, ColipriError):
                continue
            made = server.steps[known:]
            step = StepHeader.of(made[0]) if made else None
            answer = EditAnswer(change=change, state=server.state, revision=len(server.steps), step=step)
            back = answer_from(sent(answer_parts(answer)), shape=volume.shape)
            assert back.state == server.state
            if back.step is not None:
                before = client.labels_in(back.change.lower, back.change.upper)
                client.take(back.step.step(delta_between(before, back.change)))
        assert same(client.labelmap, server.labelmap)
        assert client.state == server.state
        assert [step.to_json() for step in client.steps] == [step.to_json() for step in server.steps]
        while server.steps:
            server.undo()
            client.undo()
            assert same(client.labelmap, server.labelmap)

    @quick
    @given(st.lists(wire.crops(), min_size=1, max_size=5), st.integers(0, 5), wire.volumes())
    def test_a_history_opens_a_session_with_undo_and_redo(self, crops: list[Crop], undone: int, volume: Volume) -> None:
        editor = LabelEditor(volume)
        for label, crop in enumerate(crops, start=1):
            editor.apply(Paint(voxels=crop, label=label))
        for _ in range(min(undone, len(editor.steps))):
            editor.undo()
        done, redo = editor.history
        receiver, reader = OpeningReceiver(), FrameReader()
        for parts in opening_frames(OpenRequest(volume=volume.sha256), done=done, undone=redo):
            for frame in reader.feed(b"".join(parts)):
                receiver.take(frame, shape=volume.shape)
        opening = receiver.finish()
        anew = LabelEditor(volume)
        for kind, step in steps_to(opening.done, opening.undone):
            anew.replay(Event(kind=kind, step=step))
        assert anew.state == editor.state
        assert same(anew.labelmap, editor.labelmap)
        for _ in redo:
            editor.redo()
            anew.redo()
            assert same(anew.labelmap, editor.labelmap)


class TestVolumes:
    @quick
    @given(wire.volumes(), st.integers(1, 500))
    def test_a_volume_arrives_in_pieces_of_any_size(self, volume: Volume, size: int) -> None:
        content = b"".join(part for parts in volume_frames(volume) for part in parts)
        reader, receiver = FrameReader(), VolumeReceiver()
        for start in range(0, len(content), size):
            for frame in reader.feed(content[start : start + size]):
                receiver.take(frame)
        reader.finish()
        found = receiver.volume(volume.sha256)
        assert same(found.voxels, volume.voxels)
        assert found.voxels.flags.f_contiguous == volume.voxels.flags.f_contiguous
        assert np.array_equal(found.affine, volume.affine)

    def test_another_volume_than_announced_is_refused(self) -> None:
        receiver = VolumeReceiver()
        for parts in volume_frames(Volume(voxels=np.zeros(wire.SHAPE, np.int16), affine=np.eye(4))):
            receiver.take(decode_frame(b"".join(parts)))
        with pytest.raises(ProtocolError, match="digest"):
            receiver.volume("0" * 64)

    def test_too_many_voxels_are_refused_before_they_come(self) -> None:
        header, *_ = volume_frames(Volume(voxels=np.zeros(wire.SHAPE, np.int16), affine=np.eye(4)))
        with pytest.raises(errors.TooLargeError, match="voxels"):
            VolumeReceiver(Limits(voxels=100)).take(decode_frame(b"".join(header)))


class TestErrors:
    @pytest.mark.parametrize(
        "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ColipriError)]
    )
    def test_the_client_meets_the_class_the_server_raised(self, kind: type[ColipriError]) -> None:
        details = {
            errors.SeveralSeriesError: {"series": {"1": "chest"}},
            errors.StoreModelError: {"stored": "a", "given": "b"},
            errors.OutOfStepError: {"revision": 7},
        }.get(kind, {})
        error = error_from_body(error_body(kind("Expected this.", **details)))
        assert type(error) is kind
        assert str(error) == "Expected this."
        assert {name: getattr(error, name) for name in details} == details
        assert 400 <= error_status(error) < 600

    def test_bad_arguments_stay_what_they_are_and_the_rest_is_kept_quiet(self) -> None:
        assert repr(error_from_body(error_body(ValueError("no")))) == "ValueError('no')"
        assert repr(error_from_body(error_body(TypeError("no")))) == "TypeError('no')"
        secret = error_from_body(error_body(RuntimeError("/mnt/me/secret")))
        assert type(secret) is errors.ServerFaultError
        assert "secret" not in str(secret)

    @pytest.mark.parametrize("body", [{}, {"error": []}, {"error": {"code": "out-of-step", "details": 3}}])
    def test_what_is_no_error_makes_one_that_says_so(self, body: dict) -> None:
        assert isinstance(error_from_body(body), errors.ServerFaultError)


def test_large_arrays_travel_in_several_chunks_in_either_order() -> None:
    array = np.random.default_rng(0).integers(0, 3, (300, 300, 250)).astype(np.uint8)
    for given_array in (array, np.asfortranarray(array)):
        frame = sent(({}, {"labelmap": given_array}))
        found = frame.array("labelmap", dtypes=("uint8",), shape=array.shape)
        assert np.array_equal(found, array)
        assert found.flags.f_contiguous == given_array.flags.f_contiguous
