"""The script's own lines from the forward pass to ``backward``, run again in the child: its loss as a function.

No guess is made of what the loss is. At the first backward pass the innermost frame that was running both then and
when the model was called holds the statements in between; they are compiled anew and run with the frame's variables
as they stand, up to the call of ``backward``, which hands the loss over instead. That it *is* the script's loss is
proven: with the random generators as they were, it must come out equal.
"""

from __future__ import annotations

import ast
import linecache
import random
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

TOLERANCE = 1e-4
"""Relative difference between the loss and its repetition: the child computes on one thread."""
_RUN, _ONCE = "__nnaudit_replay__", "__nnaudit_once__"

Given = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]
"""A call of a module."""
Buffers = Sequence[tuple[torch.Tensor, torch.Tensor]]
Stack = list[tuple[int, CodeType, int]]
"""Identity, code and running row of each frame, the innermost first."""


class Skip(Exception):
    """An experiment cannot be made; ``code`` is the reason, for people and tables."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


class Randomness(NamedTuple):
    """The states of the global generators."""

    torch: torch.Tensor
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> Randomness:
        """As they are."""
        return cls(torch.get_rng_state(), np.random.get_state(), random.getstate())

    def restore(self) -> None:
        """Set them."""
        torch.set_rng_state(self.torch)
        np.random.set_state(self.numpy)
        random.setstate(self.python)


@dataclass
class Step:
    """The way from a batch to a loss: ``run`` is given the variables and returns the loss with its graph.

    ``randomness`` are the generators' states with which it gives the script's own loss. ``bound`` are variables that
    it changes: they cannot be taken for parts of the batch.
    """

    run: Callable[[dict[str, Any]], torch.Tensor]
    names: dict[str, Any]
    randomness: Randomness
    bound: frozenset[str] = frozenset()
    reads: frozenset[str] = field(default_factory=frozenset)
    made: dict[str, Any] = field(default_factory=dict)
    """Variables that were made by these lines, as they are afterwards: not there at the beginning."""
    buffers: Buffers = ()
    """Buffers of the model as they were before its forward pass, which may have written to them."""

    def loss(self, names: dict[str, Any] | None = None) -> torch.Tensor:
        """Evaluate it, with the generators as they are."""
        return self.run(self.names if names is None else names)

    def original(self) -> torch.Tensor:
        """Evaluate it with the random numbers that the script drew."""
        for buffer, value in self.buffers:
            buffer.data.copy_(value)
        self.randomness.restore()
        return self.loss()


class _Captured(BaseException):
    """Carries the loss out of the script's lines; no ``except Exception`` of theirs stops it."""

    def __init__(self, tensors: Any) -> None:
        super().__init__()
        self.tensors = tensors


def find(
    stack: Stack,
    states: Sequence[Randomness],
    buffers: Buffers,
    calls: Sequence[Given],
    frames: Sequence[FrameType],
    loss: torch.Tensor,
) -> Step:
    """The step that gave this loss. ``frames`` run now, the innermost first; ``stack`` ran at the forward pass.

    Raises :class:`Skip`: ``source-not-found``, ``loss-not-reproduced``, ``older-graph``, ``changes-its-input``.
    """
    frame, row = _common(stack, frames)
    value = float(loss.detach())
    reasons: list[Skip] = []
    for statements in _ranges(frame, row):
        try:
            step = _compiled(frame, statements, states[-1])
        except (SyntaxError, ValueError) as error:
            reasons.append(Skip("source-not-found", str(error)))
            continue
        step.buffers = buffers
        for state in reversed(states):
            step.randomness = state
            reason = _tried(step, value)
            if reason is not None and _take_back(step, calls):
                reason = _tried(step, value)
            if reason is None:
                return step
            reasons.append(reason)
    raise reasons[0]  # of the shortest way


def _tried(step: Step, value: float) -> Skip | None:
    try:
        return _proof(step, value)
    except Skip as skip:
        return skip
    except Exception as error:
        return Skip("loss-not-reproduced", f"{type(error).__name__}: {error}")


def _take_back(step: Step, calls: Sequence[Given]) -> bool:
    """Variables that the lines use and then change (``out, state = model(x, state)``) get their old values back.

    What the model was given tells them: an argument that is such a variable now was another thing then.
    """
    known = {**step.made, **step.names}
    changed = [n for n in step.bound & step.reads if n in known]
    old: dict[str, Any] = {}
    waiting = {id(module): (args, kwargs) for module, args, kwargs in reversed(calls)}

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        then = waiting.pop(id(module), None)
        if then is None:
            return
        pairs = [*zip(args, then[0], strict=False), *((v, then[1].get(k)) for k, v in kwargs.items())]
        for now, was in pairs:
            old.update({n: was for n in changed if known[n] is now and was is not now})

    handles = [module.register_forward_pre_hook(before, with_kwargs=True) for module, _, _ in calls]
    with suppress(Exception):
        step.run({**step.made, **step.names})
    for handle in handles:
        handle.remove()
    # Detached or moved on the way to the model: what has the shapes of the variable is a guess, which the proof checks.
    given = [value for _, args, kwargs in calls for value in (*args, *kwargs.values())]
    for name in (n for n in changed if n not in old):
        alike = next((v for v in given if v is not known[name] and _shapes(v) == _shapes(known[name]) != []), None)
        if alike is not None:
            old[name] = alike
    step.names.update(old)
    return bool(old)


def _shapes(value: Any) -> list[torch.Size]:
    return [t.shape for t in tensors_in(value)]


def _proof(step: Step, value: float) -> Skip | None:
    """None where the step gives this value, twice; else why it is not taken."""
    first, second = (step.original() for _ in range(2))
    if not _close(float(first.detach()), value):
        return Skip("loss-not-reproduced", f"{float(first.detach()):.6g} instead of {value:.6g}")
    if not _close(float(second.detach()), value):
        return Skip("changes-its-input")
    older = sorted(n for n in step.reads for t in tensors_in(step.names.get(n)) if t.grad_fn is not None)
    if older:
        return Skip("older-graph", older[0])
    return None


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= TOLERANCE * max(abs(a), abs(b), 1e-3)


def _common(stack: Stack, frames: Sequence[FrameType]) -> tuple[FrameType, int]:
    """The innermost frame that ran at both times, and the row that it was at in the forward pass."""
    before = {(number, id(code)): row for number, code, row in stack}
    for frame in frames:
        row = before.get((id(frame), id(frame.f_code)))
        name = frame.f_code.co_name
        if row is not None and (name == "<module>" or not name.startswith("<")):  # not a lambda or comprehension
            return frame, row
    raise Skip("source-not-found", "no function runs both the forward and the backward pass")


def _ranges(frame: FrameType, row: int) -> Iterator[list[ast.stmt]]:
    """The statements from the forward pass to ``backward``; then those from the beginning of their block."""
    code = frame.f_code
    lines = linecache.getlines(code.co_filename, frame.f_globals)
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError as error:
        raise Skip("source-not-found", str(error)) from None
    scope: Any = tree
    if code.co_name != "<module>":
        scope = next((node for node in ast.walk(tree) if _is_code(node, code)), None)
    if scope is None or not lines:
        raise Skip("source-not-found", f"{code.co_filename}:{code.co_firstlineno}")
    block = _block(scope.body, row, frame.f_lineno)
    first = next(i for i, s in enumerate(block) if _holds(s, row))
    last = next(i for i, s in enumerate(block) if _holds(s, frame.f_lineno))
    first, last = min(first, last), max(first, last)
    yield block[first : last + 1]
    if first:
        yield block[: last + 1]


def _is_code(node: ast.AST, code: CodeType) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name != code.co_name:
        return False
    return code.co_firstlineno in (node.lineno, *(d.lineno for d in node.decorator_list))


def _holds(statement: ast.stmt, row: int) -> bool:
    return statement.lineno <= row <= (statement.end_lineno or statement.lineno)


def _block(statements: list[ast.stmt], *rows: int) -> list[ast.stmt]:
    """The innermost block with both rows, in loops and branches of one function."""
    for statement in statements:
        if all(_holds(statement, row) for row in rows):
            for name in ("body", "orelse", "finalbody", "handlers"):
                for inner in _blocks(getattr(statement, name, None)):
                    if all(any(_holds(s, row) for s in inner) for row in rows):
                        return _block(inner, *rows)
    return statements


def _blocks(value: Any) -> list[list[ast.stmt]]:
    if not isinstance(value, list) or not value:
        return []
    return [handler.body for handler in value] if isinstance(value[0], ast.ExceptHandler) else [value]


def _compiled(frame: FrameType, statements: list[ast.stmt], state: Randomness) -> Step:
    """The statements as a function of the variables that the frame has."""
    bound = frozenset(n.id for s in statements for n in ast.walk(s) if isinstance(n, ast.Name) and _is_store(n))
    reads = frozenset(n.id for s in statements for n in ast.walk(s) if isinstance(n, ast.Name) and not _is_store(n))
    # What these lines made when they ran first is not there yet when they begin.
    now = frame.f_locals
    made = {n: now[n] for n in bound if any(t.grad_fn is not None for t in tensors_in(now.get(n)))}
    once = ast.parse(f"for {_ONCE} in (0,): pass").body[0]
    assert isinstance(once, ast.For)
    once.body = statements  # a loop of its own, for their break and continue
    if frame.f_code.co_name == "<module>":
        code = compile(ast.fix_missing_locations(ast.Module([once], [])), frame.f_code.co_filename, "exec")
        scope = frame.f_globals

        def run(names: dict[str, Any]) -> torch.Tensor:
            before = dict(scope)
            scope.update(names)
            for name in made.keys() - names.keys():
                scope.pop(name, None)
            try:
                return _capture(lambda: exec(code, scope))
            finally:
                scope.clear()
                scope.update(before)

        return Step(run, {k: v for k, v in scope.items() if k not in made}, state, bound, reads, made=made)
    names = {k: v for k, v in now.items() if k.isidentifier() and k not in made}
    function = _function(frame, once, list(names), list(made))
    return Step(lambda values: _capture(lambda: function(**values)), names, state, bound, reads, made=made)


def _function(frame: FrameType, body: ast.stmt, names: list[str], made: list[str]) -> Callable[..., Any]:
    """In a class of the same name where it is a method: private names are mangled. ``made`` may be left unset."""
    lines = [f"    if {name} is ...: del {name}\n" for name in made]
    text = f"def {_RUN}({', '.join([*names, *(f'{name}=...' for name in made)])}):\n{''.join(lines)}    pass"
    path = frame.f_code.co_qualname.split(".")
    owner = path[-2] if len(path) > 1 and path[-2].isidentifier() else ""
    if owner:
        text = f"class {owner}:\n" + textwrap.indent(text, "    ")
    tree = ast.parse(text)
    function: Any = tree.body[0].body[0] if owner else tree.body[0]  # type: ignore[attr-defined]
    function.body[-1] = body
    scope: dict[str, Any] = {}
    code = compile(ast.fix_missing_locations(tree), frame.f_code.co_filename, "exec")
    # The script's own globals, so that its functions see what these lines change; our name does not stay there.
    exec(code, frame.f_globals, scope)
    return vars(scope[owner])[_RUN] if owner else scope[_RUN]  # type: ignore[no-any-return]


def _is_store(name: ast.Name) -> bool:
    return not isinstance(name.ctx, ast.Load)


@contextmanager
def _patched(replacement: Callable[..., Any]) -> Iterator[None]:
    held = torch.autograd.backward
    torch.autograd.backward = replacement
    try:
        yield
    finally:
        torch.autograd.backward = held


def _capture(lines: Callable[[], Any]) -> torch.Tensor:
    """Run them up to ``backward``, and return what it was called on."""

    def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
        raise _Captured(tensors)

    try:
        with _patched(backward), torch.enable_grad():
            lines()
    except _Captured as captured:
        found = captured.tensors
        found = found[0] if isinstance(found, list | tuple) else found
        if isinstance(found, torch.Tensor) and found.numel() == 1:
            return found
    raise Skip("loss-not-reproduced", "backward was not reached")


def tensors_in(value: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """The tensors in a value: itself, or in lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth < 3 and isinstance(value, dict | list | tuple):
        for item in list(value.values() if isinstance(value, dict) else value)[:64]:
            yield from tensors_in(item, depth + 1)
