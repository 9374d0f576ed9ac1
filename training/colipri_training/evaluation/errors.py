"""What an evaluation raises."""

from __future__ import annotations

from colipri_core.errors import ColipriError
from colipri_core.errors import InputError


class NoCasesError(InputError):
    """There is nothing to evaluate on; the message says what was looked for."""

    code = "no-cases"


class NotApplicableError(ColipriError):
    """One part of an evaluation cannot be done with this model or data; the others go on, and the report says why."""

    code = "not-applicable"
