"""What source and run say of one problem, together. Torch-free.

Both sides name the same lines: where a module, loader or optimizer is made, where a loss is evaluated, where
``backward`` or ``step`` is called. Two findings of one rule that share such a line are one finding, with a verdict:

- ``confirmed``: the run shows what the source says.
- ``refuted``: every execution that the run saw was healthy, as the rule itself judges (:meth:`Rule.refute`). That the
  run found nothing refutes nothing.
- ``not reached``: the file was not imported in this run.
- ``observed``: only the run shows it.
- ``claimed``: the run neither shows nor refutes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..rules.finding import Confidence, Finding, Hop
from .evidence import lines_of

if TYPE_CHECKING:
    from ..rules.rule import Rule
    from .run import Run

CONFIRMED, REFUTED, NOT_REACHED, OBSERVED, CLAIMED = "confirmed", "refuted", "not reached", "observed", "claimed"


@dataclass(frozen=True)
class Joined:
    """``standing`` findings count; the others are told apart from them."""

    standing: Sequence[Finding]
    refuted: Sequence[Finding]
    not_reached: Sequence[Finding]


def join(claimed: Iterable[Finding], observed: Iterable[Finding], run: Run, rules: Iterable[Rule]) -> Joined:
    """Every finding of both sides, once, with its verdict. All must be resolved."""
    by_code = {rule.code: rule for rule in rules}
    loaded = {str(file) for file in run.meta.get("files") or ()}
    left = list(observed)
    standing: list[Finding] = []
    refuted: list[Finding] = []
    missed: list[Finding] = []
    for finding in claimed:
        same = [other for other in left if other.code == finding.code and lines_of(other) & lines_of(finding)]
        rule = by_code.get(finding.code)
        if same:
            left = [other for other in left if other not in same]
            standing.append(_confirmed(finding, same))
        elif loaded and os.path.abspath(finding.place.filename) not in loaded:
            missed.append(replace(finding, verdict=NOT_REACHED))
        elif rule is not None and (why := rule.refute(finding, run)):
            hop = Hop(f"refuted by the run: {why}", finding.place)
            refuted.append(replace(finding, verdict=REFUTED, evidence=(*finding.evidence, hop)))
        else:
            standing.append(replace(finding, verdict=CLAIMED))
    standing += [replace(finding, verdict=OBSERVED) for finding in left]
    return Joined(sorted(standing, key=lambda finding: finding.sort_key), refuted, missed)


def _confirmed(finding: Finding, same: Sequence[Finding]) -> Finding:
    """One finding with the evidence of both sides; what the run shows is certain if the run is."""
    hops = [Hop(f"in the run: {other.message}", other.place) for other in same]
    hops += [hop for other in same for hop in other.evidence]
    sure = any(other.confidence is Confidence.CERTAIN for other in same)
    return replace(
        finding,
        verdict=CONFIRMED,
        confidence=Confidence.CERTAIN if sure else finding.confidence,
        evidence=(*finding.evidence, *hops),
        explained_by=finding.explained_by or next((other.explained_by for other in same if other.explained_by), ""),
    )
