"""Questions about models: what is registered, what an optimizer owns, what a backward pass reaches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import effects as fx
from . import ir
from .effects import Effect
from .interpret import Root
from .knowledge import modules, tensors
from .options import usual
from .state import DYNAMIC
from .values import Class, Const, Data, Function, Mapping, Obj, Sequence, Value, alternatives

if TYPE_CHECKING:
    from .program import Program


# ---------------------------------------------------------------------------- reach of an optimizer


class Reach:
    """What concerns one optimizer: the parameters it owns, as far as they are known."""

    def __init__(self, program: Program, optimizer: Value) -> None:
        self.program = program
        self.optimizer = optimizer
        owners, complete = program.optimizer_owners(optimizer)
        # Of a part that cannot be seen nobody knows to which module it belongs.
        self.complete = complete and all(type(owner) is Obj for owner in owners)
        self.owners = owners
        self.family = {member for owner in owners for member in program.family(owner)}
        self.family |= {d for owner in owners for d in program.descendants(owner)}

    def backward(self, loss: Value) -> bool:
        """Whether backpropagating ``loss`` may give the parameters a gradient."""
        if not self.complete:
            return True
        made_from = [v for v in self.program.differentiable(loss) if type(v) is Data]
        if any(v.op in ("call", "touched?") for v in made_from):
            return True
        outputs = [v.inputs[0] for v in made_from if v.op == "output"]
        return not outputs or any(m in self.family for m in outputs)

    def clears(self, subject: Value) -> bool:
        """Whether clearing ``subject`` may clear these gradients."""
        if subject is self.optimizer:
            return True
        if self.program.is_optimizer(subject):
            others, complete = self.program.optimizer_owners(subject)
            return bool(others & self.owners) if complete and self.complete else True
        if self.complete and type(subject) is Obj:
            return subject in self.family or not self.program.is_module(subject)
        return True

    def surely_clears(self, subject: Value) -> bool:
        """Whether clearing ``subject`` certainly clears all these gradients."""
        return subject is self.optimizer or (self.complete and self.owners == {subject})

    def touches(self, subject: Value) -> bool:
        """Whether unseen code that has ``subject`` could step or clear."""
        if subject is self.optimizer or subject in self.family:
            return True
        return not self.complete and self.program.is_called(subject)


# ---------------------------------------------------------------------------- functions that ask for the mode


def asks_mode(program: Program, module: Obj) -> bool:
    """Whether a project module's forward asks for the mode: dropout that does something, batch normalisation."""
    assert isinstance(module.cls, Class)
    found = module.cls.find("forward")
    if found is None or type(found[1]) is not Function:
        return False
    definition = found[1].definition
    if "training" not in definition.words or not definition.words & modules.TRAIN_DEPENDENT_FUNCTIONS:
        return False
    return any(not _rate_is_zero(program, module, call) for call in _mode_calls(definition.body))


def _mode_calls(node: object) -> Iterator[ir.Call]:
    if type(node) is ir.Call and _called_name(node.func) in modules.TRAIN_DEPENDENT_FUNCTIONS:
        yield node
    if isinstance(node, tuple):
        for part in node:
            yield from _mode_calls(part)


def _called_name(func: ir.Expr) -> str | None:
    return func.name if type(func) is ir.Attribute else func.id if type(func) is ir.Name else None


def _rate_is_zero(program: Program, module: Obj, call: ir.Call) -> bool:
    """Whether a functional dropout's rate is an attribute that holds 0, or a literal 0."""
    if "dropout" not in (_called_name(call.func) or ""):
        return False
    positional = [a.value for a in call.args if a.keyword is None]
    rate = next((a.value for a in call.args if a.keyword == "p"), positional[1] if len(positional) > 1 else None)
    if type(rate) is ir.Const:
        return rate.value == 0
    if type(rate) is ir.Attribute and type(rate.base) is ir.Name:
        held = usual(program.attribute(module, rate.name))
        return type(held) is Const and held.value == 0
    return False


# ---------------------------------------------------------------------------- unregistered modules


@dataclass(frozen=True, slots=True)
class Hidden:
    """Modules or parameters that an ``nn.Module`` holds where PyTorch does not look."""

    owner: str
    name: str
    what: str
    container: str
    site: Site
    part: Site
    advice: str


_ADVICE = {
    "list": "Use `nn.ModuleList([...])` (`nn.ParameterList` for parameters).",
    "dict": "Use `nn.ModuleDict({...})` (`nn.ParameterDict` for parameters).",
    "tensor": "Wrap it in `nn.Parameter(...)`, or register it as a buffer if it is not to be trained.",
}


def unregistered(program: Program) -> Iterator[Hidden]:
    """Containers of modules with parameters, and trainable tensors, in plain attributes that other methods use."""
    owned = {m for o in program.objects if program.is_optimizer(o) for m in program.optimizer_owners(o)[0]}
    modules = [o for o in program.objects if program.is_module(o)]
    registered = {child for o in modules for _, child in program.children(o)}
    registered |= {
        v for o in modules for _, held in program.attributes(o) for v in alternatives(held) if _is_parameter(v)
    }
    known = owned | registered
    for obj in program.objects:
        if not (program.is_module(obj) and isinstance(obj.cls, Class)) or obj.cls.open or not program.untouched(obj):
            continue
        if obj.cls.find("parameters") is not None or _registers_unseen(program, obj):
            continue
        for name, held in program.attributes(obj):
            options = [v for v in alternatives(held) if type(v) in (Data, Sequence, Mapping)]
            if name.startswith("$") or not options or (obj, name) in program.notes.registered:
                continue
            for option in options:
                found = _hidden(program, obj, name, option, known)
                if found is not None and _used_elsewhere(obj.cls, name):
                    yield found


def _is_parameter(value: Value) -> bool:
    return type(value) is Obj and value.cls == "torch.nn.Parameter"


def _registers_unseen(program: Program, obj: Obj) -> bool:
    """Whether it was given children in a loop that could not be seen one by one (``add_module(name, module)``)."""
    given = program.attribute(obj, DYNAMIC)
    return type(given) is Sequence and any(type(v) is Data for item in given.items for v in alternatives(item))


def _used_elsewhere(cls: Class, name: str) -> bool:
    methods = {n: v for ancestor in reversed(list(cls.ancestors())) for n, v in ancestor.attributes.items()}
    return any(type(v) is Function and n != "__init__" and name in v.definition.words for n, v in methods.items())


def _hidden(program: Program, obj: Obj, name: str, held: Value, known: set[Value]) -> Hidden | None:
    site = program.assigned_at(obj, name)
    assert isinstance(obj.cls, Class)
    if site is None:
        return None
    if type(held) is Data and _trainable_tensor(held) and held.site is not None:
        return Hidden(
            obj.cls.name, name, "a tensor that requires gradients", "attribute", site, held.site, _ADVICE["tensor"]
        )
    if type(held) is not Sequence and type(held) is not Mapping:
        return None
    parts = list(_leaves(held))
    modules = [p for p in parts if program.is_module(p) and program.has_parameters(p) and not program.is_frozen(p)]
    parameters = [p for p in parts if type(p) is Obj and p.cls == "torch.nn.Parameter"]
    lost = [p for p in (*modules, *parameters) if p not in known and program.untouched(p)]
    if not lost or type(lost[0]) is not Obj:
        return None
    what = f"{program.class_name(lost[0])} modules" if modules else "parameters"
    kind = "dict" if type(held) is Mapping else "list"
    container = "dict" if kind == "dict" else "list or tuple"
    return Hidden(obj.cls.name, name, what, container, site, lost[0].site, _ADVICE[kind])


def _leaves(value: Value) -> Iterator[Value]:
    for v in alternatives(value):
        if type(v) is Sequence:
            for item in v.items:
                yield from _leaves(item)
        elif type(v) is Mapping:
            for _, item in v.items:
                yield from _leaves(item)
        else:
            yield v


def _trainable_tensor(value: Data) -> bool:
    """``torch.randn(..., requires_grad=True)`` or ``torch.zeros(...).requires_grad_()``."""
    flag = value.option("requires_grad")
    return value.op in tensors.CREATES and type(flag) is Const and flag.value is True


# ---------------------------------------------------------------------------- modules no optimizer owns


@dataclass(frozen=True, slots=True)
class Unowned:
    """A module that a backpropagated loss runs through and no optimizer has."""

    module: Obj
    optimizer: Obj
    backward: Effect


def modules_without_optimizer(program: Program) -> Iterator[Unowned]:
    """Fresh modules on the way of a loss whose every optimizer is known and has other parameters."""
    for root in program.roots:
        optimizers = [o for o, r in program.stepped_optimizers if r is root]
        if not optimizers or not all(_known_optimizer(program, o) for o in optimizers):
            continue
        owned: set[Value] = set()
        # One that is cleared and never stepped is NN506's.
        cleared = [e.subject for e in root.effects if e.kind == "zero_grad" and program.is_optimizer(e.subject)]
        for optimizer in (*optimizers, *cleared):
            for owner in program.optimizer_owners(optimizer)[0]:
                owned |= set(program.family(owner)) | set(program.descendants(owner))
        # What an optimizer does may also be done by hand: `p.copy_(...)` for each parameter.
        for effect in root.effects:
            for owner in program.owners_of(effect.subject) if effect.kind == "edit" else ():
                owned |= set(program.family(owner)) | set(program.descendants(owner))
        yield from _unowned(program, root, optimizers, owned)


def _known_optimizer(program: Program, optimizer: Value) -> bool:
    if type(optimizer) is not Obj or not program.untouched(optimizer) or "add_param_group" in program.uses(optimizer):
        return False
    owners, complete = program.optimizer_owners(optimizer)
    return complete and bool(owners) and all(program.untouched(o) for o in owners)


def _unowned(program: Program, root: Root, optimizers: list[Value], owned: set[Value]) -> Iterator[Unowned]:
    passes = {e.subject for e in program.training_forwards(root) if e.grad is True and e.intact and e.mode is not False}
    reported: set[Value] = set()
    for backward in root.effects:
        if backward.kind != "backward":
            continue
        behind = program.differentiable(backward.subject)
        made_by = [v.inputs[0] for v in behind if type(v) is Data and v.op == "output"]
        if not any(m in owned for m in made_by) and not _is_stepped(program, backward):
            continue  # gradients to look at, of a network that nothing trains here
        for module in made_by:
            if type(module) is not Obj or module in reported or module not in passes:
                continue
            reported.add(module)
            for missing in _missing(program, module, owned):
                assert isinstance(optimizers[0], Obj)
                yield Unowned(missing, optimizers[0], backward)


def _is_stepped(program: Program, backward: Effect) -> bool:
    """Whether an optimizer steps in the innermost loop around a backward pass."""
    loop = program.innermost_loops.get(backward)
    return loop is not None and any(e.kind == "step" for e in fx.effects(loop.body))


def _missing(program: Program, module: Obj, owned: set[Value]) -> list[Obj]:
    """The module, if no optimizer has any of it; else those of its children that none has."""
    parts = [p for p in program.descendants(module) if type(p) is Obj]
    if not any(p in owned for p in parts):
        return [module] if _trained_from_scratch(program, module) else []
    if not program.untouched(module) or program.loaded(module):
        return []
    children = [c for _, c in program.children(module) if type(c) is Obj]
    given = [c for c in children if c in owned]
    if not given or _whole(program, module, owned):
        return []
    return [c for c in children if c not in owned and _trained_from_scratch(program, c)]


def _whole(program: Program, module: Obj, owned: set[Value]) -> bool:
    """Whether an optimizer was given the module itself or something around it."""
    owners = {o for opt, _ in program.stepped_optimizers for o in program.optimizer_owners(opt)[0]}
    return any(m in owners for m in program.family(module))


def _is_plain(module: Obj) -> bool:
    """Whether a module is the project's own or a layer of torch, rather than a library's (pretrained) model."""
    return isinstance(module.cls, Class) or module.cls.startswith("torch.nn.")


def _trained_from_scratch(program: Program, module: Obj) -> bool:
    """A module made here with parameters of its own, neither loaded, frozen nor copied into."""
    if isinstance(module.cls, str) and not module.cls.startswith("torch.nn."):
        return False
    if any(type(d) is Obj and (not _is_plain(d) or program.loaded(d)) for d in program.descendants(module)):
        return False
    if program.has_unknown_parts(module) or not program.untouched(module) or program.is_frozen(module):
        return False
    return program.has_parameters(module) and not program.loaded(module)
