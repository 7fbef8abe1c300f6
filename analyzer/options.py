"""Options of the command line: what ``parser.add_argument`` declares, ``args.name`` is.

The value is an ``option`` with its default as input: nobody knows what a run is called with, but rules may
ask what it usually is (:func:`usual`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..rules.finding import Site
from .values import UNKNOWN, Const, Data, Obj, Value

if TYPE_CHECKING:
    from .expressions import Arguments
    from .interpret import Interpreter

PARSER = "argparse.ArgumentParser"
NAMESPACE = "argparse.Namespace"
_FLAGS = {"store_true": False, "store_false": True}
_NO_VALUE = frozenset(("help", "version"))


def usual(value: Value | None) -> Value | None:
    """The value itself, or the default of the option that it is."""
    return value.inputs[0] if type(value) is Data and value.op == "option" else value


def add_argument(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    """Note what the option is called and what it is unless somebody sets it."""
    parser = _parser(owner)
    named = {key: value for key, value in args if key not in (None, "*", "**")}
    flags = [v.value for k, v in args if k is None and type(v) is Const and isinstance(v.value, str)]
    name = _destination(flags, named.get("dest"))
    action = named.get("action")
    word = action.value if type(action) is Const else None
    if parser is not None and name is not None and word not in _NO_VALUE:
        default = named.get("default", run.space.const(_FLAGS[word]) if word in _FLAGS else UNKNOWN)
        run.state.set_attribute(parser, name, run.space.data("option", site, (default,)))
    return run.space.data("add_argument", site, (owner,))


def group(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    """Groups of options write into the namespace of their parser."""
    return owner if _parser(owner) is not None else run.space.data("add_argument_group", site, (owner,))


def parse(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    """A namespace that holds the options declared so far."""
    parser = _parser(owner)
    if parser is None:
        return run.space.data("parse_args", site, (owner, *(v for _, v in args)))
    made = run.space.obj(NAMESPACE, site, run.context)
    for name in list(run.state.attributes.get(parser, ())):
        value = run.state.get(parser, name)
        if value is not None and not name.startswith("$"):
            run.state.set_attribute(made, name, value)
    return made


def parse_known(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    """The namespace, and what is left."""
    return run.space.sequence((parse(run, owner, args, site), run.space.data("parse_known_args", site, (owner,))))


def _parser(value: Value) -> Obj | None:
    return value if type(value) is Obj and value.cls == PARSER else None


def _destination(flags: list[str], dest: Value | None) -> str | None:
    """As argparse derives it: ``dest``, else the first long flag, else the first."""
    if type(dest) is Const and isinstance(dest.value, str):
        return dest.value
    long = next((flag for flag in flags if flag.startswith("--")), flags[0] if flags else None)
    return None if long is None else long.lstrip("-").replace("-", "_")
