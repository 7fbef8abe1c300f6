"""A baseline: findings that are known and put up with, so that only new ones are shown.

Entries are told by file, rule and the text of the line, never by line numbers: code above may come and go.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..rules.finding import Finding

VERSION = 1
Key = tuple[str, str, str]
"""(file as seen from the baseline's folder, code, fingerprint)."""


class NotABaseline(Exception):
    """The file cannot be read as a baseline; the text says why and what to do."""


@dataclass(frozen=True)
class Compared:
    """Findings that are new, how many were known, and which entries nothing corresponds to any more."""

    new: list[Finding]
    known: int
    paid_off: Counter[Key]


def fingerprint(finding: Finding) -> str:
    """Of what the line says, white space apart."""
    return hashlib.sha256(" ".join(finding.text.split()).encode()).hexdigest()[:16]


def write(path: Path, findings: Iterable[Finding]) -> int:
    """Put all of them up with; returns how many. Raises :class:`OSError`."""
    counts = Counter(_key(path, finding) for finding in findings)
    entries = [
        {"filename": file, "code": code, "fingerprint": text, "count": count}
        for (file, code, text), count in sorted(counts.items())
    ]
    path.write_text(json.dumps({"version": VERSION, "findings": entries}, indent=1) + "\n", encoding="utf-8")
    return counts.total()


def load(path: Path) -> Counter[Key]:
    """The entries with their counts. Raises :class:`NotABaseline`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotABaseline(f"{path} does not exist; make it with --write-baseline {path}") from None
    except (OSError, ValueError) as error:
        raise NotABaseline(f"{path} cannot be read ({error}); make it anew with --write-baseline {path}") from None
    try:
        if document["version"] > VERSION:
            raise NotABaseline(f"{path} was written by a newer nnaudit; update nnaudit")
        counts: Counter[Key] = Counter()
        for entry in document["findings"]:
            counts[str(entry["filename"]), str(entry["code"]), str(entry["fingerprint"])] += int(entry["count"])
    except (KeyError, TypeError, ValueError):
        raise NotABaseline(f"{path} is no baseline of nnaudit; make one with --write-baseline {path}") from None
    return counts


def compare(path: Path, known: Counter[Key], findings: Sequence[Finding], ran: set[str], files: set[str]) -> Compared:
    """Take out what is known. ``ran`` are the codes of the rules and ``files`` the names of the files looked at:
    what another rule said of another file cannot be missed.
    """
    left = Counter(known)
    new = []
    for finding in findings:
        key = _key(path, finding)
        if left[key] > 0:
            left[key] -= 1
        else:
            new.append(finding)
    looked_at = {_relative(path, name) for name in files}
    gone = Counter({k: n for k, n in left.items() if n > 0 and k[0] in looked_at and k[1] in ran})
    for (file, code, text), count in list(left.items()):
        # A file that is no more has no mistakes.
        if count > 0 and code in ran and not (path.parent / file).exists():
            gone[file, code, text] = count
    return Compared(new, len(findings) - len(new), gone)


def _key(path: Path, finding: Finding) -> Key:
    return _relative(path, finding.place.filename), finding.code, fingerprint(finding)


def _relative(path: Path, filename: str) -> str:
    return os.path.relpath(os.path.abspath(filename), os.path.abspath(path.parent)).replace(os.sep, "/")
