"""The rules of all 18 findings, in CT-RATE's order."""

from __future__ import annotations

from colipri_core.language.chest_rules import CHEST_RULES
from colipri_core.language.lung_rules import LUNG_RULES
from colipri_core.language.rules import FindingRules
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS

_BY_NAME = {rules.name: rules for rules in (*CHEST_RULES, *LUNG_RULES)}

FINDING_RULES: tuple[FindingRules, ...] = tuple(_BY_NAME[name] for name in CT_RATE_FINDINGS)
"""One entry for each finding."""
