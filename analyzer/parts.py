"""Questions about the parts of models: which are never used, which were meant to be frozen, which normalise what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import ir, watching
from .knowledge import modules, training
from .values import Class, Const, Data, Function, Obj, Value, alternatives

if TYPE_CHECKING:
    from .program import Program


# ---------------------------------------------------------------------------- never used


@dataclass(frozen=True, slots=True, eq=False)
class Unused:
    """A layer that a module makes and that no code of the project names again."""

    site: Site
    owner: str
    name: str
    layer: str
    made: Site


DYNAMIC_ACCESS = frozenset(
    """children named_children _modules getattr __getattr__ __dict__ vars get_submodule exec eval locals globals
    create_feature_extractor IntermediateLayerGetter""".split()
)
"""Words of code that may reach a layer without its name."""


def unused_layers(program: Program) -> Iterator[Unused]:
    """Layers with parameters that only the constructor names."""
    seen: set[Site] = set()
    places = _places(program)
    for obj in program.objects:
        cls = obj.cls
        if not isinstance(cls, Class) or not program.is_module(obj) or not _is_closed(program, obj, cls):
            continue
        for name, held in program.attributes(obj):
            layers = [v for v in alternatives(held) if type(v) is Obj]
            site = program.assigned_at(obj, name)
            if (
                name.startswith("$")
                or site is None
                or site in seen
                or not layers
                or len(layers) < len(alternatives(held))
            ):
                continue
            if not all(program.is_module(v) and program.has_parameters(v) and program.untouched(v) for v in layers):
                continue
            seen.add(site)
            if any(len(places.get(v, ())) > 1 for v in layers):
                continue  # reached through a container, too
            if not _named_again(program, cls, name):
                yield Unused(site, cls.name, name, program.class_name(layers[0]), layers[0].site)


def _places(program: Program) -> dict[Value, set[tuple[Value, str]]]:
    """Where each thing is held: by which objects under which names, inside lists and dicts too."""
    places: dict[Value, set[tuple[Value, str]]] = {}
    for obj in program.objects:
        for name, held in program.attributes(obj):
            for value in watching.flat(held):
                places.setdefault(value, set()).add((obj, name))
    return places


def _is_closed(program: Program, obj: Obj, cls: Class) -> bool:
    """Whether all code of the class is seen, it has a forward pass, and reaches its parts by their names."""
    found = cls.find("forward")
    if cls.open or found is None or type(found[1]) is not Function or not program.untouched(obj):
        return False
    if cls.library_bases & modules.CONTAINERS:
        return False
    return not any(c.definition.words & DYNAMIC_ACCESS for c in cls.ancestors())


def _named_again(program: Program, cls: Class, name: str) -> bool:
    """Whether any code but the constructors of the class (and its kin) has the name, or was seen to read it."""
    if name in program.words_outside_constructors:
        return True
    return any(attribute == name and _is_kin(owner, cls) for owner, attribute in program.notes.read)


def _is_kin(owner: Value, cls: Class) -> bool:
    if type(owner) is not Obj or not isinstance(owner.cls, Class):
        return type(owner) is not Obj
    return owner.cls in tuple(cls.ancestors()) or cls in tuple(owner.cls.ancestors())


def words_outside_constructors(files: list[ir.FileIR]) -> frozenset[str]:
    """Every identifier in the project but those that only stand in constructors."""
    found: set[str] = set()
    for file in files:
        for statement in file.body:
            _collect(statement, found)
    return frozenset(found)


def owners_of_calls(definition: ir.Def, method: str) -> set[str]:
    """The last names of what a function calls a method of this name on."""
    found: set[str] = set()
    queue: list[object] = list(definition.body) if method in definition.words else []
    while queue:
        node = queue.pop()
        if type(node) is ir.Call and type(node.func) is ir.Attribute and node.func.name == method:
            base = node.func.base
            found.add(base.name if type(base) is ir.Attribute else base.id if type(base) is ir.Name else "")
        if isinstance(node, tuple):
            queue.extend(part for part in node if isinstance(part, tuple))
    return found


def _collect(node: object, found: set[str]) -> None:
    if isinstance(node, ir.Def):
        if node.name != "__init__":
            found |= node.words
        return
    if isinstance(node, ir.Attribute):
        found.add(node.name)
    elif isinstance(node, ir.Name):
        found.add(node.id)
    elif isinstance(node, ir.Const) and isinstance(node.value, str) and node.value.isidentifier():
        found.add(node.value)
    if isinstance(node, tuple):
        for part in node:
            _collect(part, found)


# ---------------------------------------------------------------------------- meant to be frozen


@dataclass(frozen=True, slots=True, eq=False)
class NotFrozen:
    """An assignment that was meant to switch gradients and switches nothing."""

    site: Site
    name: str
    what: str
    """``module``, ``parameter``, or ``tensor`` for something that may need no switch at all."""


def ineffective_switches(program: Program) -> Iterator[NotFrozen]:
    """``p.require_grad = False`` (another name), and ``module.requires_grad = False`` (modules have no such thing)."""
    for (subject, name), site in program.assignments():
        if name == "requires_grad":
            if _is_plain_module(program, subject):
                yield NotFrozen(site, name, "module")
        elif _distance(name, "requires_grad") <= 2 and not _is_own(program, subject, name):
            yield NotFrozen(site, name, "parameter" if _is_parameter(subject) else "tensor")


def _is_plain_module(program: Program, subject: Value) -> bool:
    """A module that does nothing of its own with an attribute ``requires_grad``."""
    if type(subject) is Obj:
        if not program.is_module(subject):
            return False
        cls = subject.cls
        if isinstance(cls, str):
            return True
        return not cls.open and not any("requires_grad" in c.definition.words for c in cls.ancestors())
    # A part of a library's model: ``resnet.layer4``.
    root = subject
    names = []
    while type(root) is Data and root.op.startswith(".") and len(root.inputs) == 1:
        names.append(root.op)
        root = root.inputs[0]
    library = type(root) is Obj and isinstance(root.cls, str) and root.cls.startswith("torchvision.models.")
    return library and bool(names) and names[0] in modules.PARTS


def _is_parameter(subject: Value) -> bool:
    """Whether a tensor is known to be a parameter: one of ``parameters()``, or a layer's weight."""
    while type(subject) is Data and subject.inputs:
        if subject.op in ("parameters", "named_parameters", ".weight", ".bias"):
            return True
        if subject.op not in ("element", "[]", "filter", "list"):
            return False
        subject = subject.inputs[0]
    return type(subject) is Obj and subject.cls == "torch.nn.Parameter"


def _is_own(program: Program, subject: Value, name: str) -> bool:
    """Whether somebody reads the attribute: then it is not a misspelling but a flag of one's own."""
    if any(attribute == name for _, attribute in program.notes.read):
        return True
    if type(subject) is Obj and isinstance(subject.cls, Class):
        return True
    return f".{name}" in program.operation_names or (type(subject) is Obj and not program.is_module(subject))


def _distance(a: str, b: str) -> int:
    """How many letters must be changed, added or left out."""
    if abs(len(a) - len(b)) > 2:
        return 3
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


# ---------------------------------------------------------------------------- batch normalisation


@dataclass(frozen=True, slots=True, eq=False)
class SingleSamples:
    """A network with batch normalisation that is trained on batches of one sample."""

    site: Site
    norm: Obj
    loader: Obj


def single_samples(program: Program) -> Iterator[SingleSamples]:
    """Training passes of a network with batch normalisation on a loader whose batches have one sample."""
    for root in program.roots:
        for effect in program.training_forwards(root):
            if effect.mode is not True or type(effect.subject) is not Obj or not effect.intact:
                continue
            norm = _norm_in(program, effect.subject)
            loaders = [v for i in effect.inputs for v in program.loaders(i)]
            if norm is not None and loaders and all(_one_by_one(v) for v in loaders):
                yield SingleSamples(effect.site, norm, loaders[0])


def _norm_in(program: Program, module: Value) -> Obj | None:
    for part in program.descendants(module):
        if type(part) is Obj and part.cls in modules.BATCH_NORMS and not part.hidden:
            kept = part.argument("track_running_stats")
            if kept is None or (type(kept) is Const and kept.value is True):
                return part
    return None


def _one_by_one(loader: Obj) -> bool:
    if loader.cls != training.LOADER or loader.hidden:
        return False
    if any(loader.argument(name) is not None for name in ("batch_sampler", "collate_fn")):
        return False
    size = loader.argument("batch_size")
    return size is None or (type(size) is Const and size.value == 1)


@dataclass(frozen=True, slots=True, eq=False)
class UselessBias:
    """A layer whose bias the batch normalisation behind it takes away again."""

    site: Site
    layer: str
    norm: Site


def useless_biases(program: Program) -> Iterator[UselessBias]:
    """Linear and convolutional layers with a bias directly before a batch normalisation."""
    for op in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"):
        for norm in program.operations(op):
            layer = norm.inputs[0] if norm.inputs else None
            if type(layer) is Data and layer.op in modules.BIAS_POSITION and layer.site and norm.site:
                given = layer.option("bias") or layer.option(str(modules.BIAS_POSITION[layer.op]))
                hidden = any(k in ("*", "**") for k, _ in layer.options)
                if not hidden and (given is None or (type(given) is Const and given.value is True)):
                    yield UselessBias(layer.site, layer.op, norm.site)
