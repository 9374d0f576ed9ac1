"""The words that deny or doubt, for English chest CT reports.

The lists follow the idea of NegEx (Chapman et al. 2001: cues before a term, cues after it, and look-alikes that deny
nothing), with the wordings of translated reports ("was not observed", "was not detected"). Phrases are in the language
of `patterns`.
"""

from __future__ import annotations

from colipri_core.language.patterns import table

SEEN = (
    "observed|detected|seen|found|identified|noted|present|visualized|visualised|visible|evident|encountered|demonstrated"
    "|appreciated|distinguished|revealed|recognized|recognised|determined|shown|monitored|followed|selected|noticed"
)
"""Participles that say that something is there."""

DENY_BEFORE = table(
    "no; not; without; absent; absence of; lack of; free of|from; clear of; devoid of; negative for",
    "neither; nor; never; rather than; instead of; resolved; disappear* of",
)
"""Cues that deny what follows in their clause."""

DENY_AFTER = table(
    f"is|are|was|were|has|have|been|be not (been) (clearly) (significantly) {SEEN}; not {SEEN}",
    f"cannot|can't be {SEEN}; could|can not be {SEEN}",
    "is|are|was|were not; isn't; aren't; wasn't; weren't; is|are|was|were absent; absent; none; not the case",
    "has|have disappeared|resolved; disappeared; resolved; has|have|is|are|was|were removed",
    "completely|totally|fully regress*; complete|full|total regression",
    "was|were|is|are|been|be excluded; was|were|is|are|been|be ruled out",
)
"""Cues that deny what precedes in their clause."""

DENY_NOTHING = table(
    "no|without (significant) (obvious) (interval) (other) change*|difference*; no doubt; no contrast",
    "no|not (significant*) (obvious) increase* in|of (the) size*|number*|dimension*",
    "no|not (significant*) regress*|progress*; not show|showing (significant) (obvious) change*",
    "not only; not just; no longer only; not certain; not specific; not fully; not very; not large; not pathological",
    "not chang*; not differ*; not significantly change*; not enlarged|increased significantly; not given",
    "not optimal*; not clearly|optimally evaluat*; not exclude*; not be|been exclude*; not rule* out; not be ruled out",
    "not reach*; not exceed*; not cause*; not causing; not distort*; not accompan*; not include*; not contain*",
    "not associat*; not obstruct*",
)
"""Look-alikes: they deny neither what follows nor what precedes."""

DOUBT_BEFORE = table(
    "possibl*; probabl*; likely; equivocal; questionable; suspect*; susp*; suspicious for|of; suspicion of; might",
    "may be|represent|reflect|indicate|suggest|belong; could be|represent|reflect; versus; vs",
    "cannot|can't exclude; cannot|can't be excluded; not excluded; rule out; to rule out",
    "differential diagnosis; in the diagnosis; in terms of; with regard to; evaluate* for; recommended for",
)
"""Cues that leave open what follows in their clause."""

DOUBT_AFTER = table(
    "cannot|can't be excluded|ruled; can not be excluded|ruled; not excluded; should be excluded",
    "could not be excluded|ruled|differentiated|distinguished; may be present",
    "is|are|was|were suspected|suspicious|possible|questionable; in the differential",
)
"""Cues that leave open what precedes in their clause."""

SCOPE_ENDS = table("except; other than; apart from; aside from; in addition; besides")
"""Words that end the reach of a denial before them."""
