"""Evaluating expressions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..rules.finding import Site
from . import access, ir
from .effects import LoopNode, kinds_in
from .scopes import Frame
from .state import ITEMS
from .values import (
    UNKNOWN,
    Const,
    Data,
    Mapping,
    Obj,
    Sequence,
    Super,
    Union,
    Value,
    alternatives,
    is_none,
)

if TYPE_CHECKING:
    from .interpret import Interpreter

Arguments = tuple[tuple["str | None", Value], ...]
"""Evaluated arguments in order: (None or keyword, value); ``*`` and ``**`` for what could not be spread."""


def evaluate(run: Interpreter, expr: ir.Expr, frame: Frame) -> Value:
    """What an expression may be."""
    return _EVALUATE[type(expr)](run, expr, frame)


def assign(run: Interpreter, target: ir.Expr, value: Value, frame: Frame, site: Site) -> None:
    """Bind a target (a name, an attribute, an item, or a display of them) to a value."""
    if type(target) is ir.Name:
        access.write_name(run, target.id, value, frame)
    elif type(target) is ir.Attribute:
        base = evaluate(run, target.base, frame)
        access.write_attribute(run, base, target.name, value, site)
    elif type(target) is ir.Subscript:
        base = evaluate(run, target.base, frame)
        key = evaluate(run, target.key, frame)
        access.write_item(run, base, key, value, site)
        if type(base) is Data:
            run.emit("write", base, site, inputs=(key, value))
    elif type(target) is ir.Display:
        _unpack(run, target.elements, value, frame, site)
    elif type(target) is ir.Starred:
        assign(run, target.value, value, frame, site)


def _unpack(run: Interpreter, targets: tuple[ir.Expr, ...], value: Value, frame: Frame, site: Site) -> None:
    held = access.contents(run, value)
    run.notes.unpacked.setdefault(value, len(targets))
    starred = any(type(t) is ir.Starred for t in targets)
    if type(held) is Sequence and not held.open and not starred and len(held.items) == len(targets):
        for target, part in zip(targets, held.items, strict=True):
            assign(run, target, part, frame, site)
        return
    after_star = False
    for index, target in enumerate(targets):
        if type(target) is ir.Starred:
            after_star = True
            rest = run.space.data("rest", None, (value, run.space.const(index)))
            assign(run, target.value, rest, frame, site)
            continue
        position = index - len(targets) if after_star else index
        assign(run, target, access.item(run, value, run.space.const(position)), frame, site)


# ---------------------------------------------------------------------------- conditions


def condition_key(condition: Value) -> tuple[Value | None, bool]:
    """What two equal conditions share, and whether this one is it or its negation."""
    positive = True
    while type(condition) is Data and condition.op == "not":
        condition, positive = condition.inputs[0], not positive
    return (condition if type(condition) is Data else None), positive


def narrow(run: Interpreter, test: ir.Expr, taken: bool, frame: Frame) -> None:
    """Drop alternatives of a name that the condition rules out (``x is None`` and plain ``x``)."""
    name, keep_none = _none_test(test, taken)
    if name is None:
        return
    value = access.read_name(run, name, frame)
    if keep_none and value is not None:
        access.write_name(run, name, run.space.none, frame)
        return
    if type(value) is not Union:
        return
    kept = [v for v in value.alternatives if is_none(v) == keep_none]
    if kept and len(kept) < len(value.alternatives):
        access.write_name(run, name, run.space.join_all(kept), frame)


def _none_test(test: ir.Expr, taken: bool) -> tuple[str | None, bool]:
    if type(test) is ir.UnaryOp and test.op == "not":
        return _none_test(test.operand, not taken)
    if type(test) is ir.Name:
        # A false plain name may be None or empty: only the true arm tells something.
        return (test.id, False) if taken else (None, False)
    if type(test) is ir.Compare and len(test.rest) == 1 and type(test.left) is ir.Name:
        op, right = test.rest[0]
        if type(right) is ir.Const and right.value is None and op in ("is", "is not", "==", "!="):
            return test.left.id, taken == (op in ("is", "=="))
    return None, False


# ---------------------------------------------------------------------------- operators


def binary(run: Interpreter, op: str, left: Value, right: Value, site: Site) -> Value:
    """``left op right``."""
    if type(left) is Const and type(right) is Const:
        return _fold(run, op, left, right)
    held_left, held_right = access.contents(run, left), access.contents(run, right)
    if op == "+" and type(held_left) is Sequence and type(held_right) is Sequence:
        joined = run.space.sequence(held_left.items + held_right.items, held_left.open or held_right.open)
        return new_list(run, joined, site) if type(left) is Obj else joined
    if op == "*" and type(held_left) is Sequence:
        repeated = run.space.sequence(held_left.items, True)
        return new_list(run, repeated, site) if type(left) is Obj else repeated
    if op == "|" and type(held_left) is Mapping and type(held_right) is Mapping:
        return run.space.mapping(held_left.items + held_right.items, held_left.open or held_right.open)
    return run.space.data(op, site, (access.frozen(run, left), access.frozen(run, right)))


MAX_INTEGER = 2**64

_FOLDED: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _fold(run: Interpreter, op: str, left: Const, right: Const) -> Value:
    function = _FOLDED.get(op)
    a, b = left.value, right.value
    small = all(not isinstance(v, (str, bytes)) or (len(v) < 200 and op not in ("*", "%")) for v in (a, b))
    if function is None or not small:
        return UNKNOWN
    try:
        result = function(a, b)
    except Exception:
        return UNKNOWN
    return UNKNOWN if isinstance(result, int) and abs(result) > MAX_INTEGER else run.space.const(result)


def _compare(run: Interpreter, op: str, left: Value, right: Value) -> Value:
    space = run.space
    if op in ("!=", "is not", "not in"):
        plain = {"!=": "==", "is not": "is", "not in": "in"}[op]
        return _negated(run, _compare(run, plain, left, right))
    if op == "in":
        held = access.contents(run, right)
        if type(left) is Const and held is not None and not held.open:
            keys = held.items if isinstance(held, Sequence) else tuple(space.const(k) for k, _ in held.items)
            if all(type(k) is Const for k in keys):
                return space.const(left in keys)
        return space.data("in", None, (access.frozen(run, left), access.frozen(run, right)))
    if op == "is":
        return _identity(run, left, right)
    if type(left) is Const and type(right) is Const:
        return _fold(run, op, left, right)
    return space.data(op, None, (left, right))


def _identity(run: Interpreter, left: Value, right: Value) -> Value:
    if type(right) is Const:
        answers = {_is_constant(v, right) for v in alternatives(left)}
        if len(answers) == 1 and None not in answers:
            return run.space.const(answers.pop())
    return run.space.data("is", None, (left, right))


def _is_constant(value: Value, constant: Const) -> bool | None:
    if type(value) is Const:
        return value is constant
    return None if type(value) is Data or value is UNKNOWN else False


def _negated(run: Interpreter, value: Value) -> Value:
    answer = access.truth(run, value)
    if answer is not None:
        return run.space.const(not answer)
    if type(value) is Data and value.op == "not":
        return value.inputs[0]
    return run.space.data("not", None, (value,))


# ---------------------------------------------------------------------------- containers


def new_list(run: Interpreter, items: Sequence, site: Site, cls: str = "list") -> Obj:
    """A fresh list (or set) with these items."""
    made = run.space.obj(cls, site, run.context)
    run.state.set_attribute(made, ITEMS, items)
    return made


def new_dict(run: Interpreter, items: Mapping, site: Site) -> Obj:
    """A fresh dict with these items."""
    made = run.space.obj("dict", site, run.context)
    run.state.set_attribute(made, ITEMS, items)
    return made


# ---------------------------------------------------------------------------- the table


def _const(run: Interpreter, e: ir.Const, frame: Frame) -> Value:
    return run.space.const(e.value)


def _name(run: Interpreter, e: ir.Name, frame: Frame) -> Value:
    return access.read_name(run, e.id, frame)


def _attribute(run: Interpreter, e: ir.Attribute, frame: Frame) -> Value:
    return access.attribute(run, evaluate(run, e.base, frame), e.name, Site(run.file, e.site))


def _call(run: Interpreter, e: ir.Call, frame: Frame) -> Value:
    run.steps += 1
    site = Site(run.file, e.site)
    if type(e.func) is ir.Name and e.func.id == "super" and frame.owner is not None:
        receiver = frame.receiver
        if receiver is not None:
            return Super(frame.owner, receiver)
    callee = evaluate(run, e.func, frame)
    if type(e.func) is ir.Attribute and e.func.name == "module" and access.is_module_object(callee):
        run.emit("bypass", callee, site)
    arguments = _arguments(run, e.args, frame)
    result = run.call(callee, arguments, site)
    if run.touched:
        _touch(run, e.args, frame, site)
    return result


def _arguments(run: Interpreter, args: tuple[ir.Arg, ...], frame: Frame) -> Arguments:
    out: list[tuple[str | None, Value]] = []
    for arg in args:
        value = evaluate(run, arg.value, frame)
        if arg.keyword == "*":
            items = access.exact_items(run, value)
            held = access.contents(run, value)
            if items is not None:
                out += [(None, v) for v in items]
            elif type(held) is Sequence:
                out += [(None, v) for v in held.items]
                out.append(("*", value))
            else:
                out.append(("*", value))
        elif arg.keyword == "**":
            out += _spread(run, value)
        else:
            out.append((arg.keyword, value))
    return tuple(out)


def _spread(run: Interpreter, value: Value) -> list[tuple[str | None, Value]]:
    """``**value``; of several dicts, the arguments that any of them gives (unknown where another gives none)."""
    options = [access.contents(run, v) for v in alternatives(value)]
    known = [o for o in options if type(o) is Mapping]
    if len(known) < len(options) or any(o.open for o in known):
        hidden: list[tuple[str | None, Value]] = [("**", value)]
    else:
        hidden = []
    names = dict.fromkeys(str(key) for o in known for key, _ in o.items)
    return [(n, run.space.join_all(o.get(n) or UNKNOWN for o in known)) for n in names] + hidden


def _touch(run: Interpreter, args: tuple[ir.Arg, ...], frame: Frame, site: Site) -> None:
    """Results handed to unseen code may have been changed in place: the names that hold them hold an unknown now."""
    run.touched = False
    for arg in args:
        if type(arg.value) is ir.Name:
            value = access.read_name(run, arg.value.id, frame)
            if type(value) is Data and not access.is_entity(value):
                access.write_name(run, arg.value.id, run.space.data("touched?", site, (value,)), frame)


def _subscript(run: Interpreter, e: ir.Subscript, frame: Frame) -> Value:
    base = evaluate(run, e.base, frame)
    index = evaluate(run, e.key, frame)
    result = access.item(run, base, index)
    for taken in alternatives(result):
        if type(taken) is Data and taken.op == "[]":
            run.sliced.setdefault(taken, Site(run.file, e.site))
    return result


def _slice(run: Interpreter, e: ir.Slice, frame: Frame) -> Value:
    parts = tuple(run.space.none if p is None else evaluate(run, p, frame) for p in (e.lower, e.upper, e.step))
    return run.space.data("[:]", None, parts)


def _binop(run: Interpreter, e: ir.BinOp, frame: Frame) -> Value:
    return binary(run, e.op, evaluate(run, e.left, frame), evaluate(run, e.right, frame), Site(run.file, e.site))


def _unary(run: Interpreter, e: ir.UnaryOp, frame: Frame) -> Value:
    value = evaluate(run, e.operand, frame)
    if e.op == "not":
        return _negated(run, value)
    return run.space.data("unary" + e.op, Site(run.file, e.site), (value,))


def _comparison(run: Interpreter, e: ir.Compare, frame: Frame) -> Value:
    left = evaluate(run, e.left, frame)
    result: Value | None = None
    for op, expr in e.rest:
        right = evaluate(run, expr, frame)
        link = _compare(run, op, left, right)
        if type(link) is Data:
            run.compared.setdefault(link, Site(run.file, e.site))
        result = link if result is None else run.space.data("and", None, (result, link))
        left = right
    return result or UNKNOWN


def _boolean(run: Interpreter, e: ir.BoolOp, frame: Frame) -> Value:
    left = evaluate(run, e.left, frame)
    answer = access.truth(run, left)
    decisive = e.op == "or"
    if answer is not None:
        return left if answer is decisive else evaluate(run, e.right, frame)
    right = evaluate(run, e.right, frame)
    certain = access.truth(run, right)
    if type(left) is Data and type(right) is Const and certain is not None and certain is not decisive:
        return left
    return run.space.data(e.op, None, (left, right))


def _if_expression(run: Interpreter, e: ir.IfExp, frame: Frame) -> Value:
    condition = evaluate(run, e.test, frame)
    answer = access.truth(run, condition)
    if answer is not None:
        with run.notes.under(condition, answer):
            return evaluate(run, e.body if answer else e.orelse, frame)
    key, positive = condition_key(condition)

    def arm(taken: bool) -> Value:
        narrow(run, e.test, taken, frame)
        return evaluate(run, e.body if taken else e.orelse, frame)

    return run.fork([(positive, lambda: arm(True)), (not positive, lambda: arm(False))], Site(run.file, e.site), key)


def _display(run: Interpreter, e: ir.Display, frame: Frame) -> Value:
    items: list[Value] = []
    more = False
    for element in e.elements:
        if type(element) is ir.Starred:
            value = evaluate(run, element.value, frame)
            known = access.exact_items(run, value)
            held = access.contents(run, value)
            if known is not None:
                items += known
            else:
                items += held.items if type(held) is Sequence else (access.element(run, value, Site(run.file, e.site)),)
                more = True
        else:
            items.append(evaluate(run, element, frame))
    made = run.space.sequence(items, more)
    return made if e.kind == "tuple" else new_list(run, made, Site(run.file, e.site), e.kind)


def _dict_display(run: Interpreter, e: ir.DictDisplay, frame: Frame) -> Value:
    items: list[tuple[Any, Value]] = []
    more = False
    for key, expr in e.items:
        value = evaluate(run, expr, frame)
        if key is None:
            held = access.contents(run, value)
            if type(held) is Mapping:
                items += held.items
                more = more or held.open
            else:
                more = True
            continue
        name = evaluate(run, key, frame)
        if type(name) is Const:
            items.append((name.value, value))
        else:
            more = True
            items.append((f"?{len(items)}", value))
    return new_dict(run, run.space.mapping(items, more), Site(run.file, e.site))


def _comprehension(run: Interpreter, e: ir.Comprehension, frame: Frame) -> Value:
    scope = Frame(frame.module, frame, None, owner=frame.owner, receiver=frame.receiver)
    found: list[tuple[Value, Value | None]] = []
    exact = _generate(run, e, 0, scope, found)
    site = Site(run.file, e.site)
    if run.collating and any(g.conditions for g in e.generators):
        found = [(run.space.data("filtered", site, (k,)), v) for k, v in found]
    if e.kind == "dict":
        pairs = [(k.value, v) for k, v in found if type(k) is Const and v is not None]
        if len(pairs) != len(found):
            pairs = [(f"?{i}", v) for i, (_, v) in enumerate(found) if v is not None]
            exact = False
        return new_dict(run, run.space.mapping(pairs, not exact), site)
    items = run.space.sequence([k for k, _ in found], not exact)
    return items if e.kind == "generator" else new_list(run, items, site, e.kind)


def _generate(
    run: Interpreter, e: ir.Comprehension, depth: int, scope: Frame, found: list[tuple[Value, Value | None]]
) -> bool:
    """Run the generators from ``depth`` on; whether every element was met exactly once."""
    if depth == len(e.generators):
        found.append((evaluate(run, e.element, scope), evaluate(run, e.value, scope) if e.value is not None else None))
        return True
    generator = e.generators[depth]
    iterable = evaluate(run, generator.iterable, scope)
    items = access.exact_items(run, iterable)
    site = Site(run.file, e.site)
    if items is None:
        _generate_loop(run, e, depth, scope, found, iterable)
        return False
    exact = True
    outside = run.context
    for index, item in enumerate(items):
        run.context = outside + (site,) * index
        assign(run, generator.target, item, scope, site)
        answers = [access.truth(run, evaluate(run, c, scope)) for c in generator.conditions]
        if False in answers:
            continue
        exact = _generate(run, e, depth + 1, scope, found) and exact and None not in answers
    run.context = outside
    return exact


def _generate_loop(
    run: Interpreter,
    e: ir.Comprehension,
    depth: int,
    scope: Frame,
    found: list[tuple[Value, Value | None]],
    iterable: Value,
) -> None:
    """A comprehension over unknown elements is a loop: a second pass is run where the first has effects."""
    generator = e.generators[depth]
    site = Site(run.file, e.site)
    element = access.element(run, iterable, site)
    node = LoopNode(site, run.context, iterable, element, [], False, run.space.data("loop", site).serial, run.grad)
    outer = run.block
    for _ in range(2):
        run.block = []
        assign(run, generator.target, element, scope, site)
        for condition in generator.conditions:
            evaluate(run, condition, scope)
        elements: list[tuple[Value, Value | None]] = []
        _generate(run, e, depth + 1, scope, elements)
        node.passes.append(run.block)
        if not kinds_in(run.block) & {"backward", "step"}:
            break
    run.block = outer
    found += elements
    if any(node.passes):
        outer.append(node)


def _lambda(run: Interpreter, e: ir.Lambda, frame: Frame) -> Value:
    return run.space.function(e.function, access.closure(frame), None, None)


def _starred(run: Interpreter, e: ir.Starred, frame: Frame) -> Value:
    return evaluate(run, e.value, frame)


def _text(run: Interpreter, e: ir.Text, frame: Frame) -> Value:
    return run.space.data("text", Site(run.file, e.site), tuple(evaluate(run, p, frame) for p in e.parts))


def _walrus(run: Interpreter, e: ir.Walrus, frame: Frame) -> Value:
    value = evaluate(run, e.value, frame)
    assign(run, e.target, value, frame, Site(run.file, e.site))
    return value


def _await(run: Interpreter, e: ir.Await, frame: Frame) -> Value:
    return evaluate(run, e.value, frame)


def _yield(run: Interpreter, e: ir.Yield, frame: Frame) -> Value:
    value = run.space.none if e.value is None else evaluate(run, e.value, frame)
    if e.delegated:
        value = access.element(run, value, Site(run.file, e.site))
    run.activation.yielded.append(value)
    return UNKNOWN


_EVALUATE: dict[type, Callable[[Interpreter, Any, Frame], Value]] = {
    ir.Const: _const,
    ir.Name: _name,
    ir.Attribute: _attribute,
    ir.Call: _call,
    ir.Subscript: _subscript,
    ir.Slice: _slice,
    ir.BinOp: _binop,
    ir.UnaryOp: _unary,
    ir.Compare: _comparison,
    ir.BoolOp: _boolean,
    ir.IfExp: _if_expression,
    ir.Display: _display,
    ir.DictDisplay: _dict_display,
    ir.Comprehension: _comprehension,
    ir.Lambda: _lambda,
    ir.Starred: _starred,
    ir.Text: _text,
    ir.Walrus: _walrus,
    ir.Await: _await,
    ir.Yield: _yield,
}
