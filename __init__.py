"""nnaudit finds the silent mistakes in PyTorch training code.

>>> import nnaudit
>>> result = nnaudit.scan(["src/"])
>>> for finding in result.findings:
...     print(finding.place, finding.code, finding.message)

Importing this module is cheap: neither torch nor a parser is loaded before something is scanned.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .analyzer.result import ScanResult
    from .interfaces.trace import Tracing
    from .tracer.probes.api import (
        Inconclusive,
        assert_connected,
        assert_gradients_correct,
        assert_loss_at_chance,
        assert_no_crosstalk,
        assert_overfits,
        assert_shapes_flow,
        probe,
    )

__version__ = "0.1.0"
__all__ = [
    "Inconclusive",
    "__version__",
    "assert_connected",
    "assert_gradients_correct",
    "assert_loss_at_chance",
    "assert_no_crosstalk",
    "assert_overfits",
    "assert_shapes_flow",
    "probe",
    "scan",
    "trace",
]

_PathLike = str | os.PathLike[str]


def scan(
    paths: Sequence[_PathLike] | _PathLike = ".",
    *,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    extend_select: Sequence[str] = (),
    min_confidence: str | None = None,
    config: _PathLike | None = None,
    jobs: int = 1,
    cache: bool = True,
    overlay: Mapping[_PathLike, str] | None = None,
) -> ScanResult:
    """Scan files and folders from their source, exactly as ``nnaudit scan`` does.

    ``select``, ``ignore`` and ``extend_select`` take codes (``NN302``), prefixes (``NN3``), names
    (``cross-entropy-on-probabilities``) or ``ALL``. ``min_confidence`` is ``certain`` or ``likely``.
    ``config`` names a configuration file instead of the nearest one. ``overlay`` gives unsaved text
    for paths. With ``jobs`` above 1 the calling script needs the usual
    ``if __name__ == "__main__":``, because files are then parsed in other processes.

    What could not be done (an unreadable file, a misspelt rule) is not raised: it stands in
    ``result.problems``.
    """
    from .interfaces.scan import Request, run
    from .interfaces.selection import Wanted

    named = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    request = Request(
        paths=tuple(named),
        wanted=Wanted(
            select=None if select is None else tuple(select),
            ignore=tuple(ignore),
            extend_select=tuple(extend_select),
            min_confidence=min_confidence,
            config=config,
        ),
        jobs=jobs,
        cache=cache,
        overlay=dict(overlay or {}),
    )
    return run(request).result


def trace(
    *,
    run_dir: _PathLike | None = None,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    extend_select: Sequence[str] = (),
    min_confidence: str | None = None,
    config: _PathLike | None = None,
    every: int | None = None,
    find_nan: bool = False,
    probes: Sequence[str] = (),
    probe_budget: float = 20,
    quiet: bool = False,
) -> Tracing:
    """Watch what trains inside a ``with`` block, in a notebook or a script of one's own.

    >>> with nnaudit.trace() as run:
    ...     train(model, loader)
    >>> run.findings

    Models made before the block are seen too, but without the lines that made them. The selection is that of
    :func:`scan`. With ``run_dir`` the run is recorded there; ``every`` and ``find_nan`` are as for ``nnaudit trace``;
    ``probes`` names the experiments to make, for at most ``probe_budget`` seconds; ``quiet`` prints nothing.
    Raises ``nnaudit.interfaces.trace.Unavailable`` without torch, ``ValueError`` for a wrong selection or an
    unknown experiment.
    """
    from pathlib import Path

    from .interfaces import trace as tracing
    from .interfaces.selection import Wanted

    tracing.require_torch()
    wanted = Wanted(
        select=None if select is None else tuple(select),
        ignore=tuple(ignore),
        extend_select=tuple(extend_select),
        min_confidence=min_confidence,
        config=config,
    )
    judge, problems = tracing.prepare(wanted, Path())
    if problems:
        raise ValueError("; ".join(map(str, problems)))
    from .tracer.probes.names import unknown

    if wrong := unknown(probes):
        raise ValueError(wrong)
    return tracing.Tracing(
        judge,
        None if run_dir is None else Path(run_dir),
        quiet,
        every=every,
        find_nan=find_nan,
        probes=tuple(probes),
        probe_budget=probe_budget,
    )


def __getattr__(name: str) -> object:
    """The experiments need torch, so they are imported when they are asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .tracer.probes import api

    return getattr(api, name)
