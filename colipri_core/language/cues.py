"""The words that deny or doubt, for English chest CT reports.

The lists began from the idea of NegEx (Chapman et al. 2001: cues before or after a term, and look-alikes that deny
nothing) and were extended with the wordings of translated reports ("was not observed", "was not detected").
"""

from __future__ import annotations

from colipri_core.language.patterns import table

SEEN = (
    "observed|detected|seen|found|identified|noted|present|visualized|visualised|visible|evident|encountered|demonstrated"
    "|appreciated|distinguished|revealed|recognized|recognised|determined|shown|monitored|followed|selected|noticed"
)
"""Participles that say that something is there."""

DENY_BEFORE = table(
    "no; not; without; absence of; absent; free of|from; negative for; neither; nor; never; lack of; resolved; clear of",
    "disappear* of; rather than; instead of; devoid of",
)
"""Cues that deny what follows in their clause."""

DENY_AFTER = table(
    f"is|are|was|were|has|have|been|be not (been) (clearly) (significantly) {SEEN}",
    f"not {SEEN}; is|are|was|were absent; absent; cannot|can't be {SEEN}; could|can not be {SEEN}",
    "is|are|was|were not; isn't; aren't; wasn't; weren't; has|have disappeared; disappeared; has|have resolved; resolved",
    "was|were|is|are|been|be excluded; was|were|is|are|been|be ruled out; completely regressed; not the case; none",
)
"""Cues that deny what precedes in their clause."""

DENY_NOTHING = table(
    "no|without (significant) (obvious) (interval) (other) change*; no|without (significant) (obvious) difference*",
    "no|not (significant*) (obvious) increase* in|of (the) size*|number*|dimension*; not only; not just; no longer only",
    "no|not (significant*) regress*; no|not (significant*) progress*; not optimal*; not clearly|optimally evaluat*",
    "no doubt; not chang*; not differ*; not exclude*; not be excluded; not rule* out; not be ruled out; no contrast",
    "not certain; not reach*; no contraindication; not exceed*; not been exclude*; not given; not specific; not pathological",
    "not show|showing (significant) (obvious) change*; not enlarged significantly; not increased significantly; not fully",
    "not cause*; not distort*; not causing; not accompan*; not large; not very; not significantly change*; not include*",
    "not contain*; not associat*; not obstruct*",
)
"""Look-alikes: they neither deny what follows nor what precedes, where the denied word is not the term itself."""

DOUBT_BEFORE = table(
    "possibl*; probabl*; may be|represent|reflect|indicate|suggest|belong; might; could be|represent|reflect; suspicious for|of",
    "suspect*; suspicion of; questionable; cannot|can't exclude; cannot|can't be excluded; not excluded",
    "differential diagnosis; in terms of; with regard to; versus; vs; likely; susp*; in the diagnosis; to rule out; rule out",
    "evaluate* for; recommended for; equivocal",
)
"""Cues that leave open what follows in their clause."""

DOUBT_AFTER = table(
    "cannot|can't be excluded|ruled; could not be excluded|ruled|differentiated|distinguished; can not be excluded|ruled",
    "is|are|was|were suspected; is|are|was|were suspicious; is|are|was|were possible|questionable; not excluded",
    "may be present; is|are in the differential; considered in the differential; should be excluded",
)
"""Cues that leave open what precedes in their clause."""

SCOPE_ENDS = table("except; other than; apart from; aside from; in addition; besides; secondary to; due to; compatible with")
"""Words that end the reach of a denial before them."""
