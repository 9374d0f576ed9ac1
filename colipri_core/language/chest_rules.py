"""How reports speak of devices, heart, vessels, pleura, hernia and lymph nodes.

Phrases are in the language of `patterns`. What counts follows the usage of CT-RATE's annotators: any lymph node that is
described counts as lymphadenopathy unless it is called normal, fluid of any amount is an effusion.
"""

from __future__ import annotations

from colipri_core.language.rules import FindingRules
from colipri_core.language.rules import rule

_PLAQUE = "calcif*; calcium; athero*; plaque*"

CHEST_RULES: tuple[FindingRules, ...] = (
    FindingRules(
        name="Medical material",
        rules=(
            rule(
                "catheter*; port; porta; port chamber; chemoport; cannula*; tube*; nasogastric; endotracheal; intubat*",
                "tracheostomy; drain; drains; drainage tube; indwelling lines|line; filter",
                "pacemaker*; pace maker; electrode*; leads; lead; icd; battery; loop recorder; device*",
                "stent*; graft; coil; coils; valve replacement; prosthe*; sternotomy; wires; implanted",
                "clip; clips; suture*; hardware; screw*; fixator*; fixation; vertebroplasty; kyphoplasty; cement",
                "metal*|surgical|operation|medical|foreign material*; metallic densit*|artifact*; metal artifact*",
                "breast|silicone|dental|metallic implant*",
                unless="removed",
                but_not="lead to; leads to",
            ),
        ),
    ),
    FindingRules(
        name="Arterial wall calcification",
        rules=(
            rule(
                _PLAQUE,
                near="aort*; thoracoabdominal; arch; supraaort*; brachiocephalic; carotid; subclavian; iliac;"
                "great vessel*",
                unless="valve*; pleura* plaque*; lymph; nodule*",
            ),
            rule("calcif*; athero*", near="vascular structure*; venous structure*; vessel*", unless="coronar*; lymph"),
            rule("vascular|arterial (wall) calcif*; atherosclerotic change*", unless="coronar*"),
        ),
    ),
    FindingRules(
        name="Cardiomegaly",
        rules=(
            rule(
                "cardiomeg*; cardiomeal*; cardiac enlargement; enlarged heart|cardiac; large heart; increased ctr",
                "heart ... enlarge*|larger|wider|big|large; heart ... is|are|was|were increased",
                "heart size*|dimension* ... increase*; cardiac size ... increase*; heart|cardiac size ... above normal",
                "cardiothoracic ... increase*; ctr ... increase*; cardiac silhouette ... enlarge*",
                "increase* ... heart size*; increase* ... cardiac size; increase* ... cardiothoracic",
                unless="heart failure",
            ),
        ),
        normal=(
            "heart ... is|are|was|were|of|within|in|has|have|appear* (a) normal|natural",
            "heart ... size|sizes|dimensions|compartments (is) (are) (appear) (within) normal|natural",
            "cardiothoracic ... is|was|within (within) (normal) (the) normal|natural",
            "ctr ... is|was|within (within) (the) normal|natural",
            "cardiac size ... is|was|within (within) normal|natural",
        ),
    ),
    FindingRules(
        name="Pericardial effusion",
        rules=(
            rule("pericardial ... effusion*|fluid; pericardial collection; hydropericard*; hemopericard*"),
            rule("effusion; fluid; smear*", near="pericard*; surround* the heart; around the heart", unless="pleur*"),
        ),
        normal=("pericard* ... dry",),
    ),
    FindingRules(
        name="Coronary artery wall calcification",
        rules=(rule(_PLAQUE, near="coronar*; left main; left anterior descending; lad; circumflex; cx; rca"),),
    ),
    FindingRules(
        name="Hiatal hernia",
        rules=(
            rule(
                "hiatal ... hernia*; hiatus hernia*; hernia* ... hiat*; sliding type hernia*",
                "hernia* ... stomach; stomach ... hernia*; hernia* through the diaphragm",
                "retrocardiac ... stomach; stomach|fundus ... through the hiatus",
            ),
        ),
        normal=("hiatus ... normal", "stomach lies below the diaphragm"),
    ),
    FindingRules(
        name="Lymphadenopathy",
        rules=(
            rule(
                "lymph node*; nodes; lymphadenopath*; adenopath*; lymphadenomegal*; lymphonod*; lymph nodule*",
                "lap; laps",
                unless="intrapulmonary",
                but_not="lymph node station*",
            ),
        ),
        normal=("nodes ... normal (in) size", "nodes are|were not enlarged"),
    ),
    FindingRules(
        name="Pleural effusion",
        rules=(
            rule("pleural ... effusion*|fluid; hydrothora*; hydropneumothora*; hemothora*; pleural empyema"),
            rule(
                "effusion*; fluid",
                near="pleur*; hemithora*; lung*; bilateral*; costophrenic",
                unless="pericard*; abdom*; pelvi*; perihepat*",
            ),
        ),
    ),
)
