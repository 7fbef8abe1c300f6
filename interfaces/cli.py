"""The command line.

Only click is imported at the top: ``nnaudit --help`` and shell completion answer at once, and no command
loads more than it needs.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from ..reports import FORMATS, TEXT_FORMATS
from ..tracer.probes.names import PROBES, unknown

if TYPE_CHECKING:
    from ..rules.rule import Rule
    from ..tracer.run import Run
    from .scan import Outcome, Request
    from .selection import Wanted

NOTHING_FOUND, FOUND, FAILED, INTERRUPTED = 0, 1, 2, 130
PROGRAM = "nnaudit"
STDIN = "-"
STDIN_NAME = "<stdin>"
PROGRESS_AFTER = 1.0
"""Seconds of work before a progress bar appears."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 nothing found, 1 findings, 2 nnaudit could not do its work."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            _ERRORS.append((stream, stream.errors))
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    status = FAILED
    try:
        own_process = arguments is None
        status = cli.main(arguments, prog_name=PROGRAM, standalone_mode=False, obj=own_process) or NOTHING_FOUND
        with contextlib.suppress(AttributeError, ValueError):  # a traced script may have closed it
            sys.stdout.flush()
    except click.exceptions.Exit as stop:
        status = stop.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        status = INTERRUPTED
    except click.ClickException as error:
        error.show()
        status = error.exit_code if error.exit_code != FOUND else FAILED
    except BrokenPipeError:
        _silence_stdout()
    except Exception:
        traceback.print_exc()
        click.echo("nnaudit: internal error, see above; please report it", err=True)
    sys.exit(status)


_ERRORS: list[tuple[Any, str | None]] = []
"""The standard streams, and what Python does there with characters that cannot be encoded."""


def give_streams_back() -> None:
    """Undo what :func:`main` does to the standard streams: a traced script finds them as Python makes them."""
    while _ERRORS:
        stream, errors = _ERRORS.pop()
        stream.reconfigure(errors=errors)


def _silence_stdout() -> None:
    """The reader has gone (``nnaudit ... | head``): what Python flushes at exit must go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Find silent mistakes in PyTorch training code."""


def _list_option(*names: str, help: str) -> Callable[[Any], Any]:
    return click.option(*names, multiple=True, metavar="RULES", help=help)


def _selection_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options by which every command that judges something chooses rules."""
    options = (
        _list_option("--select", help="Rules to run: codes, prefixes such as NN3, names, or ALL; separated by commas."),
        _list_option("--ignore", help="Rules not to run."),
        _list_option("--extend-select", help="Rules to run in addition."),
        click.option("--min-confidence", type=click.Choice(["certain", "likely"]), help="Also show likely findings."),
        click.option("--config", type=click.Path(), help="Use this configuration file instead of the nearest one."),
        click.option("--exit-zero", is_flag=True, help="Exit with 0 although there are findings."),
        click.option("--output-file", "-o", type=click.Path(dir_okay=False), help="Write the report there."),
    )
    for option in reversed(options):
        command = option(command)
    return command


_format_option = click.option("--output-format", type=click.Choice(list(FORMATS)), default="full", show_default=True)


@cli.command()
@click.argument("paths", nargs=-1, type=click.Path(allow_dash=True))
@_selection_options
@_format_option
@click.option("--show-unknown", is_flag=True, help="List the training loops that were not fully understood, and why.")
@click.option("--statistics", is_flag=True, help="Show counts by rule instead of the findings.")
@click.option("--baseline", type=click.Path(dir_okay=False), help="Do not show the findings that this file lists.")
@click.option("--write-baseline", type=click.Path(dir_okay=False), help="List the present findings in this file.")
@click.option("--jobs", "-j", default="auto", metavar="N", help="Processes for parsing; default: one for each CPU.")
@click.option("--no-cache", is_flag=True, help="Neither read nor write the cache.")
@click.option("--stdin-filename", type=click.Path(), help="The path that the text read through - belongs to.")
def scan(paths: tuple[str, ...], output_format: str, output_file: str | None, **options: Any) -> int:
    """Scan files and folders (default: the current one) from their source alone.

    Exit status: 0 nothing found, 1 findings, 2 nnaudit could not do its work.
    """
    from .scan import run

    if options["statistics"] and output_format not in (*TEXT_FORMATS, "json"):
        raise click.UsageError("--statistics goes with --output-format full, concise or json")
    request = _request(paths, options)
    with _progress() as progress, _nothing_collected():
        outcome = run(request, progress)
    for problem in outcome.result.problems:
        click.echo(f"error: {_plain(str(problem))}", err=True)
    for warning in (*outcome.result.warnings, *([outcome.warning] if outcome.warning else [])):
        click.echo(f"warning: {_plain(str(warning))}", err=True)
    if outcome.paid_off:
        click.echo(f"{_plain(_paid_off(outcome.paid_off))}", err=True)
    if outcome.written is not None:
        click.echo(f"{_count(outcome.written, 'finding')} listed in {options['write_baseline']}.", err=True)
        return NOTHING_FOUND
    written = _write(_report(outcome, request, output_format, output_file, options), output_file)
    if outcome.result.problems or not written:
        return FAILED
    return FOUND if outcome.result.findings and not options["exit_zero"] else NOTHING_FOUND


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """A scan makes millions of objects that live until the process ends: looking for garbage among them, and once more
    when Python shuts down, takes a fifth of the time and finds nothing.
    """
    if not click.get_current_context().obj:
        yield
        return
    gc.disable()
    yield
    gc.freeze()


def _paid_off(number: int) -> str:
    return f"{_count(number, 'finding')} of the baseline no longer found; --write-baseline takes out what is paid off"


def _count(number: int, noun: str) -> str:
    from ..reports.summary import count

    return count(number, noun)


def _request(paths: tuple[str, ...], options: dict[str, Any]) -> Request:
    from .scan import Request

    overlay: dict[str | os.PathLike[str], str] = {}
    if STDIN in paths:
        from ..analyzer.source import Unreadable, decode

        name = options["stdin_filename"] or STDIN_NAME
        try:
            overlay[name] = decode(sys.stdin.buffer.read())
        except Unreadable as error:
            raise click.ClickException(f"{name}: {error}") from None
        paths = tuple(name if path == STDIN else path for path in paths)
    elif options["stdin_filename"]:
        raise click.UsageError("--stdin-filename needs - as a path")
    return Request(
        paths=paths or (".",),
        wanted=_wanted(options),
        jobs=_jobs(options["jobs"]),
        cache=not options["no_cache"],
        overlay=overlay,
        explain_unknown=options["show_unknown"],
        baseline=options["baseline"],
        write_baseline=options["write_baseline"],
    )


def _wanted(options: dict[str, Any]) -> Wanted:
    from .selection import Wanted

    return Wanted(
        select=_split(options["select"]) or None,
        ignore=_split(options["ignore"]),
        extend_select=_split(options["extend_select"]),
        min_confidence=options["min_confidence"],
        config=options["config"],
    )


def _split(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def _jobs(text: str) -> int:
    if text == "auto":
        try:
            return len(os.sched_getaffinity(0))
        except AttributeError:  # not on this system
            return os.cpu_count() or 1
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise click.BadParameter("a whole number from 1 or auto is needed", param_hint="--jobs")
    return number


def _report(
    outcome: Outcome, request: Request, output_format: str, output_file: str | None, options: dict[str, Any]
) -> str:
    """Everything that goes to standard output or to the file."""
    from .. import reports
    from ..reports import summary
    from ..reports.text import SourceLines

    color = output_file is None and _colored(sys.stdout)
    if options["statistics"]:
        text = summary.statistics(outcome.result, as_json=output_format == "json")
    else:
        from pathlib import Path

        overlay = {Path(os.path.abspath(path)): text for path, text in request.overlay.items()}
        source = SourceLines(overlay)
        text = reports.render(output_format, outcome.result, outcome.rules, source=source, color=color)
    if output_format not in TEXT_FORMATS:
        if options["show_unknown"]:
            click.echo(summary.unknown(outcome.result), err=True, nl=False)
        return text
    if options["show_unknown"]:
        text += summary.unknown(outcome.result)
    return text + summary.closing(outcome.result, outcome.hidden_likely, outcome.known, color=color)


def _write(text: str, output_file: str | None) -> bool:
    """Print the report or write the file; False (with a message) if the file cannot be written."""
    if output_file is None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            _silence_stdout()
        return True
    try:
        with open(output_file, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
    except OSError as error:
        click.echo(f"error: {output_file}: cannot be written ({error.strerror or error})", err=True)
        return False
    return True


def _plain(text: str) -> str:
    from ..reports.text import one_line

    return one_line(text)


def _clean(text: str) -> str:
    """Lines without anything that a terminal would obey."""
    return "".join(character for character in text if character.isprintable() or character == "\n")


def _colored(stream: Any) -> bool:
    """Colour only on a terminal, and never against https://no-color.org."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and _is_terminal(stream)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar on a terminal, once the work has taken a second."""
    if not _is_terminal(sys.stderr):
        yield None
        return
    bar = _Bar()
    try:
        yield bar
    finally:
        bar.close()


class _Bar:
    """Draws nothing, and imports nothing, before :data:`PROGRESS_AFTER` seconds have passed."""

    def __init__(self) -> None:
        import time

        self._clock = time.monotonic
        self._start = self._clock()
        self._shown: Any = None
        self._tasks: dict[str, Any] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._shown is None:
            if self._clock() - self._start < PROGRESS_AFTER:
                return
            self._shown = self._open()
        if stage not in self._tasks:
            self._tasks[stage] = self._shown.add_task(stage, total=total)
        self._shown.update(self._tasks[stage], completed=done, total=total)

    def _open(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        progress = Progress(*columns, console=Console(stderr=True), transient=True)
        progress.start()
        return progress

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._shown is not None:
            self._shown.stop()


class _Trace(click.Command):
    """``--probe`` may stand alone: what follows it is a name of an experiment only if it is one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with the usual experiments where none are named."""
        for place, text in enumerate(args):
            if text == "--":
                break
            if text == "--probe" and not (place + 1 < len(args) and _is_probe(args[place + 1])):
                args = [*args[:place], "--probe=usual", *args[place + 1 :]]
                break
            if not text.startswith("-") and (not place or args[place - 1] not in _VALUED):
                break  # the script: what follows is its own
        return super().parse_args(ctx, args)


_VALUED = frozenset("--steps --every --run-dir --probe --probe-budget --select --ignore --extend-select".split()) | {
    "--min-confidence",
    "--config",
    "--output-format",
    "--output-file",
    "-m",
}


def _is_probe(text: str) -> bool:
    return all(name in (*PROBES, "all", "usual") for name in text.split(","))


def _probes(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """The names of the experiments; "" is none."""
    if not value:
        return ()
    names = value.split(",")
    if wrong := unknown(name for name in names if name not in ("all", "usual")):
        raise click.BadParameter(f"{wrong}, all")
    if "all" in names:
        return tuple(PROBES)
    usual = [name for name, optional in PROBES.items() if not optional] if "usual" in names else []
    return tuple(dict.fromkeys([*usual, *(name for name in names if name != "usual")]))


def _run_options(command: Callable[..., int]) -> Callable[..., int]:
    """What can be asked of a run."""
    for option in reversed(_RUN_OPTIONS):
        command = option(command)
    return command


_RUN_OPTIONS = (
    click.argument("script"),
    click.argument("arguments", nargs=-1, type=click.UNPROCESSED),
    click.option("-m", "as_module", is_flag=True, help="SCRIPT is a module or package, as for python -m."),
    click.option(
        "--steps", type=click.IntRange(1), metavar="N", help="End the run after N optimizer steps: a preflight."
    ),
    click.option(
        "--every", type=click.IntRange(1), metavar="K", help="Look closely at every K-th step; default: by cost."
    ),
    click.option("--run-dir", type=click.Path(file_okay=False), help="Record the run there; default: nnaudit_runs/..."),
    click.option("--eager", is_flag=True, help="Switch torch.compile off, so that activations can be seen."),
    click.option(
        "--find-nan", is_flag=True, help="Wait for every loss on accelerators, to catch the first bad number."
    ),
    click.option(
        "--probe",
        "probes",
        callback=_probes,
        metavar="[NAME,...|all]",
        help="Make experiments on copies of the training before its first step: "
        + ", ".join(name for name, optional in PROBES.items() if not optional)
        + "; with all also "
        + (", ".join(name for name, optional in PROBES.items() if optional) or "none")
        + ".",
    ),
    click.option(
        "--probe-budget",
        type=click.FloatRange(1),
        default=20,
        show_default=True,
        metavar="SECONDS",
        help="Time for all experiments together.",
    ),
)


@cli.command(cls=_Trace, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_run_options
@_selection_options
@_format_option
def trace(script: str, arguments: tuple[str, ...], **options: Any) -> int:
    """Run SCRIPT as Python would, and watch what it trains; nothing in the script needs to change.

    Everything that nnaudit says goes to standard error (or to --output-file), so the script's own output stays as it
    is. Exit status: the script's own where that is not 0, else 1 for findings, 2 if nothing could be watched.
    """
    from .run_script import run_script

    return run_script(script, arguments, _wanted(options), options, audit=False)


@cli.command(cls=_Trace, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_run_options
@_selection_options
@_format_option
def audit(script: str, arguments: tuple[str, ...], **options: Any) -> int:
    """Run and watch SCRIPT as trace does, with the usual experiments, scan its folder, and join what both say.

    Each finding carries a verdict: confirmed (source and run agree), observed (only the run shows it) or claimed (only
    the source says it). What the run refutes, and what lies in files that it did not import, is listed apart and does
    not count for the exit status, which is that of trace.
    """
    from .run_script import run_script

    probes = options["probes"] or tuple(name for name, optional in PROBES.items() if not optional)
    return run_script(script, arguments, _wanted(options), {**options, "probes": probes}, audit=True)


@cli.command()
@click.argument("run", required=False, type=click.Path())
@click.option("--probes", is_flag=True, help="Show every experiment, and the shapes that flow through the model.")
@click.option("--csv", type=click.Path(dir_okay=False), help="Write every recorded number to this file.")
@click.option("--tensorboard", type=click.Path(file_okay=False), help="Write them as event files into this folder.")
@_selection_options
@_format_option
def report(
    run: str | None,
    output_format: str,
    output_file: str | None,
    probes: bool,
    csv: str | None,
    tensorboard: str | None,
    **options: Any,
) -> int:
    """Judge a recorded RUN (a folder; default: the latest below nnaudit_runs) again."""
    from pathlib import Path

    from ..tracer.store import NotARecord
    from . import trace as tracing

    judge, problems = tracing.prepare(_wanted(options), Path())
    for problem in problems:
        click.echo(f"error: {_plain(str(problem))}", err=True)
    try:
        judgement = tracing.report(Path(run) if run else tracing.latest_run(), judge)
    except NotARecord as error:
        raise click.ClickException(str(error)) from None
    if probes:
        from ..reports.experiments import table

        _write(_clean(table(judgement.run)), None)
    color = output_file is None and _colored(sys.stdout)
    written = _write(judgement.text(output_format, color=color), output_file)
    exported = _exported(judgement.run, csv, tensorboard)
    if problems or not written or not exported:
        return FAILED
    return FOUND if judgement.findings and not options["exit_zero"] else NOTHING_FOUND


def _exported(run: Run, csv: str | None, tensorboard: str | None) -> bool:
    """Write the numbers where they are wanted; False, with a message, where that cannot be done."""
    from pathlib import Path

    from ..reports import export

    try:
        if csv is not None:
            with open(csv, "w", newline="", encoding="utf-8") as stream:
                click.echo(f"{export.write_csv(run, stream):,} numbers in {csv}", err=True)
        if tensorboard is not None:
            number = export.write_tensorboard(run, Path(tensorboard))
            click.echo(
                f"{number:,} numbers in {tensorboard}; look at them: tensorboard --logdir {tensorboard}", err=True
            )
    except OSError as error:
        click.echo(f"error: {error.filename or csv}: cannot be written ({error.strerror or error})", err=True)
        return False
    except ImportError:
        click.echo("error: tensorboard is not installed; install it with: pip install 'nnaudit[tensorboard]'", err=True)
        return False
    return True


@cli.command()
@click.argument("run_a", type=click.Path())
@click.argument("run_b", type=click.Path())
@_selection_options
def compare(run_a: str, run_b: str, **options: Any) -> int:
    """Compare two recorded runs: settings, the order of the data, where numbers part, findings gained and lost.

    Exit status: 1 if anything differs.
    """
    from pathlib import Path

    from ..reports.compare import NO_DIFFERENCE, compare
    from ..tracer.store import NotARecord
    from . import trace as tracing

    judge, problems = tracing.prepare(_wanted(options), Path())
    for problem in problems:
        click.echo(f"error: {_plain(str(problem))}", err=True)
    try:
        a, b = (tracing.report(Path(path), judge) for path in (run_a, run_b))
    except NotARecord as error:
        raise click.ClickException(str(error)) from None
    color = options["output_file"] is None and _colored(sys.stdout)
    text = compare((a.run, b.run), (a.findings, b.findings), (run_a, run_b), color=color)
    written = _write(_clean(text) if not color else text, options["output_file"])
    if problems or not written:
        return FAILED
    same = text.count(NO_DIFFERENCE) == 4
    return NOTHING_FOUND if same or options["exit_zero"] else FOUND


@cli.command()
@click.option("--output-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--write-docs", type=click.Path(file_okay=False), help="Write a page for each rule into this folder.")
def rules(output_format: str, write_docs: str | None) -> int:
    """List all rules."""
    from ..reports.catalogue import as_json, as_text
    from ..rules import discover

    if write_docs is not None:
        return _write_docs(write_docs)
    if output_format == "json":
        _write(as_json(discover()), None)
    else:
        _write(as_text(discover(), color=_colored(sys.stdout)), None)
    return NOTHING_FOUND


def _write_docs(folder: str) -> int:
    """The pages of all rules as they are now; pages of rules that are no more are removed."""
    from pathlib import Path

    from ..reports.rule_pages import pages
    from ..rules import discover

    written = pages(discover())
    Path(folder).mkdir(parents=True, exist_ok=True)
    for old in Path(folder).glob("NN*.md"):
        if old.name not in written:
            old.unlink()
    failed = [name for name, text in written.items() if not _write(text, os.path.join(folder, name))]
    if failed:
        return FAILED
    click.echo(f"{len(written)} pages in {folder}", err=True)
    return NOTHING_FOUND


def _complete_rule(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from ..rules import discover

    words = [word for rule in discover() for word in (rule.code, rule.name)]
    return [word for word in words if word.lower().startswith(incomplete.lower())]


@cli.command()
@click.argument("rule", shell_complete=_complete_rule)
def explain(rule: str) -> int:
    """Show the page of one RULE (code or name)."""
    from ..analyzer.select import find_rule, suggestion
    from ..reports.catalogue import explanation
    from ..rules import discover

    found: type[Rule] | None = find_rule(rule, discover())
    if found is None:
        click.echo(f"error: unknown rule {rule!r}{suggestion(rule, discover())}", err=True)
        return FAILED
    _write(explanation(found, color=_colored(sys.stdout), terminal=_is_terminal(sys.stdout)), None)
    return NOTHING_FOUND


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script of a shell.

    \b
    bash: nnaudit completion bash > ~/.local/share/bash-completion/completions/nnaudit
    zsh:  nnaudit completion zsh > ~/.zfunc/_nnaudit
    fish: nnaudit completion fish > ~/.config/fish/completions/nnaudit.fish
    """  # noqa: D301 - click reads \\b
    from click.shell_completion import get_completion_class

    completer = get_completion_class(shell)
    if completer is None:
        raise click.ClickException(f"click has no completion for {shell}")
    click.echo(completer(cli, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
    return NOTHING_FOUND
