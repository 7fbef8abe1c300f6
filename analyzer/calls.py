"""Calling things: project functions and classes are followed, modules are run forward, the rest is looked up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import access, ir
from .effects import CallNode, kinds_in
from .knowledge import losses, modules, saved, training
from .library import call_library, name_arguments
from .methods import call_method
from .scopes import Activation, Frame
from .state import ESCAPED, ITEMS, MODE
from .values import (
    UNKNOWN,
    Class,
    Const,
    Data,
    Function,
    Library,
    Mapping,
    Obj,
    Sequence,
    Union,
    Value,
    constant,
    is_none,
)

if TYPE_CHECKING:
    from .expressions import Arguments
    from .interpret import Interpreter

MAX_CALLS = 10
MAX_FORKS = 3
MAX_PARTS = 400
"""Parts of a module that are asked for their mode."""
MAX_FORWARD_STEPS = 1_000
"""Steps of one forward pass after which blocks inside blocks are no longer followed: only what comes last matters."""


def call(run: Interpreter, callee: Value, args: Arguments, site: Site) -> Value:
    """What ``callee(*args)`` returns; its effects are recorded, its writes done."""
    if type(callee) is Library:
        return call_library(run, callee.path, args, site)
    if type(callee) is Function:
        _note_forward(run, callee, site)
        return call_function(run, *_bound(run, callee, args), site)
    if type(callee) is Data:
        return _call_data(run, callee, args, site)
    if type(callee) is Obj:
        return call_object(run, callee, args, site)
    if type(callee) is Class:
        return instantiate(run, callee, args, site)
    if type(callee) is Union:
        present = [v for v in callee.alternatives if not is_none(v)]
        if len(present) == 1:
            return call(run, present[0], args, site)
        methods = [v for v in present if type(v) is Data]
        names = {v.op for v in methods if v.op.startswith(".") and len(v.inputs) == 1}
        if len(names) == 1 and len(methods) == len(present):
            # One method of one of several things: ``opt.step()`` where ``opt`` is SGD or Adam is one step.
            owner = run.space.join_all(v.inputs[0] for v in methods)
            return call_method(run, owner, names.pop()[1:], args, site)
        if len(present) <= MAX_FORKS:
            return _one_of(run, present, args, site)
    return unresolved(run, callee, args, site)


def _one_of(run: Interpreter, callees: list[Value], args: Arguments, site: Site) -> Value:
    """A call of one of several things. Which loss it is, say, is known only if all are of one class."""
    classes = {v.cls if type(v) is Obj else None for v in callees}
    undecided = len(classes) > 1

    def arm(callee: Value) -> Value:
        if undecided and type(callee) is Obj and callee.cls in losses.BY_CLASS:
            return loss_call(run, losses.BY_CLASS[callee.cls], callee, args, site, known=False)
        run.notes.trials.append([])
        choice = undecided and _is_criterion(run, callee)
        run.undecided += choice
        result = call(run, callee, args, site)
        run.undecided -= choice
        run.notes.unsure.update(run.notes.trials.pop())
        return result

    return run.fork([(None, partial(arm, v)) for v in callees], site, None)


def _is_criterion(run: Interpreter, callee: Value) -> bool:
    """Whether a module has no layers of its own, as losses have none."""
    inside = [v for _, v in access.children(run, callee)]
    return access.is_module_object(callee) and all(type(v) is Obj and v.cls in losses.BY_CLASS for v in inside)


def _bound(run: Interpreter, function: Function, args: Arguments) -> tuple[Function, Arguments]:
    """``Base.method(obj, ...)`` is a call of the method on ``obj``."""
    first = args[0][1] if args and args[0][0] is None else None
    if function.receiver is None and function.owner is not None and type(first) is Obj:
        static = any(type(d) is ir.Name and d.id == "staticmethod" for d in function.definition.decorators)
        if not static and isinstance(first.cls, Class) and function.owner in tuple(first.cls.ancestors()):
            return run.space.function(function.definition, function.frame, function.owner, first), args[1:]
    return function, args


def _note_forward(run: Interpreter, function: Function, site: Site) -> None:
    """``module.forward(x)`` instead of ``module(x)``; ``super().forward(x)`` is the usual way to extend one."""
    module = function.receiver
    if function.definition.name != "forward" or module is None or module in run.running:
        return
    if access.is_module_object(module):
        run.notes.direct.setdefault(site, module)


def unresolved(run: Interpreter, callee: Value, args: Arguments, site: Site) -> Value:
    """A call into code that cannot be seen: what it is handed is unknown from here on."""
    for _, value in args:
        run.escape(value, site)
    run.touched = True
    return run.space.data("call", site, (callee, *(access.frozen(run, v) for _, v in args)))


def _call_data(run: Interpreter, callee: Data, args: Arguments, site: Site) -> Value:
    op = callee.op
    if op.startswith("super."):
        return call_method(run, callee.inputs[0], op[6:], args, site)
    if op.startswith(".") and len(callee.inputs) == 1:
        return call_method(run, callee.inputs[0], op[1:], args, site)
    if op == "partial":
        return call(run, callee.inputs[0], (*((None, v) for v in callee.inputs[1:]), *callee.options, *args), site)
    return _call_opaque(run, callee, args, site)


def _call_opaque(run: Interpreter, callee: Data, args: Arguments, site: Site) -> Value:
    """An opaque callable: perhaps a model, perhaps a loss, perhaps a function nobody can see."""
    inputs = tuple(access.frozen(run, v) for _, v in args)
    result = run.space.data("call", site, (callee, *inputs))
    for _, value in args:
        if type(value) is Obj or access.is_entity(value):
            run.escape(value, site)
    mode = run.state.get(callee, MODE)
    run.emit("forward", callee, site, inputs=inputs, result=result, mode=_mode(mode), intact=False)
    return result


def _mode(cell: Value | None) -> bool | None:
    return cell.value if type(cell) is Const and isinstance(cell.value, bool) else None


def _mode_of(run: Interpreter, module: Obj) -> bool | None:
    """The mode of a module and all its parts; None where parts differ (``self.backbone.eval()``) or it is unknown."""
    mode = run.state.get(module, MODE)
    waiting, seen = [module], {module}
    while waiting and len(seen) < MAX_PARTS:
        for _, child in access.children(run, waiting.pop()):
            if type(child) is Obj and child not in seen:
                if run.state.get(child, MODE) not in (mode, None):
                    return None
                seen.add(child)
                waiting.append(child)
    return _mode(mode)


# ---------------------------------------------------------------------------- project functions


def call_function(run: Interpreter, function: Function, args: Arguments, site: Site) -> Value:
    """Follow a call of a project function with its real arguments."""
    definition = function.definition
    receiver = function.receiver
    outermost = definition.name == "forward" and not run.inside_forward
    if outermost and type(receiver) is Obj and access.is_module_object(receiver):
        return run_forward(run, receiver, function, args, site)
    if run.inside_forward > 1 and run.steps > run.forward_limit:
        return run.space.data("call", site, (function, *(access.frozen(run, v) for _, v in args)))
    if id(definition) in run.active or len(run.active) >= MAX_CALLS or run.exhausted():
        if receiver is not None:
            run.notes.initialised.add(receiver)
        return unresolved(run, function, args, site)
    frame = Frame(
        function.frame.module, function.frame, definition.assigned, definition.outer, function.owner, receiver
    )
    outside = (run.block, run.context, run.activation, run.loop, run.grad, run.file)
    known = len(run.notes.assumed)
    run.block = []
    run.context = (*run.context, site)
    run.activation = Activation(run.state.mark(), frame)
    run.loop = None
    run.file = function.frame.module.filename
    if receiver is not None:
        run.methods.setdefault(receiver, set()).add(definition.name)
    run.active.append(id(definition))
    run.reached.add(id(definition))
    _bind_parameters(run, function, frame, args, site)
    grad_inside, wrapped = _decorations(run, function)
    if wrapped:
        run.notes.assumed.append((run.space.data("decorated", Site(run.file, definition.site)), True))
    if grad_inside is not None:
        run.grad = grad_inside
    run.execute(definition.body, frame)
    result = _finish(run, definition, run.activation, site)
    if not frame.captured:
        run.state.drop(run.activation.mark, frame)
    body, grad_after = run.block, run.grad
    del run.notes.assumed[known:]
    run.active.pop()
    run.block, run.context, run.activation, run.loop, run.grad, run.file = outside
    if grad_inside is None:
        run.grad = grad_after
    if body:
        run.block.append(CallNode(site, function, body))
    return result


def _finish(run: Interpreter, definition: ir.Def, activation: Activation, site: Site) -> Value:
    """Join every way out of the body."""
    died, run.dead = run.dead, None
    exits = activation.exits
    returned = list(activation.returned)
    if exits:
        if died is None:
            own = activation.frame
            exits = [*exits, run.state.delta(activation.mark, None if own is None or own.captured else own)]
            returned.append(run.space.none)
        run.state.undo(activation.mark)
        run.state.join(exits)
    elif died == "raise":
        run.dead = "raise"
    if definition.generator:
        _forget_modes(run, activation.mark)
        return run.space.data("generator", site, (run.space.join_all(activation.yielded),))
    if not returned:
        return UNKNOWN if run.dead == "raise" else run.space.none
    return run.space.join_all(returned)


def _forget_modes(run: Interpreter, mark: int) -> None:
    """A generator stops midway (``@contextmanager`` restores the mode later): modes it sets are unknown outside."""
    for (owner, name), _ in list(run.state.changed(mark)):
        if name == MODE:
            run.state.set(owner, name, UNKNOWN)


def _decorations(run: Interpreter, function: Function) -> tuple[bool | None, bool]:
    """What ``@torch.no_grad()`` and its like make of gradients, and whether a wrapper decides if the body runs."""
    grad, wrapped = None, False
    for decorator in function.definition.decorators:
        value = run.evaluate(decorator, function.frame)
        path = value.cls if type(value) is Obj else value.path if type(value) is Library else None
        wrapped = wrapped or type(value) is Function or path in _CACHES
        if path in training.NO_GRAD or path in training.ENABLE_GRAD:
            grad = path in training.ENABLE_GRAD
    return grad, wrapped


_CACHES = frozenset(f"functools.{name}" for name in ("cache", "lru_cache", "cached_property"))


def _bind_parameters(run: Interpreter, function: Function, frame: Frame, args: Arguments, site: Site) -> None:
    receiver = function.receiver
    positional = [] if receiver is None else [receiver]
    positional += [v for k, v in args if k is None]
    keywords = {k: v for k, v in args if k not in (None, "*", "**")}
    hidden = any(k in ("*", "**") for k, _ in args)
    for param in function.definition.params:
        name = param.name
        if param.kind == "*":
            value: Value = run.space.sequence(positional, hidden)
            positional = []
        elif param.kind == "**":
            value = run.space.mapping(keywords.items(), hidden)
        elif param.kind == "positional" and positional:
            value = positional.pop(0)
        elif name in keywords:
            value = keywords.pop(name)
        elif hidden:
            value = opaque_parameter(run, function, name)
        elif param.default is not None:
            value = run.evaluate(param.default, function.frame)
        else:
            value = opaque_parameter(run, function, name)
        run.state.set(frame, name, value)


def opaque_parameter(run: Interpreter, function: Function, name: str) -> Value:
    """A parameter of which nothing is known but that it is that parameter."""
    site = Site(function.frame.module.filename, function.definition.site)
    return run.space.data("param", site, (run.space.const(name),))


def call_opaquely(run: Interpreter, function: Function) -> Value:
    """Run a function on opaque arguments, as a root."""
    args: list[tuple[str | None, Value]] = []
    params = function.definition.params
    for param in params[1:] if function.receiver is not None else params:
        value = opaque_parameter(run, function, param.name)
        if param.annotation is not None:
            run.types[value] = run.evaluate(param.annotation, function.frame)
        if param.kind == "positional":
            args.append((None, value))
        elif param.kind == "keyword":
            args.append((param.name, value))
        else:
            args.append((param.kind, value))
    site = Site(function.frame.module.filename, function.definition.site)
    return call_function(run, function, tuple(args), site)


# ---------------------------------------------------------------------------- project classes


def instantiate(run: Interpreter, cls: Class, args: Arguments, site: Site) -> Value:
    """Make an instance of a project class and run its ``__init__``."""
    made = run.space.obj(cls, site, run.context, name_arguments(run, "", args))
    run.made(made)
    if access.is_module_object(made):
        run.state.set_attribute(made, MODE, run.space.true)
    init = cls.find("__init__")
    if init is not None and type(init[1]) is Function:
        run.building.append(made)
        call_function(run, run.space.function(init[1].definition, init[1].frame, init[1].owner, made), args, site)
        run.building.pop()
    else:
        run.notes.initialised.add(made)
        _set_fields(run, cls, made, args)
    return made


def instantiate_opaquely(run: Interpreter, cls: Class) -> Obj:
    """An instance that somebody unseen made: its constructor ran with opaque arguments."""
    made = run.space.obj(cls, cls.site, (cls.site,))
    run.made(made)
    init = cls.find("__init__")
    if init is not None and type(init[1]) is Function:
        run.building.append(made)
        call_opaquely(run, run.space.function(init[1].definition, init[1].frame, init[1].owner, made))
        run.building.pop()
    else:
        run.notes.initialised.add(made)
    return made


def _set_fields(run: Interpreter, cls: Class, made: Obj, args: Arguments) -> None:
    """Dataclasses and named tuples: keyword arguments are fields; which positional ones are is not known."""
    if any(keyword in (None, "*", "**") for keyword, _ in args):
        for name, default in cls.attributes.items():
            if type(default) is not Function:
                run.state.set_attribute(made, name, UNKNOWN)
    for keyword, value in args:
        if keyword not in (None, "*", "**"):
            run.state.set_attribute(made, str(keyword), value)
    if any(base == "torch.nn.Sequential" for base in cls.library_bases):
        run.state.set_attribute(made, ITEMS, run.space.sequence([v for k, v in args if k is None]))


# ---------------------------------------------------------------------------- objects


def call_object(run: Interpreter, obj: Obj, args: Arguments, site: Site) -> Value:
    """``obj(*args)``."""
    if isinstance(obj.cls, Class):
        if access.is_module_object(obj):
            forward = obj.cls.find("forward")
            if forward is not None and type(forward[1]) is Function:
                bound = run.space.function(forward[1].definition, forward[1].frame, forward[1].owner, obj)
                return run_forward(run, obj, bound, args, site)
            if "torch.nn.Sequential" in obj.cls.library_bases:
                return _forwarded(run, obj, args, site, lambda: _chain(run, obj, args, site))
            return _forwarded(run, obj, args, site, lambda: UNKNOWN)
        found = obj.cls.find("__call__") or obj.cls.find("forward")
        if found is not None and type(found[1]) is Function:
            return call_function(
                run, run.space.function(found[1].definition, found[1].frame, found[1].owner, obj), args, site
            )
        return unresolved(run, obj, args, site)
    if obj.cls in losses.BY_CLASS:
        return loss_call(run, losses.BY_CLASS[obj.cls], obj, args, site)
    if access.is_module_object(obj):
        return _forwarded(run, obj, args, site, lambda: _library_forward(run, obj, args, site))
    return run.space.data("call", site, (obj, *(access.frozen(run, v) for _, v in args)))


def run_forward(run: Interpreter, obj: Obj, forward: Function, args: Arguments, site: Site) -> Value:
    """Run a project module forward."""
    return _forwarded(run, obj, args, site, lambda: _forward_once(run, obj, forward, args, site))


def _forward_once(run: Interpreter, obj: Obj, forward: Function, args: Arguments, site: Site) -> Value:
    """The body of a forward pass; a pass without effects on the same inputs and the same module is not run again."""
    key = (obj, forward.definition.site, args, site, run.grad, run.state.version)
    known = run.forwards.get(key)
    if known is not None:
        return known
    outer, run.block = run.block, []
    version = run.state.version
    if not run.inside_forward:
        run.forward_limit = run.steps + MAX_FORWARD_STEPS
    run.inside_forward += 1
    run.running.append(obj)
    run.notes.bases.append(len(run.notes.assumed))
    result = call_function(run, forward, args, site)
    run.notes.bases.pop()
    run.running.pop()
    run.inside_forward -= 1
    inside, run.block = run.block, outer
    kinds = {kind for kind in kinds_in(inside) if not kind.startswith("exit:")}
    if kinds or run.state.version != version:
        outer += inside
    # An edit shows at the first pass all that it will ever show.
    if kinds <= {"edit"} and run.state.version == version and (type(result) is Data or type(result) is Sequence):
        run.forwards[key] = result
    return result


def _forwarded(run: Interpreter, obj: Obj, args: Arguments, site: Site, body: Callable[[], Value]) -> Value:
    """Record the forward pass of the outermost module, and mark what comes out of it."""
    mode, intact = None if run.inside_forward else _mode_of(run, obj), run.intact(obj)
    inputs = tuple(access.frozen(run, v) for _, v in args)
    inner = body() if intact else run.space.data("call", site, (obj, *inputs))
    if run.inside_forward:
        return inner
    result = _marked(run, obj, inner, inputs, site)
    run.emit("forward", obj, site, inputs=inputs, result=result, mode=mode, intact=intact)
    return result


def _marked(run: Interpreter, obj: Obj, inner: Value, inputs: tuple[Value, ...], site: Site) -> Value:
    """``output`` nodes around what a module returns: rules see through them, and see whose it is."""
    if type(inner) is Sequence:
        return run.space.sequence([_marked(run, obj, v, inputs, site) for v in inner.items], inner.open)
    if type(inner) is Union:
        return run.space.join_all(_marked(run, obj, v, inputs, site) for v in inner.alternatives)
    if type(inner) is Obj and type(held := access.contents(run, inner)) is Mapping:
        marked = [(k, _marked(run, obj, v, inputs, site)) for k, v in held.items]
        run.state.set(inner, ITEMS, run.space.mapping(marked, held.open))
        return inner
    if type(inner) is Const:
        return inner
    return run.space.data("output", site, (obj, inner, *inputs))


def _library_forward(run: Interpreter, obj: Obj, args: Arguments, site: Site) -> Value:
    cls = str(obj.cls)
    if cls == "torch.nn.Sequential":
        return _chain(run, obj, args, site)
    head, _, name = cls.rpartition(".")
    inputs = tuple(access.frozen(run, v) for _, v in args)
    if head == "torch.nn":
        result = run.space.data(name, site, inputs, obj.arguments)
        run.notes.layer(result)
        if name in saved.INPLACE_SWITCH and inputs and _writes_input(obj, saved.INPLACE_SWITCH[name]):
            run.edit(inputs[0], site, (), result)
        return result
    if head == "torchvision.models":
        features = run.space.data("torchvision.models", site, inputs, (("model", obj),))
        replaced = next((v for n in modules.HEADS if (v := run.state.get(obj, n)) is not None), None)
        return features if replaced is None else _inside(run, replaced, features, site)
    return run.space.data("call", site, (obj, *inputs))


def _writes_input(layer: Obj, position: int) -> bool:
    return True in (constant(layer.argument("inplace")), constant(layer.argument(str(position))))


def _inside(run: Interpreter, part: Value, given: Value, site: Site) -> Value:
    """Run a part of a library's model that the project put in."""
    run.inside_forward += 1
    result = call(run, part, ((None, given),), part.site if type(part) is Obj else site)
    run.inside_forward -= 1
    return result


def _chain(run: Interpreter, obj: Obj, args: Arguments, site: Site) -> Value:
    """``nn.Sequential``: each child in turn."""
    held = access.contents(run, obj)
    parts = held.items if type(held) is Sequence else tuple(v for _, v in held.items) if type(held) is Mapping else ()
    if held is None or held.open or not parts:
        return run.space.data("call", site, (obj, *(v for _, v in args)))
    value: Value | None = None
    run.inside_forward += 1
    for part in parts:
        # What a layer does is told at the layer: the call of the container is no place to look for a softmax.
        place = part.site if type(part) is Obj else site
        value = call(run, part, args if value is None else ((None, value),), place)
    run.inside_forward -= 1
    return value or UNKNOWN


def loss_call(
    run: Interpreter, loss: losses.Loss, subject: Value, args: Arguments, site: Site, known: bool = True
) -> Value:
    """Evaluate a loss; ``known``: that it is this one, and no other."""
    inputs = tuple(access.frozen(run, v) for k, v in args if k is None)
    options = tuple((k, access.frozen(run, v)) for k, v in args if k is not None)
    result = run.space.data("loss:" + loss.function, site, inputs, options)
    intact = known and not run.undecided and run.intact(subject) and run.state.get(subject, ESCAPED) is None
    run.emit("loss", subject, site, inputs=inputs, result=result, intact=intact)
    return result


def extend_in_place(run: Interpreter, target: Value, added: Value) -> bool:
    """``target += added`` for a list; False where the target is no list."""
    held = access.contents(run, target)
    if type(target) is not Obj or type(held) is not Sequence:
        return False
    more = access.contents(run, added)
    if type(more) is Sequence:
        run.state.set(target, ITEMS, run.space.sequence((held.items + more.items)[:64], held.open or more.open))
    else:
        run.state.set(target, ITEMS, run.space.sequence(held.items, True))
    return True
