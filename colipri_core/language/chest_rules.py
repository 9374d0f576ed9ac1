"""How reports speak of devices, heart, vessels, pleura, hernia and lymph nodes."""

from __future__ import annotations

from colipri_core.language.rules import FindingRules
from colipri_core.language.rules import rule

_CALCIFIED = "calcif*; calcium; athero*; plaque*; plaques; mural calcific*"

CHEST_RULES: tuple[FindingRules, ...] = (
    FindingRules(
        name="Medical material",
        rules=(
            rule(
                "catheter*; pacemaker*; pace maker; stent*; surgical clip*; clips; suture*; nasogastric; tracheostomy; drain*",
                "endotracheal tube; intubation tube; intubat*; tube*; prosthe*; sternotomy; electrode*; cannula*; implanted",
                "icd; metallic material*; metallic densit*; surgical material*; operation material*; medical material*",
                "port chamber; chemoport; fixator*; fixation; screw*; hardware; medical device*; device*; wires; wire; leads",
                "valve replacement; battery; implant; implants; metallic artifact*; metal artifact*; coil; coils; mesh",
                "port; porta; filter; graft; loop recorder; anchor*; cement; vertebroplasty; kyphoplasty; lines",
                unless="in favor of (the) implant*; peritone*; pleural fluid drain*; drainage (is) (was) recommended; septal lines",
            ),
        ),
        normal=(),
    ),
    FindingRules(
        name="Arterial wall calcification",
        rules=(
            rule(
                "calcif*; calcium; athero*; plaque*",
                near="aort*; arter*; vascular; vessel*; supraaort*; iliac; carotid; subclavian; brachiocephalic; arch",
                unless="valve*; pleura* plaque*; lymph; nodule*; aort* stent",
            ),
        ),
    ),
    FindingRules(
        name="Cardiomegaly",
        rules=(
            rule(
                "cardiomeg*; cardiomeal*; cardiac enlargement; enlarged heart; enlarged cardiac; heart is|was|appears enlarged",
                "increase* ... heart size*; increase* ... cardiothoracic; increase* ... cardiac size; increased ctr",
                "heart size*|dimension* ... increase*; heart ... larger; heart ... enlarge*; cardiothoracic ... increase*",
                "ctr ... increase*; cardiac silhouette ... enlarge*; cardiac size ... increase*; heart ... wider",
                "heart ... is|are|was increased; heart ... big; heart is large; large heart",
                unless="heart failure",
            ),
        ),
        normal=("heart ... normal", "heart ... natural", "cardiothoracic ... normal|natural", "ctr ... normal|natural"),
    ),
    FindingRules(
        name="Pericardial effusion",
        rules=(
            rule("pericardial ... effusion*; pericardial ... fluid; pericardial collection; hydropericard*; hemopericard*"),
            rule("effusion; fluid; smear*", near="pericard*", unless="pleur*"),
        ),
    ),
    FindingRules(
        name="Coronary artery wall calcification",
        rules=(
            rule(
                "calcif*; calcium; athero*; plaque*",
                near="coronar*; lad; circumflex; left anterior descending; rca; left main; cx",
            ),
        ),
    ),
    FindingRules(
        name="Hiatal hernia",
        rules=(rule("hiatal ... hernia*; hiatus hernia*; hernia* ... hiat*; hiatal herniation; sliding type hernia*"),),
    ),
    FindingRules(
        name="Lymphadenopathy",
        rules=(
            rule(
                "lymph node*; lymphadenopath*; adenopath*; lap; laps; lymphadenomegal*; lymphonod*; lymph nodule*; nodes",
                unless="intrapulmonary",
            ),
        ),
    ),
    FindingRules(
        name="Pleural effusion",
        rules=(
            rule("pleural ... effusion*; pleural ... fluid; hydrothora*; hydropneumothora*; hemothora*; pleural empyema"),
            rule("effusion*; fluid", near="pleur*; hemithora*; lung*; bilateral*", unless="pericard*; abdom*; pelvi*; perihepat*"),
        ),
    ),
)
