"""Methods of things that are not project classes: modules, optimizers, containers, tensors, opaque things."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import access
from . import options as command_line
from .knowledge import libraries, modules, saved, splitting, tensors, training
from .library import container_items, inputs_of, register_dynamically
from .state import ITEMS, MODE
from .values import (
    UNKNOWN,
    Class,
    Const,
    Data,
    Function,
    Mapping,
    Obj,
    Scalar,
    Sequence,
    Union,
    Value,
    alternatives,
    constant,
    is_none,
)

if TYPE_CHECKING:
    from .expressions import Arguments
    from .interpret import Interpreter

Handler = Callable[["Interpreter", Value, "Arguments", Site], Value]

PURE = frozenset(
    """state_dict get_last_lr get_lr set_epoch set_postfix set_description set_postfix_str refresh write log log_dict
    info debug warning error add_scalar add_scalars add_image add_graph add_histogram close flush items keys values get
    format join split strip lower upper startswith endswith replace append update get_scale is_enabled parameters
    named_parameters buffers modules children named_modules named_children size dim numel new_zeros new_ones new_tensor
    new_full save print len copy index count synchronize barrier is_main_process set_postfix_str load_state_dict
    set_transform sample shuffle __len__ __getitem__ __iter__ __next__
    __class__ extra_repr register_forward_hook register_full_backward_hook register_hook start stop elapsed_time reset
    compute result average synchronize_between_processes log_metrics log_every add_meter get_submodule get_parameter
    named_buffers mode_changed main_process_first """.split()
)
"""Methods of opaque things by whose names they are known not to change models, optimizers or loaders."""

_TENSOR_METHODS = (
    frozenset(tensors.OUTPUT)
    | tensors.PASSES
    | tensors.RESAMPLES
    | frozenset(tensors.CUTS)
    | tensors.GRADED
    | tensors.STATISTICS
)


def call_method(run: Interpreter, owner: Value, name: str, args: Arguments, site: Site) -> Value:
    """``owner.name(*args)`` where no project function of that name was found."""
    if type(owner) is Union:
        present = [v for v in owner.alternatives if not is_none(v)]
        if len(present) == 1:
            owner = present[0]
    for option in alternatives(owner):
        if type(option) is Data or type(option) is Obj:
            run.uses.setdefault(option, set()).add(name)
    if type(owner) is Obj and owner.cls in ("list", "set"):
        return _list_method(run, owner, name, args, site)
    if (type(owner) is Obj and owner.cls == "dict") or type(owner) is Mapping:
        return _dict_method(run, owner, name, args, site)
    if access.is_module_object(owner) and (handler := _MODULE.get(name)) is not None:
        return handler(run, owner, args, site)
    if type(owner) is Obj and name in training.HANDS_BACK.get(str(owner.cls), ()) and args:
        return _handed_back(run, args, site)
    handler = _COMMON.get(name)
    if handler is not None:
        return handler(run, owner, args, site)
    if name in training.SELF_METHODS and (access.is_entity(owner)):
        return owner
    return _other(run, owner, name, args, site)


def _handed_back(run: Interpreter, args: Arguments, site: Site) -> Value:
    """What ``accelerator.prepare(model, optimizer, loader)`` returns; switches among the arguments have names."""
    if any(keyword == "*" for keyword, _ in args):
        return run.space.data("call", site, inputs_of(run, args))
    given = [value for keyword, value in args if keyword is None] or [args[0][1]]
    return given[0] if len(given) == 1 else run.space.sequence(given)


def _other(run: Interpreter, owner: Value, name: str, args: Arguments, site: Site) -> Value:
    """No method with a meaning of its own: a tensor operation, a library's method, or code that cannot be seen."""
    inputs = (owner, *inputs_of(run, args))
    options = tuple((k, access.frozen(run, v)) for k, v in args if k is not None and k != "*")
    if name in ("split", "shuffle") and type(owner) is Obj and inputs[1:]:
        run.emit("split" if name == "split" else "shuffle", inputs[1], site, inputs=inputs[1:], result=owner)
    if name in training.SAVE_METHODS:
        run.emit("save", owner, site)
    if name in splitting.SEED_METHODS:
        run.emit("seed", owner, site)
    if _is_seen(owner, name):
        if any(type(v) is Function for _, v in args):
            _run_callbacks(run, args, site)
        result = run.space.data(name, site, inputs, options)
        if name in splitting.PERMUTATIONS:
            run.emit("draw", result, site)
        if name in tensors.SPREADS:
            run.notes.operation(result)
        if name.endswith("_") and not name.endswith("__") and name not in saved.NO_EDITS:
            run.edit(owner, site, inputs[1:], result)
        return result
    for _, value in args:
        if type(value) is Obj or access.is_entity(value):
            run.escape(value, site)
    if access.is_entity(owner):
        run.escape(owner, site)
    run.touched = True
    return run.space.data("call", site, (run.space.data("." + name, None, (owner,)), *inputs[1:]), options)


def _is_seen(owner: Value, name: str) -> bool:
    """Whether the method is known to leave models, optimizers and loaders alone."""
    if name in PURE or name in _TENSOR_METHODS or name.startswith(("log_", "add_")):
        return True
    if type(owner) is Obj:
        return isinstance(owner.cls, str) and libraries.pure(owner.cls)
    if type(owner) is Data:
        return owner.op != "call" and not access.is_entity(owner)
    return isinstance(owner, (Const, Sequence))


def _run_callbacks(run: Interpreter, args: Arguments, site: Site) -> None:
    for _, value in args:
        if type(value) is Function and not value.definition.params:
            run.call(value, (), site)


# ---------------------------------------------------------------------------- training


def _backward(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    """``loss.backward()``, or ``accelerator.backward(loss)`` where the owner is no result."""
    first = next((v for k, v in args if k is None or k == "loss"), None)
    opaque_owner = access.is_entity(owner) or type(owner) is Obj
    subject = first if first is not None and opaque_owner and _may_be_loss(first) else owner
    kept = next((v for k, v in args if k == "retain_graph"), run.space.false)
    given = tuple(v for k, v in args if k in (None, "gradient", "*", "**") and v is not subject)
    run.emit("backward", subject, site, inputs=(kept, *given), intact=subject is owner)
    return run.space.none


def _may_be_loss(value: Value) -> bool:
    return (type(value) is Data and value.op not in tensors.CREATES) or type(value) is Union


def _step(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    """``optimizer.step()``, ``scheduler.step(metric)``, ``scaler.step(optimizer)``, a closure first."""
    first = next((v for k, v in args if k in (None, "optimizer", "closure")), None)
    if type(first) is Function:
        run.call(first, (), site)
    elif first is not None and _is_stepped_for(owner, first):
        run.emit("step", first, site, inputs=(owner,))
        return run.space.none
    run.emit("step", owner, site, inputs=tuple(v for _, v in args))
    return run.space.none


def _is_stepped_for(owner: Value, first: Value) -> bool:
    """Whether ``owner.step(first)`` steps ``first``, as a GradScaler does."""
    if type(owner) is Obj and owner.cls in training.SCALERS:
        return True
    if type(first) is Obj:
        return isinstance(first.cls, Class) or training.is_optimizer(first.cls)
    return access.is_entity(first) and access.is_entity(owner) and type(first) is Data and type(owner) is Data


def _zero_grad(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    run.emit("zero_grad", owner, site)
    return run.space.none


def _unscale(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    run.emit("unscale", args[0][1] if args else owner, site, inputs=(owner,))
    return run.space.none


def _scale(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    return run.space.data("scale", site, tuple(v for _, v in args), (("scaler", owner),))


def _state_dict(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    """The live tensors of a module or optimizer: what is later done to these is seen in it."""
    result = run.space.data("state_dict", site, (owner,))
    run.emit("snapshot", owner, site, result=result)
    return result


def _load_state_dict(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    state = next((v for k, v in args if k in (None, "state_dict")), UNKNOWN)
    positional = [v for k, v in args if k is None]
    strict = dict(args).get("strict", positional[1] if len(positional) > 1 else run.space.true)
    inputs = (access.frozen(run, state), strict)
    result = run.space.data("load_state_dict", site, (owner, inputs[0]))
    run.emit("restore", owner, site, inputs=inputs, result=result)
    return result


def _fit(name: str) -> Handler:
    def handler(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
        data = tuple(access.frozen(run, v) for _, v in args)
        result = owner if name in ("fit", "partial_fit") else run.space.data(name, site, (owner, *data))
        run.emit("fit", owner, site, inputs=data, result=result)
        if not (type(owner) is Obj and isinstance(owner.cls, str) and libraries.pure(owner.cls)):
            for value in data:
                run.escape(value, site)
        return result

    return handler


_COMMON: dict[str, Handler] = {
    "backward": _backward,
    "manual_backward": _backward,
    "step": _step,
    "zero_grad": _zero_grad,
    "unscale_": _unscale,
    "scale": _scale,
    "state_dict": _state_dict,
    "load_state_dict": _load_state_dict,
    "fit": _fit("fit"),
    "fit_transform": _fit("fit_transform"),
    "partial_fit": _fit("partial_fit"),
    "add_argument": command_line.add_argument,
    "add_argument_group": command_line.group,
    "add_mutually_exclusive_group": command_line.group,
    "parse_args": command_line.parse,
    "parse_known_args": command_line.parse_known,
}


# ---------------------------------------------------------------------------- modules


def set_mode(run: Interpreter, subject: Value, mode: Value, site: Site, depth: int = 0) -> None:
    """Switch a module and everything below it between training and evaluation."""
    if depth == 0:
        run.emit("mode", subject, site, inputs=(mode,))
    run.state.set_attribute(subject, MODE, mode)
    if depth < 6:
        for _, child in access.children(run, subject):
            if run.state.get(child, MODE) is not mode:
                set_mode(run, child, mode, site, depth + 1)


def _train(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    mode = args[0][1] if args else run.space.true
    if type(mode) is not Const:
        mode = UNKNOWN
    for option in alternatives(owner):
        if not is_none(option) and option is not UNKNOWN:
            set_mode(run, option, mode, site)
    return owner


def _eval(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    for option in alternatives(owner):
        if not is_none(option) and option is not UNKNOWN:
            set_mode(run, option, run.space.false, site)
    return owner


def _opaque_mode(handler: Handler) -> Handler:
    """``train()``/``eval()`` of something opaque: a mode only if called as a module's method is."""

    def guarded(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
        module_like = not args or (len(args) == 1 and args[0][0] in (None, "mode") and _is_flag(args[0][1]))
        if not module_like or (type(owner) is Obj and not access.is_module_object(owner)):
            return _other(run, owner, "run", args, site)
        return handler(run, owner, args, site)

    return guarded


def _is_flag(value: Value) -> bool:
    return (type(value) is Const and isinstance(value.value, bool)) or type(value) is Data


def _parts(name: str) -> Handler:
    def handler(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
        return run.space.data(name, None, (owner,))

    return handler


def _requires_grad(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    run.emit("freeze", owner, site, inputs=(args[0][1] if args else run.space.true,))
    return owner


def _register(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    values = [v for _, v in args]
    if len(values) >= 2 and type(values[0]) is Const and isinstance(values[0].value, str):
        access.write_attribute(run, owner, values[0].value, values[1], site)
        run.notes.registered.add((owner, values[0].value))
    elif len(values) >= 2:
        register_dynamically(run, owner, values[1])
    return run.space.none


def _same(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    return owner


def _nothing(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    return run.space.none


def _grow_module(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    """``append`` and ``extend`` of ModuleList and Sequential."""
    held = access.contents(run, owner)
    items = held.items if type(held) is Sequence else ()
    was_open = held.open if type(held) is Sequence else True
    value = args[-1][1] if args else UNKNOWN
    added = access.contents(run, value)
    more = added.items if type(added) is Sequence else (value,)
    run.state.module_changed()
    is_open = was_open or (type(added) is Sequence and added.open)
    run.state.set_attribute(owner, ITEMS, run.space.sequence((*items, *more)[:64], is_open))
    return owner


def _insert_module(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    """``sequential.insert(1, layer)``; at a place that is not known, the order of the layers is not known either."""
    held = access.contents(run, owner)
    place = constant(args[0][1]) if args else None
    items = list(held.items) if type(held) is Sequence else []
    known = type(held) is Sequence and not held.open and isinstance(place, int)
    items.insert(place if isinstance(place, int) else len(items), args[-1][1] if args else UNKNOWN)
    run.state.module_changed()
    run.state.set_attribute(owner, ITEMS, run.space.sequence(items[:64], not known))
    return owner


def _apply(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    """``model.apply(init)``: the function gets every sub-module; weights change, structure and mode do not."""
    for _, value in args:
        if type(value) is Function:
            run.reached.add(id(value.definition))
            every = run.space.data("modules", None, (owner,))
            run.call(value, ((None, access.element(run, every, site)),), site)
    return owner


def _module_init(run: Interpreter, owner: Value, args: Arguments, site: Site) -> Value:
    """``super().__init__(...)`` of a class that extends a container: its arguments are children."""
    run.notes.initialised.add(owner)
    bases = owner.cls.library_bases if type(owner) is Obj and isinstance(owner.cls, Class) else frozenset()
    for base in sorted(bases & modules.CONTAINERS):
        run.state.set_attribute(owner, ITEMS, container_items(run, base, args))
    return run.space.none


_MODULE: dict[str, Handler] = {
    "train": _train,
    "eval": _eval,
    **dict.fromkeys(training.SELF_METHODS, _same),
    "apply": _apply,
    "requires_grad_": _requires_grad,
    "add_module": _register,
    "register_module": _register,
    "register_parameter": _register,
    "register_buffer": _register,
    "append": _grow_module,
    "extend": _grow_module,
    "insert": _insert_module,
    **{name: _parts(name) for name in ("modules", "children", "named_modules", "named_children", "buffers")},
    **{
        name: _parts(name)
        for name in ("log", "log_dict", "save_hyperparameters", "optimizers", "lr_schedulers", "print")
    },
    "__init__": _module_init,
}

_COMMON |= {
    "train": _opaque_mode(_train),
    "eval": _opaque_mode(_eval),
    "parameters": _parts("parameters"),
    "named_parameters": _parts("named_parameters"),
    "requires_grad_": _requires_grad,
    "__init__": _nothing,
}


# ---------------------------------------------------------------------------- containers


def _list_method(run: Interpreter, owner: Obj, name: str, args: Arguments, site: Site) -> Value:
    held = access.contents(run, owner)
    items, more = (held.items, held.open) if type(held) is Sequence else ((), True)
    value = args[-1][1] if args else UNKNOWN
    if access.is_module_object(value):
        run.state.module_changed()
    if name in ("append", "add"):
        grown = run.space.sequence((*items, value)[:64], more)
        run.emit("accumulate", owner, site, inputs=(value,), result=grown)
        run.state.set(owner, ITEMS, grown)
    elif name in ("extend", "extendleft", "update"):
        added = access.contents(run, value)
        new = added.items if type(added) is Sequence else (access.element(run, value, site),)
        known = type(added) is Sequence and not added.open
        run.state.set(owner, ITEMS, run.space.sequence((*items, *new)[:64], more or not known))
    elif name in ("insert", "appendleft"):
        run.state.set(owner, ITEMS, run.space.sequence((*items, value)[:64], True))
    elif name in ("pop", "popleft"):
        run.state.set(owner, ITEMS, run.space.sequence(items, True))
        return run.space.join_all(items)
    elif name == "sort" and run.collating:
        run.state.set(owner, ITEMS, run.space.sequence([run.space.data("sorted", site, (v,)) for v in items], True))
    elif name in ("remove", "clear", "sort", "reverse", "rotate"):
        run.state.set(
            owner, ITEMS, run.space.sequence((), False) if name == "clear" else run.space.sequence(items, True)
        )
    return run.space.data(name, site, (owner,))


def _dict_method(run: Interpreter, owner: Value, name: str, args: Arguments, site: Site) -> Value:
    held = access.contents(run, owner)
    assert held is None or isinstance(held, (Mapping, Sequence))
    if type(held) is not Mapping:
        return run.space.data(name, site, (owner,))
    space = run.space
    if name == "items":
        return space.sequence([space.sequence((space.const(k), v)) for k, v in held.items], held.open)
    if name == "values":
        return space.sequence([v for _, v in held.items], held.open)
    if name == "keys":
        return space.sequence([space.const(k) for k, _ in held.items], held.open)
    if name in ("get", "pop", "setdefault") and args:
        key = args[0][1]
        found = held.get(key.value) if type(key) is Const else None
        if name == "pop" and type(owner) is Obj:
            left = [(k, v) for k, v in held.items if not (type(key) is Const and k == key.value)]
            run.state.set(owner, ITEMS, space.mapping(left, held.open or type(key) is not Const))
        elif name == "setdefault" and type(owner) is Obj and found is None:
            run.state.set(owner, ITEMS, space.mapping(held.items, True))
        if found is not None:
            return found
        if name == "get" and not held.open and type(key) is Const:
            return args[1][1] if len(args) > 1 else space.none
        return space.data("[]", None, (owner, key))
    if name in ("clear", "popitem") and type(owner) is Obj:
        run.state.set(owner, ITEMS, space.mapping(() if name == "clear" else held.items, name != "clear"))
    if name == "update" and type(owner) is Obj:
        pairs: list[tuple[Scalar, Value]] = [(k, v) for k, v in args if k not in (None, "*", "**")]
        more = any(k in ("*", "**") for k, _ in args)
        for _, value in (a for a in args if a[0] is None):
            new = access.contents(run, value)
            pairs += new.items if type(new) is Mapping else ()
            more = more or type(new) is not Mapping or new.open
        run.state.set(owner, ITEMS, space.mapping([*held.items, *pairs], held.open or more))
        return space.none
    return space.data(name, site, (owner,))
