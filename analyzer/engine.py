"""One scan: files -> IR -> linked and interpreted program -> rules -> findings with lines."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..rules.finding import Anchor, Finding, Place, Site, resolve
from ..rules.rule import Rule
from . import discover, load, source, suppress
from .cache import Cache
from .config import Config
from .ir import FileIR
from .link import Files, Linker
from .program import Program
from .result import Problem, ScanResult, Unknown
from .source import Source

Progress = Callable[[str, int, int], None]

VERSION = "3"
"""Part of every cache key: change it whenever the IR or the lowering changes."""


def scan(
    paths: Sequence[Path],
    rules: Sequence[Rule],
    config: Config,
    *,
    jobs: int = 1,
    cache: Cache | None = None,
    overlay: Mapping[Path, str] | None = None,
    progress: Progress | None = None,
    explain_unknown: bool = False,
    catalogue: Sequence[type[Rule]] = (),
) -> ScanResult:
    """Scan files and folders with these rules; ``catalogue`` holds all that exist.

    ``explain_unknown`` also looks up the lines of the loops that were only partly understood.
    ``overlay`` holds unsaved text by absolute path. Whatever cannot be read or parsed becomes a
    problem of the result; everything else is still scanned.
    """
    overlay = overlay or {}
    found = discover.discover(paths, config, tuple(overlay))
    reported = {str(path) for path in found.reported}
    indexed = sorted(reported | {str(path) for path in discover.index(found.root, config)})
    sources, problems = _read(indexed, reported, overlay)
    problems = [*found.problems, *problems]
    triggers = tuple(dict.fromkeys(word for rule in rules for word in rule.triggers))
    files = Files(str(found.root), sources)
    explicit = {os.path.abspath(path) for path in paths if not os.path.isdir(path)}
    chosen = _chosen(sources, files, triggers, explicit)
    sources = {path: sources[path] for path in sources if path in reported or path in chosen}
    for file in sources.values():
        file.forget_bytes()
    irs = _lower(chosen, sources, jobs, cache, progress)
    problems += [value for path, value in irs.items() if isinstance(value, Problem) and path in reported]
    names = {sources[path].filename for path in reported if path in sources}
    linker = Linker(files, {p: v for p, v in irs.items() if isinstance(v, FileIR)}, triggers)
    with load.collection_paused():
        program = Program(load.on_deep_stack(linker.run))
        found_by_rules, crashed = _findings(rules, program)
    findings = [f for f in found_by_rules if isinstance(f.at, Site) and f.at.file in names]
    problems += crashed + [p for p in linker.problems if p.filename in names]
    by_name = {s.filename: s for s in sources.values()}
    loops = [loop for loop in program.training_loops if loop.site.file in names]
    unknown = [(loop.site, loop.unknown) for loop in loops if loop.unknown]
    asked = [site for site, _ in unknown] if explain_unknown else []
    places = _places(by_name, [*_sites(findings), *asked])
    resolved = _one_a_line(sorted((resolve(f, places.__getitem__) for f in findings), key=lambda f: f.sort_key))
    spoken = suppress.apply(resolved, {name: by_name[name] for name in sorted(names)}, rules, catalogue)
    return ScanResult(
        findings=tuple(_with_text(spoken.findings, by_name)),
        suppressed=spoken.suppressed,
        warnings=spoken.warnings,
        reported=tuple(sorted(names)),
        problems=tuple(problems),
        files=len(reported),
        lines=sum(sources[p].text.count("\n") + 1 for p in reported if p in sources),
        loops=len(loops),
        understood=len(loops) - len(unknown),
        unknown=tuple(Unknown(places[site], reason) for site, reason in unknown if explain_unknown),
    )


def _read(
    paths: Iterable[str], reported: set[str], overlay: Mapping[Path, str]
) -> tuple[dict[str, Source], list[Problem]]:
    sources: dict[str, Source] = {}
    problems = []
    for path in paths:
        try:
            sources[path] = source.read(Path(path), overlay)
        except source.Unreadable as error:
            if path in reported:
                problems.append(Problem(source.display_name(path), str(error)))
    return sources, problems


_FIELD = (b"torch", b"lightning", b"sklearn", b"transformers", b"accelerate", b"fastai")
"""A file that names none of these and imports none that does is not about training, whatever its words."""


def _chosen(
    sources: Mapping[str, Source], files: Files, triggers: Sequence[str], explicit: set[str]
) -> Collection[str]:
    """The files worth lowering.

    Files with a trigger (in the field, or importing one that is) and those named by the user, the scripts that import
    one of them, and all that these import.
    """
    words = [word.encode() for word in triggers]
    triggered = {path for path, s in sources.items() if any(word in s.raw for word in words)}
    in_field = {path for path, s in sources.items() if any(word in s.raw for word in _FIELD)}
    imports = {path: files.imported(path, s.raw) for path, s in sources.items()}
    passing = triggered & (in_field | _reaching(imports, in_field)) | (explicit & sources.keys())
    scripts = {path for path in _reaching(imports, passing) if _is_script(path, sources[path], sources)}
    chosen: set[str] = set()
    queue = sorted(passing | scripts)
    while queue:
        path = queue.pop()
        if path not in chosen:
            chosen.add(path)
            queue.extend(imports[path] - chosen)
    return dict.fromkeys(sorted(chosen))


def _reaching(imports: Mapping[str, set[str]], passing: set[str]) -> set[str]:
    """Files that import one of ``passing``, through others or not."""
    importers: dict[str, list[str]] = defaultdict(list)
    for path, imported in imports.items():
        for target in imported:
            importers[target].append(path)
    reached: set[str] = set()
    queue = list(passing)
    while queue:
        new = [p for p in importers[queue.pop()] if p not in reached]
        reached.update(new)
        queue += new
    return reached


def _is_script(path: str, file: Source, sources: Mapping[str, Source]) -> bool:
    """Whether running the file does something: it stands outside packages or has a ``__main__`` part."""
    return b"__main__" in file.raw or os.path.join(os.path.dirname(path), "__init__.py") not in sources


def _lower(
    chosen: Iterable[str], sources: Mapping[str, Source], jobs: int, cache: Cache | None, progress: Progress | None
) -> dict[str, FileIR | Problem]:
    results = load.lower_all(
        [sources[path] for path in chosen], lower, version=VERSION, jobs=jobs, cache=cache, progress=progress
    )
    return {path: results[sources[path].filename] for path in chosen}


def lower(text: str, filename: str) -> FileIR:
    """Lower one file; libcst is imported only now, when a file must really be parsed."""
    from .lower import lower as lower_text

    return lower_text(text, filename)


def _findings(rules: Sequence[Rule], program: Program) -> tuple[list[Finding], list[Problem]]:
    """What the rules say, each place once a rule (a function may have been reached several ways).

    A rule that fails is a problem of its own; the others still speak.
    """
    unique: dict[tuple[str, Anchor | Place], Finding] = {}
    problems = []
    for rule in rules:
        try:
            for finding in rule.scan(program):
                key = (finding.code, finding.at)
                known = unique.get(key)
                if known is None or (known.confidence == "likely" and finding.confidence == "certain"):
                    unique[key] = finding
        except Exception as error:
            what = f"rule {rule.code} failed ({type(error).__name__}: {error})"
            text = f"{what}; please report it, or leave it out with --ignore"
            problems.append(Problem("", text))
    return list(unique.values()), problems


def _one_a_line(findings: Iterable[Finding]) -> list[Finding]:
    """The first finding of a rule on each line: ``(x - x.mean()) / x.std()`` is one problem."""
    return list(
        {(f.code, f.place.filename, f.place.cell, f.place.location.row): f for f in reversed(list(findings))}.values()
    )[::-1]


def _with_text(findings: Iterable[Finding], sources: Mapping[str, Source]) -> Iterator[Finding]:
    """Each with the text of its first line: what tells it from others when line numbers have changed."""
    for finding in findings:
        place = finding.place
        lines = sources[place.filename].lines(place.cell)
        yield replace(finding, text=lines[place.location.row - 1].strip() if place.location.row <= len(lines) else "")


def _sites(findings: Iterable[Finding]) -> list[Site]:
    sites = []
    for finding in findings:
        sites += [place for place in (finding.at, *(hop.at for hop in finding.evidence)) if isinstance(place, Site)]
    return sites


def _places(sources: Mapping[str, Source], sites: Iterable[Site]) -> dict[Site, Place]:
    by_file: dict[str, set[int]] = defaultdict(set)
    for site in sites:
        by_file[site.file].add(site.number)
    places: dict[Site, Place] = {}
    for file, numbers in by_file.items():
        from .positions import locate

        for number, place in locate(sources[file], numbers).items():
            places[Site(file, number)] = place
    return places
