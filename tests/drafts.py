"""A small draft report with every kind of sentence, for tests of what is done with drafts."""

from __future__ import annotations

from colipri_core.findings import Finding
from colipri_core.language.assertions import Assertion
from colipri_core.provenance import ModelCard
from colipri_core.provenance import Provenance
from colipri_core.report import Flag
from colipri_core.report import Report
from colipri_core.report import ReportSection
from colipri_core.report import ReportSentence
from colipri_core.report import SentenceSupport

CARD = ModelCard(
    name="drafter", sha256="ab" * 32, kind="colipri", training_data="Phantoms.", synthetic=True, licence="Apache-2.0"
)
WARNING = "The volume covers only 10 mm."

AFFIRMED = ReportSentence(
    text="There is a pleural effusion on the left.",
    finding="Pleural effusion",
    support=SentenceSupport(
        source="report decoder",
        assertion=Assertion.PRESENT,
        probability=0.31,
        opposite="There is no pleural effusion on the left.",
        finding_probability=0.42,
        calibrated=True,
        evidence_text="Pleural effusion",
        evidence_value=0.4,
        side="right",
        attention_ras=(-40.0, 0.0, 0.0),
        distance_mm=81.0,
    ),
    place_ras=(41.0, -10.0, 5.0),
    flags=(Flag.CONTRADICTED, Flag.SIDE_DISPUTED, Flag.PLACE_DISPUTED),
)
DENIED = ReportSentence(
    text="No lung nodule.",
    finding="Lung nodule",
    support=SentenceSupport(
        source="findings",
        assertion=Assertion.ABSENT,
        probability=0.9,
        opposite="There is a lung nodule.",
        finding_probability=0.1,
        evidence_text="Lung nodule",
        evidence_value=0.1,
        side="left",
    ),
    place_ras=(-30.0, 0.0, 10.0),
)
PLAIN = ReportSentence(
    text="The trachea is in the midline.",
    finding=None,
    support=SentenceSupport(source="report decoder", evidence_text="The trachea is in the midline.", side="midline"),
    place_ras=(0.0, 0.0, 0.0),
    flags=(Flag.UNCHECKED,),
)


def small_report(case: str = "case-1") -> Report:
    """Two sections, four sentences, one finding that no sentence names."""
    return Report(
        case=case,
        sections=(
            ReportSection(name="Findings", sentences=(AFFIRMED, DENIED, PLAIN)),
            ReportSection(name="Impression", sentences=(AFFIRMED,)),
        ),
        unmentioned=(Finding(name="Emphysema", code="SCT:87433001", probability=0.77, calibrated=False),),
        provenance=Provenance(model=CARD, preprocessing={}, versions={}, device="cpu", timings={}, warnings=(WARNING,)),
    )
