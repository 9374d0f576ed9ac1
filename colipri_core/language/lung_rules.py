"""How reports speak of lungs and airways.

Phrases are in the language of `patterns`. What counts follows the usage of CT-RATE's annotators: emphysema of any
tissue counts, a lung opacity is ground glass or an unexplained density (consolidation, infiltration and sequelae are
none), fibroatelectasis is a sequela.
"""

from __future__ import annotations

from colipri_core.language.rules import FindingRules
from colipri_core.language.rules import rule

LUNG_RULES: tuple[FindingRules, ...] = (
    FindingRules(name="Emphysema", rules=(rule("emphysem*; bulla*; bullous; bleb*"),)),
    FindingRules(
        name="Atelectasis",
        rules=(
            rule("atelecta*; atalecta*"),
            rule("collapsed", near="lung*; lobe*; subsegment*; lobar", unless="vertebra*; fracture*; trache*"),
            rule("collapse", unless="vertebra*; fracture*; trache*; height; corpus; femoral"),
            rule("volume loss; loss of volume", unless="sequel*; fibro*; distort*; hemithora*"),
        ),
    ),
    FindingRules(
        name="Lung nodule",
        rules=(
            rule(
                "nodule*; nodular lesion*; nodularit*; micronodul*",
                "round (solid) (calcified) (spiculated) (subsolid) (ground) (glass) lesion*",
                unless="thyroid; breast*; adrenal*; liver; spleen; kidney*; peritone*; subcutan*; adipose; mediastin*;"
                "in the pleura; lymph nodule*",
            ),
            rule("lung|pulmonary|parenchymal nodule*"),
        ),
    ),
    FindingRules(
        name="Lung opacity",
        rules=(
            rule(
                "ground glass; groundglass; frosted glass; icy density; opacit*; opacif*; hazy increase in attenuation",
                "dependent|dependant|depandant|acinar|alveolar|hazy|consolidative densit*",
                but_not="ground glass (pulmonary) (parenchymal) (lung) nodul*|lesion*; nodul* of|with ground glass",
            ),
            rule(
                "density increase*; increase* in density; increase* densit*",
                near="lung*; lobe*; parenchym*; segment*",
                unless="sequel*; fibro*; atelecta*; consol*; pleur*; interstit*; peribronch*; calcif*; volume loss;"
                "liver; bone*",
            ),
        ),
    ),
    FindingRules(
        name="Pulmonary fibrotic sequela",
        rules=(
            rule(
                "sequel*; fibrotic; fibrosis; fibrous; fibroatelect*; scar; scars; scarring",
                "parenchymal|subpleural band*; pleural parenchymal densit*|band*|recession*",
                "pleuroparenchymal densit*|band*|linear|increase*|recession*|thick*|streak*|strand*",
                unless="rib*; fracture*; bone; vertebra*; kidney*; renal; liver; spleen; granuloma*",
            ),
        ),
    ),
    FindingRules(
        name="Mosaic attenuation pattern",
        rules=(rule("mosaic*; heterogen* (of) (lung) (parenchymal) attenuation|aeration"),),
        normal=("attenuation ... homogeneous",),
    ),
    FindingRules(
        name="Peribronchial thickening",
        rules=(
            rule(
                "peribronch* ... thick*; peribronch* cuff*; bronch* wall* ... thick*; thick* ... peribronch*",
                "thick* (in) (of) (the) bronch*; peribronchovascular cuff*",
            ),
            rule("thick walled; thickened (bronchial) wall*", near="bronch*; airway*"),
        ),
        normal=("bronch* wall* ... normal", "thin walled"),
    ),
    FindingRules(
        name="Consolidation",
        rules=(rule("consolid*", but_not="ground glass consolid*; loss of consolid*"),),
    ),
    FindingRules(
        name="Bronchiectasis",
        rules=(
            rule(
                "bronchiec*; ectatic bronch*; bronch* ectasi*; ectasi* ... bronch*",
                "bronch* ... dilat*; dilat* ... bronch*|airway*; airway* ... dilat*",
            ),
        ),
        normal=("bronch* ... normal (in) calib*", "bronch* ... taper* normal*", "calib* ... main bronch* ... normal"),
    ),
    FindingRules(
        name="Interlobular septal thickening",
        rules=(
            rule(
                "septal thick*; septal lines; interseptal thick*; septa* ... thick*; thick* ... septa*",
                "interlobular sept* ... thick*; thick* ... interlobular sept*; interlobular (and) interstitial thick*",
                "interlobular sept* ... clarif*|prominen*; prominen* ... interlobular sept*",
            ),
        ),
        normal=("septa* ... normal",),
    ),
)
