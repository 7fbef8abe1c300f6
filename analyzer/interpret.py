"""The abstract interpreter: runs every root of the project once, on values instead of numbers.

Roots are the top level of each module, then functions and classes that nothing reached. A call of a
project function is followed with its real arguments, down to a depth and a budget of steps; past
them, and for everything that cannot be resolved, what the call could touch becomes unknown.
Statements live here, expressions in :mod:`.expressions`, calls in :mod:`.calls`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from ..rules.finding import Site
from . import access, calls, expressions, ir
from .effects import Block, BranchNode, Effect, Exit, LoopNode, effects, files, kinds_in
from .knowledge import modules, training
from .notes import Notes
from .scopes import Activation, Frame, ModuleScope
from .state import ESCAPED, ITEMS, MODE, Delta, State
from .values import (
    UNKNOWN,
    Class,
    Const,
    Context,
    Data,
    Function,
    Library,
    Mapping,
    Module,
    Obj,
    Space,
    Value,
    alternatives,
    is_none,
)
from .values import (
    Sequence as Items,
)

MAX_STEPS = 20_000
MAX_FUNCTION_STEPS = 5_000
MAX_UNROLL = 4
MAX_LAYERS = 32
ABANDON = 4
"""Times its limit of steps after which a root is given up as a whole."""
MAX_REACH = 400


class Abandoned(Exception):
    """A root needs far more steps than it was given; half of its effects would be worse than none."""


@dataclass(slots=True)
class LoopFlow:
    """States in which a loop's body was left early."""

    mark: int
    finals: int
    breaks: list[Delta] = field(default_factory=list)
    continues: list[Delta] = field(default_factory=list)


@dataclass(eq=False)
class Root:
    """One tree of effects: a module's top level, or a function that nobody calls."""

    name: str
    filename: str
    block: Block
    owner: Class | None = None
    method: str = ""
    result: Value = UNKNOWN
    exhausted: bool = False
    """Whether it needed more steps than it was given."""

    @cached_property
    def effects(self) -> tuple[Effect, ...]:
        """All that it does, in order of appearance."""
        return tuple(effects(self.block))

    @cached_property
    def files(self) -> frozenset[str]:
        """The files of the code that runs in it."""
        return frozenset({self.filename} | files(self.block))


def _is_not_forward(value: Value) -> bool:
    return not (type(value) is Function and value.definition.name == "forward")


class Interpreter:
    """The machine: state, current effects, and how the present place was reached."""

    def __init__(self, space: Space, resolve_import: Callable[[ModuleScope, str, int], ModuleScope | None]) -> None:
        self.space = space
        self.state = State(space)
        self.resolve_import = resolve_import
        self.roots: list[Root] = []
        self.imports: dict[str, tuple[str, ...]] = {}
        """Which files of the project each file imports, by their names."""
        self.objects: dict[Obj, None] = {}
        """Every object made, in order."""
        self.building: list[Obj] = []
        """Objects whose constructor is running, outermost first."""
        self.held: dict[Value, tuple[tuple[str, Value], ...]] = {}
        """What each object held when its root ended: attributes, with lists and dicts as their contents."""
        self._made: list[Obj] = []
        self.sliced: dict[Data, Site] = {}
        """Where items and slices were taken."""
        self.compared: dict[Data, Site] = {}
        """Where comparisons were made."""
        self.assigned: dict[tuple[Value, str], Site] = {}
        """Where each attribute was first assigned."""
        self.kept: set[Value] = set()
        """Things that were returned or handed to a call."""
        self.discarded: set[Value] = set()
        """Results of calls that stand alone as a statement."""
        self.uses: dict[Value, set[str]] = {}
        """Names of the methods called on each opaque thing."""
        self.samples: dict[Value, Value] = {}
        """What ``__getitem__`` of each data set that a loader reads gives for any index."""
        self.ranges: dict[Value, Data] = {}
        """What each index of a loop or comprehension counts through."""
        self.callbacks: dict[Value, Value] = {}
        """What the function inside a library object gives for any argument."""
        self.methods: dict[Value, set[str]] = {}
        """Names of the project's own methods that were called on each object."""
        self.types: dict[Value, Value] = {}
        """Annotations of opaque parameters."""
        self.reached: set[int] = set()
        """``id`` of every function definition whose body was run from some caller."""
        self.notes = Notes()
        self.files: list[ir.FileIR] = []
        """Everything that was lowered."""
        self.running: list[Obj] = []
        """The modules whose forward is being run, outermost first."""
        self.block: Block = []
        self.context: Context = ()
        self.grad: bool | None = True
        self.half: str | None = None
        """The number type of the autocast around the present place."""
        self.inside_forward = 0
        self.collating = False
        """Whether a collate function is tried out: there the order of samples is kept track of."""
        self.forward_limit = 0
        self.undecided = 0
        """How deep in calls of one of several criteria: which loss is evaluated there was chosen elsewhere."""
        self.forwards: dict[object, Value] = {}
        """Results of forward passes that had no effects."""
        self.touched = False
        """Whether the call just made handed its arguments to code that cannot be seen."""
        self.dead: str | None = None
        self.activation = Activation(0)
        self.loop: LoopFlow | None = None
        self.active: list[int] = []
        self.steps = 0
        self.limit = MAX_STEPS
        self.budget = MAX_STEPS
        """Steps left for all roots together."""
        self.file = ""

    # ------------------------------------------------------------------ roots

    def run_module(self, scope: ModuleScope) -> None:
        """Run a module's top level; what it binds stays."""
        if scope.state in ("running", "done"):
            return
        self.hoist(scope)
        scope.state = "running"
        block = self._run_root(scope, lambda: self.execute(scope.ir.body, scope.frame))
        scope.state = "done"
        self.roots.append(Root("<module>", scope.filename, block, exhausted=self.exhausted()))
        self.state.forget()

    def hoist(self, scope: ModuleScope) -> None:
        """Bind a module's definitions before its body runs, so that import cycles find them."""
        if scope.state != "new":
            return
        scope.state = "hoisted"
        file, self.file = self.file, scope.filename
        for statement in scope.ir.body:
            if type(statement) is ir.Def:
                self.state.set(scope.frame, statement.name, self.space.function(statement, scope.frame, None, None))
        self.file = file

    def run_function(self, function: Function, name: str) -> None:
        """Run a function that nobody calls, on opaque arguments; nothing it does stays."""
        scope = function.frame.module
        mark = self.state.mark()
        self.limit = min(MAX_FUNCTION_STEPS, self.budget)
        returned: list[Value] = []
        block = self._run_root(scope, lambda: returned.append(calls.call_opaquely(self, function)))
        method = function.definition.name
        self.roots.append(Root(name, scope.filename, block, function.owner, method, returned[0]))
        self.state.undo(mark)

    def run_class(self, cls: Class, wanted: Callable[[Function], bool]) -> None:
        """Make an instance with opaque arguments, then run each wanted method that nothing reached on it."""
        scope = cls.frame.module
        mark = self.state.mark()
        made: list[Obj] = []

        def make() -> None:
            made.append(calls.instantiate_opaquely(self, cls))
            for name in modules.LIFECYCLE if cls.library_bases & modules.LIGHTNING_BASES else ():
                hook = access.attribute(self, made[0], name, cls.site)
                if type(hook) is Function:
                    calls.call_opaquely(self, hook)

        self.limit = min(MAX_FUNCTION_STEPS, self.budget)
        block = self._run_root(scope, make)
        self.roots.append(Root(cls.name, scope.filename, block))
        if self.dead == "raise":  # with what is known no instance is ever made
            self.state.undo(mark)
            return
        self._forget_modes(mark)
        # What forward calls is seen in its light, and not once more by itself.
        for value in sorted(cls.attributes.values(), key=_is_not_forward):
            if type(value) is Function and id(value.definition) not in self.reached and wanted(value):
                method = self.space.function(value.definition, value.frame, value.owner, made[0])
                self.run_function(method, f"{cls.name}.{value.definition.name}")
        self.state.undo(mark)

    def _run_root(self, scope: ModuleScope, body: Callable[[], Any]) -> Block:
        self.block, self.context, self.grad, self.half, self.dead = [], (), True, None, None
        self.activation, self.loop, self.active = Activation(self.state.mark()), None, []
        self.inside_forward = self.undecided = 0
        self.notes.assumed.clear()
        self.notes.bases.clear()
        self.notes.trials.clear()
        self.running.clear()
        self.steps = 0
        self.building = []
        self.file = scope.filename
        self._made = []
        body()
        self.budget -= self.steps
        self._remember()
        return self.block

    def made(self, obj: Obj) -> None:
        """An object was allocated."""
        self.objects[obj] = None
        self._made.append(obj)
        if self.notes.assumed:
            self.notes.made_under.setdefault(obj, tuple(self.notes.assumed))
        if self.running and self.inside_forward:
            self.notes.made_inside.setdefault(obj, (self.running[-1], self.notes.holds()))
        if isinstance(obj.cls, str) and training.is_optimizer(obj.cls):
            self.emit("made", obj, obj.site)

    def _remember(self) -> None:
        """Keep what the objects of this root hold: the state itself is undone or overwritten later."""
        for obj in self._made:
            names = self.state.attributes.get(obj, ())
            values = ((name, self.state.get(obj, name)) for name in names)
            self.held[obj] = tuple((name, access.frozen(self, v)) for name, v in values if v is not None)

    def _forget_modes(self, mark: int) -> None:
        """Between two methods of an opaque instance anybody may have called train() or eval()."""
        for (owner, name), _ in list(self.state.changed(mark)):
            if name == MODE:
                self.state.set(owner, name, UNKNOWN)

    # ------------------------------------------------------------------ small helpers

    def site(self, number: int) -> Site:
        """The site of a node of the file that is running."""
        return Site(self.file, number)

    def emit(self, kind: str, subject: Value, site: Site, **details: Any) -> None:
        """Add an effect at the present place."""
        details.setdefault("grad", self.grad)
        details.setdefault("half", self.half)
        self.block.append(Effect(kind, subject, site, self.context, **details))

    def edit(self, tensor: Value, site: Site, inputs: tuple[Value, ...], result: Value) -> None:
        """The numbers of a tensor are changed in place."""
        if any(type(v) is Data or (type(v) is Obj and v.cls == "torch.nn.Parameter") for v in alternatives(tensor)):
            self.emit("edit", tensor, site, inputs=inputs, result=result)

    def call(self, callee: Value, args: expressions.Arguments, site: Site) -> Value:
        """What a call returns; its effects are recorded."""
        return calls.call(self, callee, args, site)

    def evaluate(self, expr: ir.Expr, frame: Frame) -> Value:
        """What an expression may be."""
        return expressions.evaluate(self, expr, frame)

    def exhausted(self) -> bool:
        """Whether this root has used its budget."""
        return self.steps > self.limit

    def reachable(self, value: Value) -> list[Value]:
        """Everything that code holding ``value`` could touch: it and what it holds, transitively."""
        seen: dict[Value, None] = {}
        queue: list[Value] = [value]
        while queue and len(seen) < MAX_REACH:
            for item in alternatives(queue.pop()):
                if item in seen or isinstance(item, (Const, Library, Module, Class)) or item is UNKNOWN:
                    continue
                seen[item] = None
                queue.extend(self._held(item))
        return list(seen)

    def _held(self, item: Value) -> list[Value]:
        if isinstance(item, (Items, Mapping)):
            return list(access.members(item))
        held = [
            v
            for name in self.state.attributes.get(item, ())
            if name not in (MODE, ESCAPED) and (v := self.state.get(item, name)) is not None
        ]
        if type(item) is Obj:
            held += [v for _, v in item.arguments]
        elif type(item) is Data and item.op in ("parameters", "named_parameters", "output", "element"):
            held += item.inputs[:1]
        elif type(item) is Function and item.receiver is not None:
            held.append(item.receiver)
        return held

    def escape(self, value: Value, site: Site) -> None:
        """Code that nobody can see got hold of ``value``: all that it could touch is unknown from here on."""
        for item in self.reachable(value):
            if type(item) is Obj:
                self.state.set_attribute(item, ESCAPED, self.space.true)
                if self.state.get(item, MODE) is not None:
                    self.state.set(item, MODE, UNKNOWN)
                self._touch_attributes(item, site)
                if isinstance(items := self.state.get(item, ITEMS), Items):
                    self.state.set(item, ITEMS, self.space.sequence(items.items, True))
                elif isinstance(items, Mapping):
                    self.state.set(item, ITEMS, self.space.mapping(items.items, True))
            elif type(item) is Data:
                if self.state.get(item, MODE) is not None:
                    self.state.set(item, MODE, UNKNOWN)
            else:
                continue
            self.emit("escape", item, site)

    def _touch_attributes(self, obj: Obj, site: Site) -> None:
        """Results that an escaped object holds may have been changed in place."""
        for name in self.state.attributes.get(obj, ()):
            held = self.state.get(obj, name)
            if type(held) is Data and not access.is_entity(held) and held.op != "touched?":
                self.state.set(obj, name, self.space.data("touched?", site, (held,)))

    def intact(self, value: Value) -> bool:
        """Whether no unseen code had hold of the object."""
        return all(type(v) is not Obj or self.state.get(v, ESCAPED) is None for v in alternatives(value))

    # ------------------------------------------------------------------ flow

    def execute(self, block: ir.Block, frame: Frame) -> None:
        """Run statements until the flow leaves."""
        if self.steps > ABANDON * self.limit:
            raise Abandoned
        for statement in block:
            self.steps += 1
            _STATEMENTS[type(statement)](self, statement, frame)
            if self.dead is not None:
                return

    def leave(self, kind: str) -> None:
        """The present flow ends here."""
        self.block.append(Exit(kind))
        self.dead = kind

    def fork(self, arms: Sequence[tuple[bool | None, Callable[[], Value]]], site: Site, key: Value | None) -> Value:
        """Run alternatives from the same state and go on from their join; the value is that of any of them."""
        mark, outer, grad = self.state.mark(), self.block, self.grad
        node = BranchNode(site, key, [])
        outcomes: list[tuple[str | None, Delta, Value, bool | None]] = []
        assumed, known = self.notes.assumed, len(self.notes.assumed)
        for answer, run_arm in arms:
            self.block, self.dead, self.grad = [], None, grad
            if key is not None and answer is not None:
                assumed.append((key, answer))
            value = run_arm()
            del assumed[known:]
            outcomes.append((self.dead, self.state.delta(mark), value, self.grad))
            node.arms.append((answer, self.block))
            self.state.undo(mark)
        self.block = outer
        if any(arm for _, arm in node.arms):
            outer.append(node)
        live = [o for o in outcomes if o[0] is None]
        if not live:
            self.dead = outcomes[0][0]
            return UNKNOWN
        self.dead = None
        if len(live) == 1 < len(outcomes) and key is not None:
            # The other arm left: what follows is only reached under this condition.
            answer = node.arms[outcomes.index(live[0])][0]
            assumed += [(key, answer)] if answer is not None else []
        grads = {o[3] for o in live}
        self.grad = grads.pop() if len(grads) == 1 else None
        self.state.join([o[1] for o in live])
        return self.space.join_all(o[2] for o in live)


# ---------------------------------------------------------------------------- statements


def _assign(run: Interpreter, s: ir.Assign, frame: Frame) -> None:
    value = run.evaluate(s.value, frame)
    if type(s.value) is ir.BinOp and s.value.op == "+" and _same_place(s.value.left, s.targets[0]):
        _accumulated(run, s.value, value, frame)
    if type(s.value) in (ir.Name, ir.Attribute) and run.loop is not None and _may_be_model(value):
        run.emit("alias", value, run.site(s.site))
    for target in s.targets:
        expressions.assign(run, target, value, frame, run.site(s.site))


def _may_be_model(value: Value) -> bool:
    return access.is_entity(value) and not (type(value) is Obj and value.cls in ("list", "dict", "set"))


def _accumulated(run: Interpreter, added: ir.BinOp, result: Value, frame: Frame) -> None:
    """``total = total + loss`` adds up as ``total += loss`` does."""
    if type(result) is Data and len(result.inputs) == 2:
        old = run.evaluate(added.left, frame)
        run.emit("accumulate", old, run.site(added.site), inputs=result.inputs[1:], result=result)


def _same_place(left: ir.Expr, right: ir.Expr) -> bool:
    """Whether two expressions name the same variable or attribute."""
    if type(left) is ir.Name and type(right) is ir.Name:
        return left.id == right.id
    if type(left) is ir.Attribute and type(right) is ir.Attribute:
        return left.name == right.name and _same_place(left.base, right.base)
    return False


def _augmented_assign(run: Interpreter, s: ir.AugAssign, frame: Frame) -> None:
    site = run.site(s.site)
    old = run.evaluate(s.target, frame)
    added = run.evaluate(s.value, frame)
    if s.op == "+" and calls.extend_in_place(run, old, added):
        return
    result = expressions.binary(run, s.op, old, added, site)
    if s.op == "+":
        run.emit("accumulate", old, site, inputs=(added,), result=result)
    if type(s.target) is not ir.Subscript:  # an item is written, which is an effect of its own
        run.edit(old, site, (added,), result)
    expressions.assign(run, s.target, result, frame, site)


def _delete(run: Interpreter, s: ir.Delete, frame: Frame) -> None:
    for target in s.targets:
        if type(target) is ir.Name:
            run.state.set(frame, target.id, None)
        elif type(target) is ir.Attribute:
            for base in alternatives(run.evaluate(target.base, frame)):
                run.notes.read.add((base, target.name))
        elif type(target) is ir.Subscript:
            run.emit("remove", run.evaluate(target.base, frame), run.site(s.site))
            access.delete_item(run, run.evaluate(target.base, frame), run.evaluate(target.key, frame))


def _evaluate(run: Interpreter, s: ir.Evaluate, frame: Frame) -> None:
    value = run.evaluate(s.value, frame)
    run.discarded.add(value)
    _idle(run, s, value)


_CONTEXTS = training.NO_GRAD | training.ENABLE_GRAD | training.AUTOCASTS


def _idle(run: Interpreter, s: ir.Evaluate, value: Value) -> None:
    """A method that is named and not called, or a context that nobody enters, does nothing."""
    site = run.site(s.site)
    if type(s.value) is ir.Attribute:
        if type(value) is Data and value.op == "." + s.value.name:
            run.emit("idle", value.inputs[0], site, inputs=(run.space.const(s.value.name),))
        elif type(value) is Function and value.receiver is not None:
            run.emit("idle", value.receiver, site, inputs=(run.space.const(s.value.name),))
        elif type(value) is Library and value.path in _CONTEXTS:
            run.emit("idle", value, site)
    elif type(s.value) is ir.Call and type(value) is Obj and value.cls in _CONTEXTS:
        run.emit("idle", value, site)


def _branch(run: Interpreter, s: ir.Branch, frame: Frame) -> None:
    condition = run.evaluate(s.test, frame)
    answer = access.truth(run, condition)
    if answer is not None:
        expressions.narrow(run, s.test, answer, frame)
        with run.notes.under(condition, answer):
            run.execute(s.body if answer else s.orelse, frame)
        return
    key, positive = expressions.condition_key(condition)

    def arm(taken: bool) -> Value:
        expressions.narrow(run, s.test, taken, frame)
        run.execute(s.body if taken else s.orelse, frame)
        return run.space.none

    run.fork(
        [(positive, lambda: arm(True)), (not positive, lambda: arm(False))],
        run.site(s.site),
        key,
    )


def _loop(run: Interpreter, s: ir.Loop, frame: Frame) -> None:
    iterable = run.evaluate(s.iterable, frame)
    if s.target is None and access.truth(run, iterable) is False:
        return
    items = access.exact_items(run, iterable) if s.target is not None else None
    if items is not None and len(items) <= _unrolled(s, items):
        _exact_loop(run, s, frame, iterable, items)
    else:
        _inexact_loop(run, s, frame, iterable)
    if run.dead is None:
        run.execute(s.orelse, frame)


def _unrolled(s: ir.Loop, items: tuple[Value, ...]) -> int:
    """How many items are run one by one: more where they are layers that are called in turn."""
    inner = any(type(statement) is ir.Loop for statement in s.body)
    return MAX_LAYERS if not inner and all(map(_is_layer, items)) else MAX_UNROLL


def _is_layer(item: Value) -> bool:
    """A module, alone or numbered or named (``enumerate``, ``named_children``)."""
    if type(item) is Items and len(item.items) == 2:
        return type(item.items[0]) is Const and access.is_module_object(item.items[1])
    return access.is_module_object(item)


def _exact_loop(run: Interpreter, s: ir.Loop, frame: Frame, iterable: Value, items: tuple[Value, ...]) -> None:
    """A loop over few known items is run item by item."""
    node = _loop_node(run, s, iterable, UNKNOWN, exact=True)
    outer_flow, run.loop = run.loop, LoopFlow(run.state.mark(), len(run.activation.finals))
    left: list[Delta] = []
    mark = run.loop.mark
    outside = run.context
    for index, item in enumerate(items):
        # What is made in one item's pass is not what is made in the next one's.
        run.context = outside + (node.site,) * index
        expressions.assign(run, s.target, item, frame, run.site(s.site))  # type: ignore[arg-type]
        _pass(run, s, frame, node)
        left += run.loop.breaks
        run.loop.breaks = []
        if run.dead is not None:
            break
    run.context = outside
    _after_loop(run, node, mark, left, outer_flow)


def _inexact_loop(run: Interpreter, s: ir.Loop, frame: Frame, iterable: Value) -> None:
    """Any number of passes: two are run, and what follows starts from zero, one or two of them."""
    _forget_counters(run, s, frame)
    site = run.site(s.site)
    element = UNKNOWN if s.target is None else access.element(run, iterable, site)
    node = _loop_node(run, s, iterable, element, exact=False)
    outer_flow, run.loop = run.loop, LoopFlow(run.state.mark(), len(run.activation.finals))
    mark = run.loop.mark
    left: list[Delta] = [{}]
    for _ in range(2):
        if s.target is not None:
            expressions.assign(run, s.target, element, frame, site)
        elif node.passes:
            run.evaluate(s.iterable, frame)
        _pass(run, s, frame, node)
        left += run.loop.breaks
        run.loop.breaks = []
        if run.dead is not None:
            break
        if not _worth_repeating(node) or run.exhausted():
            break
        left.append(run.state.delta(mark))
        _forget_changed_constants(run, mark)
    _after_loop(run, node, mark, left, outer_flow)


def _loop_node(run: Interpreter, s: ir.Loop, iterable: Value, element: Value, exact: bool) -> LoopNode:
    serial = run.space.data("loop", run.site(s.site)).serial
    return LoopNode(run.site(s.site), run.context, iterable, element, [], exact, serial, run.grad)


def _pass(run: Interpreter, s: ir.Loop, frame: Frame, node: LoopNode) -> None:
    assert run.loop is not None
    outer, run.block = run.block, []
    known = len(run.notes.assumed)
    run.execute(s.body, frame)
    del run.notes.assumed[known:]
    node.passes.append(run.block)
    run.block = outer
    if run.loop.continues:
        ends = run.loop.continues
        if run.dead is None:
            ends = [*ends, run.state.delta(run.loop.mark)]
        run.loop.continues = []
        run.state.undo(run.loop.mark)
        run.state.join(ends)
        run.dead = None


def _after_loop(run: Interpreter, node: LoopNode, mark: int, left: list[Delta], outer_flow: LoopFlow | None) -> None:
    if run.dead is None:
        left = [*left, run.state.delta(mark)]
    died = run.dead
    run.state.undo(mark)
    run.loop = outer_flow
    if any(node.passes):
        run.block.append(node)
    if left:
        run.dead = None
        run.state.join(left)
    else:
        run.dead = died if died not in ("break", "continue") else None


def _forget_counters(run: Interpreter, s: ir.Loop, frame: Frame) -> None:
    """A literal that the body rebinds is not that literal in every pass."""
    for name in s.assigned:
        value = run.state.get(frame, name)
        if type(value) is Const and not is_none(value):
            run.state.set(frame, name, UNKNOWN)
        elif value is not None and is_none(value):
            run.state.set(frame, name, run.space.join(value, UNKNOWN))


def _forget_changed_constants(run: Interpreter, mark: int) -> None:
    for (owner, name), before in list(run.state.changed(mark)):
        now = run.state.get(owner, name)
        if type(now) is Const and type(before) is Const and now is not before and not name.startswith("$"):
            run.state.set(owner, name, UNKNOWN)


_TRAINING = frozenset(("backward", "step", "zero_grad", "mode"))
_GROWING = frozenset(("accumulate", "forward"))


def _worth_repeating(node: LoopNode) -> bool:
    """Whether a second pass can show something: order matters only for training and for what adds up."""
    kinds = kinds_in(node.passes[0])
    return bool(kinds & _TRAINING) or kinds >= _GROWING


def _with(run: Interpreter, s: ir.With, frame: Frame) -> None:
    outer_grad, outer_half = run.grad, run.half
    site = run.site(s.site)
    entered = len(run.activation.finals)
    for context, target in s.items:
        grad_before = run.grad
        value = run.evaluate(context, frame)
        run.grad = _grad_inside(value, grad_before)
        run.half = _half_inside(value, run.half)
        if type(value) is Obj and isinstance(value.cls, Class) and value.cls.find("__enter__") is not None:
            run.activation.finals.append(partial(_leave_manager, run, value, site))
            value = run.call(access.attribute(run, value, "__enter__", site), (), site)
        if target is not None:
            expressions.assign(run, target, value, frame, site)
    run.execute(s.body, frame)
    while len(run.activation.finals) > entered:
        _finish_block(run)
    run.grad, run.half = outer_grad, outer_half


def _leave_manager(run: Interpreter, manager: Obj, site: Site) -> None:
    nothing = (None, run.space.none)
    run.call(access.attribute(run, manager, "__exit__", site), (nothing, nothing, nothing), site)


def _grad_inside(context: Value, before: bool | None) -> bool | None:
    """Whether gradients are recorded inside ``with context``."""
    answers = set()
    for alternative in alternatives(context):
        cls = flag = None
        if type(alternative) is Obj:
            cls, flag = alternative.cls, alternative.argument("0") or alternative.argument("mode")
        if cls in training.NO_GRAD:
            # ``inference_mode(False)`` records.
            answers.add(False if flag is None else _negated(flag, before))
        elif cls in training.ENABLE_GRAD:
            answers.add(True)
        elif cls in training.SET_GRAD:
            answers.add(flag.value if type(flag) is Const and isinstance(flag.value, bool) else None)
        elif alternative is UNKNOWN or (type(alternative) is Data and alternative.op in ("generator", "call")):
            answers.add(None)
        else:
            answers.add(before)
    return answers.pop() if len(answers) == 1 else None


def _half_inside(context: Value, before: str | None) -> str | None:
    """The number type that autocast uses inside ``with context``; ``?`` where it cannot be told."""
    answers = set()
    for alternative in alternatives(context):
        if type(alternative) is Obj and alternative.cls in training.AUTOCASTS:
            answers.add(training.autocast_type(alternative))
        elif alternative is UNKNOWN or (type(alternative) is Data and alternative.op in ("generator", "call")):
            answers.add("?")
        else:
            answers.add(before)
    return answers.pop() if len(answers) == 1 else "?"


def _negated(flag: Value, before: bool | None) -> bool | None:
    if type(flag) is Const:
        return before if flag.value is False else False
    return None


def _try(run: Interpreter, s: ir.Try, frame: Frame) -> None:
    finals = run.activation.finals
    finals.append(lambda: run.execute(s.final, frame))
    begun = len(run.block)
    run.notes.trials.append([])
    run.execute(s.body, frame)
    results = run.notes.trials.pop()
    if any(s.handlers):
        run.notes.attempted(run.block[begun:], results)
    if run.dead is None:
        run.execute(s.orelse, frame)
    died, run.dead = run.dead, None
    handlers = [h for h in s.handlers if h]
    if handlers and not run.exhausted():
        arms: list[tuple[bool | None, Callable[[], Value]]] = []
        if died is None:
            arms.append((None, lambda: run.space.none))
        arms += [(None, partial(_handler, run, handler, frame)) for handler in handlers]
        run.fork(arms, run.site(s.site), None)
    else:
        run.dead = died
    _finish_block(run)


def _handler(run: Interpreter, body: ir.Block, frame: Frame) -> Value:
    """A handler goes on from the end of the body, the nearest there is to "somewhere in it"."""
    with run.notes.under(run.space.data("raised", None), True):
        run.execute(body, frame)
    return run.space.none


def _finish_block(run: Interpreter) -> None:
    """Run the innermost pending final, unless the flow ran it on its way out."""
    final = run.activation.finals.pop()
    if run.dead in (None, "raise"):
        died, run.dead = run.dead, None
        final()
        run.dead = run.dead or died


def _run_finals(run: Interpreter, base: int) -> None:
    """Before the flow leaves by ``return``, ``break`` or ``continue``: what is pending above ``base``."""
    finals = run.activation.finals
    pending = finals[base:]
    while len(finals) > base:
        final = finals.pop()
        final()
    finals[base:] = pending


def _return(run: Interpreter, s: ir.Return, frame: Frame) -> None:
    value = run.space.none if s.value is None else run.evaluate(s.value, frame)
    run.kept.update(_parts(run, value))
    _run_finals(run, 0)
    if run.dead is not None:
        return
    run.activation.returned.append(value)
    own = None if run.activation.frame is None or run.activation.frame.captured else run.activation.frame
    run.activation.exits.append(run.state.delta(run.activation.mark, own))
    run.leave("return")


def _parts(run: Interpreter, value: Value) -> list[Value]:
    """A returned value, or the members of a returned tuple, list or dict."""
    held = access.contents(run, value)
    if isinstance(held, Items):
        return [part for item in held.items for part in (item, *_parts(run, item))]
    if isinstance(held, Mapping):
        return [part for _, item in held.items for part in (item, *_parts(run, item))]
    return list(alternatives(value))


def _raise(run: Interpreter, s: ir.Raise, frame: Frame) -> None:
    run.leave("raise")


def _break(run: Interpreter, s: ir.Break, frame: Frame) -> None:
    if run.loop is not None:
        _run_finals(run, run.loop.finals)
        run.loop.breaks.append(run.state.delta(run.loop.mark))
    run.leave("break")


def _continue(run: Interpreter, s: ir.Continue, frame: Frame) -> None:
    if run.loop is not None:
        _run_finals(run, run.loop.finals)
        run.loop.continues.append(run.state.delta(run.loop.mark))
    run.leave("continue")


def _def(run: Interpreter, s: ir.Def, frame: Frame) -> None:
    if any(type(d) is ir.Attribute and d.name in ("setter", "deleter") for d in s.decorators):
        return  # the property keeps its getter
    function = run.space.function(
        s, access.closure(frame), frame.owner if frame.local is access.CLASS_BODY else None, None
    )
    run.state.set(frame, s.name, function)


def _class(run: Interpreter, s: ir.Class, frame: Frame) -> None:
    cls = Class(s, access.closure(frame), run.site(s.site))
    cls.bases = tuple(run.evaluate(base, frame) for base in s.bases)
    body = Frame(frame.module, frame, access.CLASS_BODY, owner=cls)
    mark = run.state.mark()
    run.execute(s.body, body)
    run.dead = None
    for (owner, name), _ in run.state.changed(mark):
        if owner is body and (value := run.state.get(body, name)) is not None:
            cls.attributes[name] = value
    run.state.set(frame, s.name, cls)


def _import(run: Interpreter, s: ir.Import, frame: Frame) -> None:
    for binding in s.bindings:
        access.bind_import(run, binding, s.level, frame)


_STATEMENTS: dict[type, Callable[[Interpreter, Any, Frame], None]] = {
    ir.Assign: _assign,
    ir.AugAssign: _augmented_assign,
    ir.Delete: _delete,
    ir.Evaluate: _evaluate,
    ir.Branch: _branch,
    ir.Loop: _loop,
    ir.With: _with,
    ir.Try: _try,
    ir.Return: _return,
    ir.Raise: _raise,
    ir.Break: _break,
    ir.Continue: _continue,
    ir.Def: _def,
    ir.Class: _class,
    ir.Import: _import,
}
