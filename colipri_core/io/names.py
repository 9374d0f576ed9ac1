"""Names for results in the style of BIDS derivatives (https://bids-specification.readthedocs.io)."""

from __future__ import annotations

import unicodedata


def derivative_name(case: str, *, description: str, kind: str, suffix: str) -> str:
    """Return a file name such as `sub-Case01_desc-structures_dseg.nii.gz`.

    Args:
        case: Name of the case; see `derivative_case`.
        description: What it shows, such as "structures"; treated likewise.
        kind: BIDS suffix: "dseg" for labelmaps, "map" for evidence maps, "ct" for volumes.
        suffix: File suffix with its dot, such as ".nii.gz".

    Raises:
        ValueError: If nothing is left of the case's name or the description.
    """
    subject, shown = derivative_case(case), letters_and_digits(description)
    if not subject or not shown:
        msg = f'A derivative needs letters or digits in the case ("{case}") and the description ("{description}").'
        raise ValueError(msg)
    return f"sub-{subject}_desc-{shown}_{kind}{suffix}"


def derivative_case(case: str) -> str:
    """Return what stands for a case in the name of a derivative, behind `sub-`; empty if nothing is left of it.

    Args:
        case: Name of the case, with or without `sub-`.
    """
    return letters_and_digits(case.removeprefix("sub-"))


def letters_and_digits(text: str) -> str:
    """Return the letters and digits of a text, in whichever script; empty if there are none.

    BIDS allows those of ASCII alone, but then the names of two patients may become one, or nothing. Accents stay with
    their letters, and a name is one name whether its accents are composed (Windows, Linux) or not (macOS).

    Args:
        text: Any text.
    """
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(letter for letter in composed if letter.isalnum() or unicodedata.category(letter)[0] == "M")
    return kept if any(map(str.isalnum, kept)) else ""
