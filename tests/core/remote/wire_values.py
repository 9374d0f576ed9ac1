"""Values of every kind that travels, as hypothesis makes them up."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from colipri_core.cases import CaseFilter
from colipri_core.cases import Embedding
from colipri_core.cases import Match
from colipri_core.cases import Place
from colipri_core.cases import RegionEmbedding
from colipri_core.cases import SentenceMatch
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import Adopt
from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.edits import Paint
from colipri_core.editing.edits import RemoveObject
from colipri_core.editing.edits import ResetObject
from colipri_core.engine import Capabilities
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Finding
from colipri_core.findings import Findings
from colipri_core.geometry import VolumeGeometry
from colipri_core.language.assertions import Assertion
from colipri_core.prompts import Box
from colipri_core.prompts import Crop
from colipri_core.prompts import Lasso
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Scribble
from colipri_core.provenance import ModelCard
from colipri_core.provenance import Provenance
from colipri_core.report import Flag
from colipri_core.report import Report
from colipri_core.report import ReportSection
from colipri_core.report import ReportSentence
from colipri_core.report import SentenceSupport
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.vocabulary.structures import STRUCTURES
from colipri_core.volume import Volume

SHAPE = (5, 6, 7)

words = st.text(max_size=12)
numbers = st.floats(-1e6, 1e6)
fractions = st.floats(0, 1)
positions = st.tuples(numbers, numbers, numbers)
labels = st.integers(1, 65_535)
colors = st.tuples(*[st.integers(0, 255)] * 3)
seeds = st.integers(0, 2**32 - 1)

cards = st.builds(
    ModelCard, name=words, sha256=words, kind=words, training_data=words, synthetic=st.booleans(), licence=words
)
provenances = st.builds(
    Provenance,
    model=cards,
    preprocessing=st.dictionaries(words, st.lists(numbers, max_size=3), max_size=2),
    versions=st.dictionaries(words, words, max_size=2),
    device=words,
    timings=st.dictionaries(words, numbers, max_size=2),
    warnings=st.lists(words, max_size=2).map(tuple),
    precision=words,
)
findings_of_one = st.builds(Finding, name=words, code=words, probability=fractions, calibrated=st.booleans())
findings = st.builds(
    Findings, case=words, items=st.lists(findings_of_one, max_size=3).map(tuple), provenance=provenances
)
capabilities = st.builds(
    Capabilities,
    findings=st.lists(words, max_size=3).map(tuple),
    free_text=st.booleans(),
    structures=st.lists(st.sampled_from(STRUCTURES), max_size=3).map(tuple),
    report=st.booleans(),
)
supports = st.builds(
    SentenceSupport,
    source=words,
    assertion=st.none() | st.sampled_from(Assertion),
    probability=st.none() | fractions,
    attention_ras=st.none() | positions,
    distance_mm=st.none() | numbers,
)
sentences = st.builds(
    ReportSentence,
    text=words,
    finding=st.none() | words,
    support=supports,
    place_ras=st.none() | positions,
    flags=st.lists(st.sampled_from(Flag), max_size=2).map(tuple),
    original=st.none() | st.builds(ReportSentence, text=words, finding=st.none(), support=supports),
)
reports = st.builds(
    Report,
    case=words,
    sections=st.lists(
        st.builds(ReportSection, name=words, sentences=st.lists(sentences, max_size=2).map(tuple)), max_size=2
    ).map(tuple),
    provenance=provenances,
    unmentioned=st.lists(findings_of_one, max_size=2).map(tuple),
    threshold=fractions,
)
filters = st.builds(
    CaseFilter,
    finding=words,
    tag=words,
    sex=st.sampled_from(("", "F", "M", "O")),
    age=st.tuples(st.none() | numbers, st.none() | numbers),
    dates=st.tuples(st.none() | st.dates(), st.none() | st.dates()),
)
matches = st.builds(
    Match,
    case=words,
    path=words,
    report=words,
    findings=st.lists(words, max_size=2).map(tuple),
    age=st.none() | numbers,
    date=st.none() | st.dates(),
    thumbnails=st.dictionaries(st.sampled_from(("axial", "coronal")), st.binary(max_size=400), max_size=2),
    distance=st.floats(0, 2),
    place=st.none() | st.builds(Place, name=words, center_ras=positions),
)
sentence_matches = st.builds(SentenceMatch, text=words, distance=st.floats(0, 2), case=words)
prompts = st.one_of(
    st.builds(Point, ras=positions, positive=st.booleans()),
    st.builds(Scribble, ras=st.lists(positions, min_size=1, max_size=4).map(tuple), radius_mm=st.floats(0.1, 50)),
    st.builds(Box, lower_ras=positions, upper_ras=positions, positive=st.booleans()),
    st.builds(Lasso, ras=st.lists(positions, min_size=3, max_size=5).map(tuple)),
    st.builds(Phrase, text=st.text("abc ", min_size=1).filter(str.strip)),
)


def _vector(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=32).astype(np.float32)


embeddings = st.builds(Embedding, vector=seeds.map(_vector), provenance=provenances)
region_embeddings = st.builds(
    RegionEmbedding, name=words, center_ras=positions.map(np.asarray), vector=seeds.map(_vector)
)


@st.composite
def geometries(draw: st.DrawFn, shape: tuple[int, int, int] = SHAPE) -> VolumeGeometry:
    affine = np.eye(4)
    affine[:3, :3] = np.diag(draw(st.tuples(*[st.floats(0.1, 9)] * 3)))
    affine[:3, 3] = draw(positions)
    return VolumeGeometry(shape=shape, affine=affine)


@st.composite
def evidence_maps(draw: st.DrawFn) -> EvidenceMap:
    values = np.random.default_rng(draw(seeds)).uniform(-2, 2, SHAPE).astype(np.float32)
    values[0, 0, 0] = np.nan
    return EvidenceMap(
        text=draw(words),
        values=np.asarray(values, order=draw(st.sampled_from("CF"))),
        geometry=draw(geometries()),
        peak_ras=np.asarray(draw(positions)),
        peak_value=draw(st.just(float("nan")) | fractions),
        provenance=draw(provenances),
    )


@st.composite
def segmentations(draw: st.DrawFn) -> Segmentation:
    dtype = draw(st.sampled_from((np.uint8, np.uint16)))
    labelmap = np.random.default_rng(draw(seeds)).integers(0, np.iinfo(dtype).max, SHAPE).astype(dtype)
    segments = draw(
        st.lists(
            st.builds(Segment, label=labels, name=words, code=words, color=colors),
            max_size=3,
            unique_by=lambda segment: segment.label,
        )
    )
    return Segmentation(
        labelmap=labelmap,
        geometry=draw(geometries()),
        segments=tuple(segments),
        provenance=draw(st.none() | provenances),
        uncertainty=draw(st.none() | st.floats(0, 1)),
    )


@st.composite
def crops(draw: st.DrawFn) -> Crop:
    lower = draw(st.tuples(*[st.integers(0, size - 1) for size in SHAPE]))
    size = [draw(st.integers(1, limit - start)) for start, limit in zip(lower, SHAPE, strict=True)]
    return Crop(lower=lower, mask=np.random.default_rng(draw(seeds)).random(size) > 0.5)


edits = st.one_of(
    st.builds(Paint, voxels=crops(), label=st.integers(0, 3), policy=st.sampled_from(("keep", "replace"))),
    st.builds(AddObject, name=words, code=words, color=st.none() | colors, label=st.none() | labels),
    st.builds(ChangeObject, label=labels, name=st.none() | words, locked=st.none() | st.booleans()),
    st.builds(ResetObject, label=labels),
    st.builds(RemoveObject, label=labels),
    st.builds(Adopt, segmentation=segmentations(), policy=st.sampled_from(("keep", "replace"))),
)


@st.composite
def volumes(draw: st.DrawFn) -> Volume:
    dtype = draw(st.sampled_from(("int16", "uint8", "float32", "float64")))
    voxels = np.random.default_rng(draw(seeds)).integers(0, 200, SHAPE).astype(dtype)
    return Volume(
        voxels=np.asarray(voxels, order=draw(st.sampled_from("CF"))), affine=draw(geometries()).affine, name=draw(words)
    )
