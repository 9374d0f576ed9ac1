"""How reports speak of lungs and airways."""

from __future__ import annotations

from colipri_core.language.rules import FindingRules
from colipri_core.language.rules import rule

LUNG_RULES: tuple[FindingRules, ...] = (
    FindingRules(name="Emphysema", rules=(rule("emphysem*; bulla*; bullous; bleb*"),)),
    FindingRules(
        name="Atelectasis",
        rules=(
            rule("atelecta*; atalecta*"),
            rule("collapse*", near="lung*; lobe*; subsegment*; lobar", unless="vertebra*; fracture*; trache*"),
            rule("volume loss; loss of volume", unless="sequel*; fibro*; distort*; hemithora*"),
        ),
    ),
    FindingRules(
        name="Lung nodule",
        rules=(
            rule(
                "nodule*; nodular lesion*; nodularit*",
                unless="thyroid; breast; adrenal; liver; lymph; spleen; kidney; pleural nodul*; peritone*; subcutan*; ground glass",
            ),
        ),
    ),
    FindingRules(
        name="Lung opacity",
        rules=(
            rule("ground glass; groundglass; frosted glass; opacit*; opacif*; infiltrat*; crazy paving; tree in bud; budding tree"),
            rule("density increase*; increase* in density; density areas", near="lung*; lobe*; parenchym*; segment*"),
        ),
    ),
    FindingRules(
        name="Pulmonary fibrotic sequela",
        rules=(
            rule(
                "sequel*; fibroatelect*; fibrotic; fibrosis; scar; scars; scarring; fibrous",
                unless="rib*; fracture*; kidney*; renal; liver; bone; vertebra*",
            ),
        ),
    ),
    FindingRules(name="Mosaic attenuation pattern", rules=(rule("mosaic*"),)),
    FindingRules(
        name="Peribronchial thickening",
        rules=(
            rule("peribronch* ... thick*; bronch* wall* ... thick*; thick* ... bronch*; peribronch* cuff*; bronch* ... wall thick*"),
        ),
    ),
    FindingRules(name="Consolidation", rules=(rule("consolid*"),)),
    FindingRules(name="Bronchiectasis", rules=(rule("bronchiec*; bronchiect*; ectatic bronch*; bronch* ... dilat*; dilat* ... bronch*"),)),
    FindingRules(
        name="Interlobular septal thickening",
        rules=(rule("septal thick*; interlobular sept* ... thick*; thick* ... interlobular sept*; septa* ... thick*; thick* ... septa*; septal lines"),),
    ),
)
