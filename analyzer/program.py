"""The nouns of a training script and the questions that rules ask about them.

A :class:`Program` is built once from what the interpreter recorded. Rules read it and never see
syntax: they ask what kind of numbers reach a loss, which modules an optimizer owns, in which mode a
model ran, in which order things happen along every path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as Mapping_
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..rules.finding import Site
from . import effects as fx
from . import lineage, parts, selection, splits, structure, transforms, watching
from .access import is_module_object
from .effects import Block, Effect, LoopNode
from .interpret import Interpreter, Root
from .knowledge import modules, tensors, training
from .knowledge.losses import CLASSES_AND_FUNCTIONS, Loss
from .options import usual
from .shapes import Shapes
from .state import DYNAMIC, ITEMS
from .values import (
    UNKNOWN,
    Class,
    Const,
    Data,
    Function,
    Mapping,
    Obj,
    Union,
    Value,
    alternatives,
    constant,
    is_none,
)
from .values import (
    Sequence as Items,
)

MAX_WALK = 3_000


@dataclass(frozen=True, slots=True)
class Activation:
    """What kind of numbers a value holds, and where that was decided."""

    kind: str
    site: Site | None


@dataclass(frozen=True, slots=True, eq=False)
class LossUse:
    """One evaluation of a known loss."""

    loss: Loss
    effect: Effect
    prediction: Value
    target: Value | None
    root: Root

    @property
    def site(self) -> Site:
        """Where the loss is called."""
        return self.effect.site


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """A loop with the loops around it (outermost first), in one root."""

    node: LoopNode
    outer: tuple[LoopNode, ...]
    root: Root

    @property
    def site(self) -> Site:
        """The loop's header."""
        return self.node.site

    @property
    def body(self) -> Block:
        """The effects of all passes, as one block."""
        return [node for body in self.node.passes for node in body]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingLoop:
    """A loop in which a loss is backpropagated. ``unknown`` says what was not understood, "" for nothing."""

    site: Site
    unknown: str


class Program:
    """Everything that was understood of a project."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._run = interpreter
        self.roots: Sequence[Root] = interpreter.roots
        self.notes = interpreter.notes
        self.answers: dict[object, dict[object, Any]] = {}
        """What was asked about values, by question (:func:`~.memo.remembered`)."""

    # ------------------------------------------------------------------ effects

    @cached_property
    def _effects(self) -> dict[str, list[tuple[Effect, Root]]]:
        found: dict[str, list[tuple[Effect, Root]]] = {}
        for root in self.roots:
            for effect in root.effects:
                found.setdefault(effect.kind, []).append((effect, root))
        return found

    def effects(self, kind: str) -> Sequence[tuple[Effect, Root]]:
        """Every effect of a kind, with its root."""
        return self._effects.get(kind, ())

    @cached_property
    def loops(self) -> Sequence[Loop]:
        """Every loop that has effects."""
        return [loop for root in self.roots for loop in _loops(root.block, (), root)]

    @cached_property
    def innermost_loops(self) -> dict[Effect, Loop]:
        """Each backward pass that is in a loop -> the innermost one."""
        return {e: loop for loop in self.loops for e in self.own_effects(loop) if e.kind == "backward"}

    @cached_property
    def training_loops(self) -> Sequence[TrainingLoop]:
        """The innermost loops that backpropagate, one a site."""
        found: dict[Site, str] = {}
        for loop in self.loops:
            backward = [e for e in fx.effects(loop.body) if e.kind == "backward"]
            if backward and not any(
                inner.kind == "backward" for node in fx.loops(loop.body) for b in node.passes for inner in fx.effects(b)
            ):
                reason = self._not_understood(loop)
                found[loop.site] = "" if found.get(loop.site) == "" else reason
        return [TrainingLoop(site, reason) for site, reason in found.items()]

    def _not_understood(self, loop: Loop) -> str:
        if loop.root.exhausted:
            return "the calls that it makes are more than one scan follows"
        seen = list(fx.effects(loop.body))
        stepped = [e for e in seen if e.kind == "step" and self.is_optimizer(e.subject)]
        if not stepped:
            return "no optimizer that is known here is stepped"
        if not any(e.kind == "loss" for e in seen):
            return "the loss is not one that is known"
        if not any(e.kind == "forward" and type(e.subject) is Obj for e in seen):
            return "the model is made where it cannot be seen"
        return ""

    def paths(
        self, block: Block, kinds: frozenset[str], keep: Callable[[Effect], bool]
    ) -> list[tuple[Effect, ...]] | None:
        """The kept effects of these kinds along every path; None where there are too many."""
        return fx.paths(block, kinds, keep)

    def named_only(self, method: str) -> frozenset[Value]:
        """Things of which a statement names this method without calling it (``model.eval``)."""
        return frozenset(
            owner
            for e, _ in self.effects("idle")
            if e.inputs and type(e.inputs[0]) is Const and e.inputs[0].value == method
            for owner in alternatives(e.subject)
        )

    def role(self, owner: Value, method: str) -> bool | None:
        """Whether a thing is one that training calls this method on: an optimizer, a module, a loss. None: perhaps."""
        answers = {self._role(v, method) for v in alternatives(owner) if not is_none(v)}
        return answers.pop() if len(answers) == 1 else None

    def _role(self, owner: Value, method: str) -> bool | None:
        if type(owner) is Obj:
            module, optimizer = self.is_module(owner), self.is_optimizer(owner)
            if method in ("eval", "train"):
                return module
            return optimizer or (method == "zero_grad" and module) or (method == "step" and self.is_scheduler(owner))
        if type(owner) is not Data:
            return False
        if method == "backward":
            return not watching.is_opaque(owner) or None
        if not watching.is_opaque(owner):
            return False
        used = self.uses(owner)
        if method in ("eval", "train"):
            return True if self.is_called(owner) and used & {"parameters", "state_dict", "eval", "train"} else None
        return True if self.is_optimizer(owner) else None

    # ------------------------------------------------------------------ losses and numbers

    @cached_property
    def losses(self) -> Sequence[LossUse]:
        """Every evaluation of a known loss whose prediction was seen."""
        found = []
        for effect, root in self.effects("loss"):
            loss = self._loss_of(effect)
            result = effect.result
            if loss is None or type(result) is not Data:
                continue
            prediction = result.option("input", 0)
            if prediction is not None and effect.intact:
                found.append(LossUse(loss, effect, prediction, result.option("target", 1), root))
        return found

    @staticmethod
    def _loss_of(effect: Effect) -> Loss | None:
        subject = effect.subject
        path = subject.cls if type(subject) is Obj else getattr(subject, "path", None)
        return CLASSES_AND_FUNCTIONS.get(path) if isinstance(path, str) else None

    def activation(self, value: Value) -> Activation | None:
        """What kind of numbers the value holds; None unless all its alternatives agree."""
        found = [self._activation(v, 0) for v in alternatives(value)]
        kinds = {a.kind if a else None for a in found}
        return found[0] if len(kinds) == 1 else None

    def _activation(self, value: Value, depth: int) -> Activation | None:
        if type(value) is Items and value.items and not value.open:
            return self._agreed(value.items, depth)
        if type(value) is not Data or depth > 40:
            return None
        op = value.op
        kind = tensors.OUTPUT.get(op)
        if kind is not None:
            return Activation(kind, value.site)
        if op == "output":
            return self._agreed(value.inputs[1:2], depth)
        if not value.inputs:
            return None
        if op == "log":
            return self._logarithm(value, depth)
        if op in tensors.PASSES:
            first = value.inputs[0]
            if op == "[]" and type(first) is Items:
                return None
            return self._agreed(first.items if type(first) is Items else (first,), depth)
        if op in ("clamp", "clip", "clamp_"):
            return self._agreed(value.inputs[:1], depth)
        if op in tensors.RESAMPLES or op in ("+", "-", "*", "/", "add", "mul", "div", "sub"):
            return self._scores(value, depth)
        return None

    def _agreed(self, values: Sequence[Value], depth: int) -> Activation | None:
        found = [self._activation(v, depth + 1) for value in values for v in alternatives(value)]
        kinds = {a.kind if a else None for a in found}
        return found[0] if len(kinds) == 1 else None

    def _logarithm(self, value: Data, depth: int) -> Activation | None:
        """``log(softmax(x))``, with a clamp or an epsilon inside or not, is log-probabilities."""
        inner: Value = value.inputs[0]
        while type(inner) is Data and inner.op in ("+", "clamp", "clip", "add", "maximum"):
            inner = inner.inputs[0]
        of = self._agreed((inner,), depth)
        if of is not None and of.kind == tensors.PROBABILITIES:
            return Activation(tensors.LOG_PROBABILITIES, value.site)
        return None

    def _scores(self, value: Data, depth: int) -> Activation | None:
        """Sums, multiples and pooled unnormalised scores stay such; of anything else nothing is known."""
        tensors_in = [v for v in value.inputs if not _is_weight(v)] if value.op in "+-*/" else value.inputs[:1]
        found = self._agreed(tensors_in, depth)
        return found if found is not None and found.kind == tensors.LOGITS else None

    @cached_property
    def shapes(self) -> Shapes:
        """The shapes of tensors, as far as they are known."""
        return Shapes(self)

    # ------------------------------------------------------------------ histories

    def history(
        self, value: Value, into_objects: bool = False, through_unseen: bool = True, collected: bool = True
    ) -> Iterator[Value]:
        """The value and everything that it was made from, nearest first.

        With ``into_objects`` also what objects hold; without ``through_unseen`` it ends where unseen code had a hand,
        without ``collected`` at lists that grew piece by piece.
        """
        seen: dict[Value, None] = {}
        queue = [value]
        while queue and len(seen) < MAX_WALK:
            item = queue.pop(0)
            for v in alternatives(item):
                if v in seen or isinstance(v, Const):
                    continue
                seen[v] = None
                yield v
                unseen = not through_unseen and type(v) is Data and v.op == "touched?"
                grown = not collected and type(v) is Items and v.open
                if not unseen and not grown:
                    queue.extend(self._sources(v, into_objects))

    def ancestry(self, values: Iterable[Value]) -> set[Value]:
        """All of these values' histories, however long; what only gave its size is not among them."""
        seen: set[Value] = set()
        queue = list(values)
        while queue:
            for v in alternatives(queue.pop()):
                if v not in seen and type(v) is not Const:
                    seen.add(v)
                    if type(v) is not Data or v.op not in tensors.COUNTS:
                        queue.extend(self._sources(v, False))
        return seen

    def _sources(self, value: Value, into_objects: bool) -> list[Value]:
        if type(value) is Data:
            return [*value.inputs, *(v for _, v in value.options)]
        if type(value) is Items:
            return list(value.items)
        if type(value) is Mapping:
            return [v for _, v in value.items]
        if type(value) is Obj and into_objects:
            return [v for _, v in value.arguments] + [v for _, v in self.attributes(value)]
        return []

    def differentiable(self, value: Value) -> Iterator[Value]:
        """The value and what gradients can flow back to from it: histories end at ``.item()``, ``.detach()`` ..."""
        seen: dict[Value, None] = {}
        queue = [value]
        while queue and len(seen) < MAX_WALK:
            for v in alternatives(queue.pop(0)):
                if v in seen or isinstance(v, Const):
                    continue
                seen[v] = None
                yield v
                if type(v) is Data and v.op not in tensors.CUTS:
                    queue.extend(v.inputs)
                    queue.extend(o for _, o in v.options)
                elif type(v) is Obj and isinstance(v.cls, str) and v.cls.startswith("torch.distributions."):
                    queue.extend(o for _, o in v.arguments)
                elif type(v) is Items:
                    queue.extend(v.items)
                elif type(v) is Mapping:
                    queue.extend(o for _, o in v.items)

    def cut(self, value: Value) -> bool:
        """Whether some operation on the way certainly took the value off the graph."""
        return all(self._cut(v) for v in alternatives(value))

    def _cut(self, value: Value) -> bool:
        while type(value) is Data:
            if value.op in tensors.CUTS:
                return True
            if value.op in tensors.PASSES or value.op in tensors.GRADED or value.op == "touched?":
                data = [v for v in value.inputs if type(v) is Data]
                if len(data) != 1:
                    return bool(data) and all(self._cut(v) for v in data)
                value = data[0]
                continue
            return False
        return type(value) is Const

    # ------------------------------------------------------------------ objects

    def attributes(self, obj: Value) -> Sequence[tuple[str, Value]]:
        """What an object held when its root ended (lists and dicts as their contents)."""
        return self._run.held.get(obj, ())

    def attribute(self, obj: Value, name: str) -> Value | None:
        """One attribute, None where there is none."""
        return next((v for k, v in self.attributes(obj) if k == name), None)

    @cached_property
    def objects(self) -> Sequence[Obj]:
        """Everything that was made, in order."""
        return list(self._run.objects)

    def made(self, *paths: str) -> Iterator[Obj]:
        """Instances of these library classes."""
        for obj in self.objects:
            if obj.cls in paths:
                yield obj

    def is_module(self, value: Value) -> bool:
        """Whether the value is an ``nn.Module``."""
        return is_module_object(value)

    def is_optimizer(self, value: Value) -> bool:
        """Whether the value is an optimizer: by its class, its annotation, or because it is used as one."""
        if type(value) is Union:
            return all(self.is_optimizer(v) or is_none(v) for v in value.alternatives)
        if type(value) is Obj:
            if isinstance(value.cls, Class):
                return any(training.is_optimizer(b) for b in value.cls.library_bases)
            return training.is_optimizer(value.cls)
        if type(value) is Data:
            annotation = self._run.types.get(value)
            if annotation is not None and training.is_optimizer(getattr(annotation, "path", "")):
                return True
            if value in self.presumed_optimizers:
                return True
            used = self.uses(value)
            return "zero_grad" in used and ("step" in used or not self.is_called(value))
        return False

    @cached_property
    def presumed_optimizers(self) -> frozenset[Value]:
        """Opaque things that are the only ones stepped where a loss is backpropagated: they must be the optimizer."""
        found = set()
        for root in self.roots:
            stepped = {e.subject: e for e in root.effects if e.kind == "step"}
            if len(stepped) != 1 or not any(e.kind == "backward" for e in root.effects):
                continue
            value, effect = stepped.popitem()
            if type(value) is Data and not effect.inputs and not self.is_called(value):
                found.add(value)
        return frozenset(found)

    def is_scheduler(self, value: Value) -> bool:
        """Whether the value is a learning-rate scheduler that was seen being made."""
        if type(value) is not Obj:
            return False
        if isinstance(value.cls, Class):
            return any(training.is_scheduler(b) for b in value.cls.library_bases)
        return training.is_scheduler(value.cls)

    @cached_property
    def _called(self) -> frozenset[Value]:
        return frozenset(effect.subject for effect, _ in self.effects("forward"))

    def is_called(self, value: Value) -> bool:
        """Whether the opaque value is called like a model or function."""
        return value in self._called

    def children(self, module: Value) -> list[tuple[str, Value]]:
        """Registered sub-modules by name."""
        out: list[tuple[str, Value]] = []
        for name, held in self.attributes(module):
            if name in (ITEMS, DYNAMIC):
                items = held.items if type(held) is Items else ()
                out += [(str(i), v) for i, v in enumerate(items) if self.is_module(v)]
            elif not name.startswith("$"):
                out += [(name, v) for v in alternatives(held) if self.is_module(v)]
        return out

    def descendants(self, module: Value) -> list[Value]:
        """The module and all registered modules below it."""
        seen: dict[Value, None] = {}
        queue = [module]
        while queue and len(seen) < MAX_WALK:
            item = queue.pop()
            if item not in seen:
                seen[item] = None
                queue.extend(child for _, child in self.children(item))
        return list(seen)

    def has_unknown_parts(self, module: Value) -> bool:
        """Whether sub-modules may be there that were not seen."""
        for item in self.descendants(module):
            for name, held in self.attributes(item):
                if not name.startswith("$") and any(_may_be_module(v) for v in alternatives(held)):
                    return True
            if type(item) is Obj and isinstance(item.cls, Class) and item.cls.open:
                return True
        return False

    def train_dependent(self, module: Value) -> Obj | None:
        """A layer below the module that behaves differently in training (dropout, batch normalisation)."""
        for item in self.descendants(module):
            if type(item) is not Obj:
                continue
            if structure.asks_mode(self, item) if isinstance(item.cls, Class) else _train_dependent(item):
                return item
        return None

    def has_parameters(self, module: Value) -> bool:
        """Whether the module, or a part of it, certainly owns a parameter."""
        return any(self.has_own_parameters(item) for item in self.descendants(module))

    def has_own_parameters(self, module: Value) -> bool:
        """Whether the module itself, apart from its parts, certainly owns a parameter."""
        held = (v for _, value in self.attributes(module) for v in alternatives(value))
        if any(type(v) is Obj and v.cls == "torch.nn.Parameter" for v in held):
            return True
        return (
            type(module) is Obj
            and isinstance(module.cls, str)
            and module.cls.startswith(("torch.nn.", "torchvision.models."))
            and module.cls not in modules.WITHOUT_PARAMETERS
            and module.cls not in modules.CONTAINERS
            and not any(constant(module.argument(name)) is False for name in modules.AFFINE)
        )

    # ------------------------------------------------------------------ parameters

    def owners(self, parameters: Value) -> tuple[frozenset[Value], bool]:
        """Whose parameters an expression holds, and whether that is all that it holds."""
        found: set[Value] = set()
        complete = self._owners(parameters, found, 0)
        return frozenset(found), complete

    def _owners(self, value: Value, found: set[Value], depth: int) -> bool:
        if depth > 30:
            return False
        if type(value) is Items:
            # Lists, not generators: every part is looked at, also after one that is not complete.
            return all([self._owners(v, found, depth + 1) for v in value.items]) and bool(value.items)  # noqa: C419
        if type(value) is Mapping:
            inside = value.get("params")
            return inside is not None and self._owners(inside, found, depth + 1)
        if type(value) is Obj:
            if value.cls == "torch.nn.Parameter" or self.is_module(value):
                found.add(value)
                return True
            return False
        if type(value) is not Data:
            return is_none(value)
        if value.op in ("parameters", "named_parameters"):
            return all([self._owner(v, found) for v in alternatives(value.inputs[0]) if not is_none(v)])  # noqa: C419
        if value.op in ("filter", "chain", "+", "element", "[]", "list", "rest"):
            inputs = value.inputs[:1] if value.op in ("[]", "element", "rest") else value.inputs
            return all([self._owners(v, found, depth + 1) for v in inputs])  # noqa: C419
        if value.op.startswith(".") and self.is_module(value.inputs[0]):
            return False
        return False

    def _owner(self, value: Value, found: set[Value]) -> bool:
        """Add whose parameters ``value.parameters()`` are; a child that cannot be told stands for its whole module."""
        if type(value) is Obj:
            found.add(value)
            return True
        modules_behind = [v for v in self.history(value) if self.is_module(v)]
        found.update(modules_behind)
        return bool(modules_behind)

    def owners_of(self, parameters: Value) -> frozenset[Value]:
        """Modules whose parameters an expression holds, as far as they are known; the module itself for a module."""
        return self.owners(parameters)[0] | {parameters}

    def mentions(self, root: Root, words: frozenset[str]) -> bool:
        """Whether the files of the code that runs in a root hold one of these identifiers."""
        return not words.isdisjoint(self.identifiers(root))

    def identifiers(self, root: Root) -> frozenset[str]:
        """Every identifier in the files of the code that runs in a root."""
        return frozenset[str]().union(*(file.words for file in self._run.files if file.filename in root.files))

    def optimizer_owners(self, optimizer: Value) -> tuple[frozenset[Value], bool]:
        """Whose parameters an optimizer was given, and whether that is all."""
        if type(optimizer) is Union:
            each = [self.optimizer_owners(v) for v in optimizer.alternatives if not is_none(v)]
            return frozenset[Value]().union(*(o for o, _ in each)), all(complete for _, complete in each)
        if type(optimizer) is not Obj or not isinstance(optimizer.cls, str):
            return frozenset(), False
        parameters = optimizer.argument("params")
        if parameters is None:
            return frozenset(), False
        owners, complete = self.owners(parameters)
        return owners, complete and not optimizer.hidden

    # ------------------------------------------------------------------ models and optimizers in action

    @cached_property
    def stepped_optimizers(self) -> Sequence[tuple[Value, Root]]:
        """Every optimizer that a root steps."""
        pairs = {
            (e.subject, id(root)): (e.subject, root) for e, root in self.effects("step") if self.is_optimizer(e.subject)
        }
        return list(pairs.values())

    def uses(self, value: Value) -> set[str]:
        """Names of the library methods called on a thing."""
        return self._run.uses.get(value, set())

    def users_of(self, method: str) -> list[Value]:
        """Things on which a method of this name is called."""
        return [value for value, names in self._run.uses.items() if method in names]

    def connected(self, filename: str) -> frozenset[str]:
        """The files that can be part of a run with this one: what imports it, and all that those import."""
        imported = self._run.imports
        importers: dict[str, list[str]] = {}
        for name, needed in imported.items():
            for other in needed:
                importers.setdefault(other, []).append(name)
        above = _closure([filename], importers)
        return frozenset(_closure(above, imported))

    @cached_property
    def seeding_files(self) -> frozenset[str]:
        """Files in which a random generator is seeded, by a library or by a function of that name."""
        known = (data for op in training.SEEDS for data in self.operations(op))
        named = (data for data in self.operations("call") if data.inputs and "seed" in _called_name(data.inputs[0]))
        return frozenset(data.site.file for data in (*known, *named) if data.site is not None)

    def loaded(self, module: Value) -> bool:
        """Whether weights are loaded into the module alone; where trained ones are loaded too, a run is resumed."""
        if not self.uses(module) & training.LOADS:
            return False
        owned = {o for opt, _ in self.stepped_optimizers for o in self.optimizer_owners(opt)[0]}
        return not any(self.uses(other) & training.LOADS for other in owned)

    def reads_weights(self, module: Value) -> bool:
        """Whether the weights of a layer are named anywhere: set, shared or used by hand."""
        return any(module in data.inputs for op in (".weight", ".bias") for data in self.operations(op))

    @cached_property
    def _parents(self) -> dict[Value, list[Value]]:
        parents: dict[Value, list[Value]] = {}
        for obj in self.objects:
            if self.is_module(obj):
                for _, child in self.children(obj):
                    parents.setdefault(child, []).append(obj)
                for name, held in self.attributes(obj):
                    # A layer of a library that nobody knows here is a part of what holds it, too.
                    for part in alternatives(held) if not name.startswith("$") else ():
                        if type(part) is Obj and isinstance(part.cls, str) and not self.is_module(part):
                            parents.setdefault(part, []).append(obj)
        return parents

    def family(self, module: Value) -> list[Value]:
        """The module and every module that contains it."""
        seen: dict[Value, None] = {}
        queue = [module]
        while queue and len(seen) < MAX_WALK:
            item = queue.pop()
            if item not in seen:
                seen[item] = None
                queue.extend(self._parents.get(item, ()))
        return list(seen)

    @cached_property
    def _escaped(self) -> frozenset[Value]:
        return frozenset(e.subject for e, _ in self.effects("escape"))

    def untouched(self, value: Value) -> bool:
        """Whether no unseen code ever had hold of the thing."""
        return not any(v in self._escaped for v in alternatives(value))

    @cached_property
    def _frozen(self) -> frozenset[Value]:
        frozen: set[Value] = set()
        for effect, _ in self.effects("freeze"):
            if not (type(effect.inputs[0]) is Const and effect.inputs[0].value is True):
                owners, _ = self.owners(effect.subject)
                frozen |= owners | {effect.subject}
        return frozenset(frozen)

    def is_frozen(self, module: Value) -> bool:
        """Whether some parameter of the module, or of what contains it, was told not to require gradients."""
        return any(m in self._frozen for m in (*self.family(module), *self.descendants(module)))

    def frozen_itself(self, module: Value) -> bool:
        """Whether the module itself was told not to require gradients, or to require them."""
        return module in self._frozen

    def training_forwards(self, root: Root) -> Sequence[Effect]:
        """Forward passes of a root whose outputs a backward pass reaches."""
        return self._training_forwards.get(id(root), ())

    @cached_property
    def _training_forwards(self) -> dict[int, list[Effect]]:
        reached: dict[int, set[Value]] = {}
        for effect, root in self.effects("backward"):
            reached.setdefault(id(root), set()).update(self.differentiable(effect.subject))
        found: dict[int, list[Effect]] = {}
        for effect, root in self.effects("forward"):
            values = reached.get(id(root))
            # Equal inputs give equal values: a pass that records no graph is not the one that was trained on.
            if (
                values
                and effect.grad is not False
                and effect.result is not None
                and any(v in values for v in watching.flat(effect.result))
            ):
                found.setdefault(id(root), []).append(effect)
        return found

    @cached_property
    def gradients_asked_for(self) -> frozenset[Value]:
        """Tensors on which ``requires_grad`` was switched on."""
        on = (v for data in self.operations("requires_grad_") for v in (data, *data.inputs[:1]))
        return frozenset(e.subject for e, _ in self.effects("freeze")) | frozenset(on)

    @cached_property
    def unreduced_losses(self) -> frozenset[Value]:
        """Results of known losses with ``reduction="none"``."""
        found = set()
        for use in self.losses:
            subject, result = use.effect.subject, use.effect.result
            given = subject.argument("reduction") if type(subject) is Obj else None
            if given is None and type(result) is Data:
                given = result.option("reduction")
            if constant(given) == "none" and result is not None:
                found.add(result)
        return frozenset(found)

    @cached_property
    def outputs_of_models(self) -> frozenset[Value]:
        """What opaque things return that are used as modules are: their parameters or mode are asked for."""
        return frozenset(
            v
            for effect, _ in self.effects("forward")
            if self.uses(effect.subject) & {"parameters", "train", "eval"} and effect.result is not None
            for v in watching.flat(effect.result)
        )

    @cached_property
    def trained_on(self) -> frozenset[Value]:
        """Everything that goes into a loss that is backpropagated, by a loop here or by Lightning."""
        losses = [e.subject for e, _ in self.effects("backward")]
        losses += [
            root.result
            for root in self.roots
            if root.owner is not None
            and root.method == "training_step"
            and root.owner.library_bases & modules.LIGHTNING_BASES
        ]
        return frozenset(self.ancestry(losses))

    def scaler_of(self, loss: Value) -> Value | None:
        """The GradScaler that scaled a loss."""
        for value in self.differentiable(loss):
            if type(value) is Data and value.op == "scale":
                return value.option("scaler")
        return None

    @cached_property
    def schedulers_in_roots(self) -> Sequence[tuple[Obj, Root]]:
        """Every known scheduler that a root steps."""
        pairs = {
            (e.subject, id(root)): (e.subject, root)
            for e, root in self.effects("step")
            if type(e.subject) is Obj and self.is_scheduler(e.subject) and self.untouched(e.subject)
        }
        return list(pairs.values())

    def counts_epochs(self, scheduler: Obj, epochs: LoopNode) -> bool:
        """Whether a schedule's period is meant in epochs of this loop: the same value, or a literal no longer."""
        given = (scheduler.argument(name) for name in ("T_max", "step_size", "milestones", "1"))
        period = next((v for v in given if v is not None), None)
        periods = period.items if type(period) is Items else (period,)
        length = epochs.iterable.inputs[-1] if type(epochs.iterable) is Data and epochs.iterable.inputs else None
        if period is not None and period is length:
            return True
        limit = length.value if type(length) is Const and isinstance(length.value, int) else 50
        return all(type(v) is Const and isinstance(v.value, int) and v.value <= limit for v in periods)

    @cached_property
    def framework_training_loaders(self) -> Sequence[tuple[Obj, Site]]:
        """Loaders that a Lightning hook returns for training, with their place."""
        found = []
        for root in self.roots:
            owner = root.owner
            if owner is None or root.method != "train_dataloader" or not owner.library_bases & modules.LIGHTNING_BASES:
                continue
            found += [(v, v.site) for v in alternatives(root.result) if type(v) is Obj and v.cls == training.LOADER]
        return found

    @cached_property
    def training_loaders(self) -> Sequence[tuple[Obj, Site]]:
        """Loaders whose batches reach a backward pass, each with the place of the training."""
        return list(lineage.find_training_loaders(self))

    @cached_property
    def framework_evaluation_loaders(self) -> Sequence[tuple[Obj, Site]]:
        """Loaders that a Lightning hook returns for validation, with their place."""
        found = []
        for root in self.roots:
            if root.owner is None or root.method != "val_dataloader":
                continue
            if root.owner.library_bases & modules.LIGHTNING_BASES:
                options = alternatives(root.result)
                found += [(v, v.site) for v in options if type(v) is Obj and v.cls == training.LOADER]
        return found

    @cached_property
    def selections(self) -> Sequence[selection.Selection]:
        """Decisions of a training that follow a measured number."""
        return list(selection.selections(self))

    @cached_property
    def entries(self) -> Sequence[transforms.Entry]:
        """Images of known range that enter a model."""
        return list(transforms.entries(self))

    def is_stepped_by_name(self, scheduler: Obj) -> bool:
        """Whether a method of the object that holds it calls ``step`` on it, be it where nothing came by."""
        for (owner, name), _ in self.assignments():
            if type(owner) is Obj and isinstance(owner.cls, Class) and self.attribute(owner, name) is scheduler:
                methods = [v for cls in owner.cls.ancestors() for v in cls.attributes.values() if type(v) is Function]
                return any(name in parts.owners_of_calls(m.definition, "step") for m in methods)
        return False

    @cached_property
    def assigns_data(self) -> bool:
        """Whether weights are assigned by hand somewhere (``p.data = ...``)."""
        return any(name == "data" for _, name in self._run.assigned)

    @property
    def samples(self) -> Mapping_[Value, Value]:
        """What one index of each data set that a loader reads gives."""
        return self._run.samples

    @property
    def callbacks(self) -> Mapping_[Value, Value]:
        """What the function inside a library object makes of its argument."""
        return self._run.callbacks

    def is_sample_index(self, index: Data) -> bool:
        """Whether an index is the one with which a loader asks a data set for a sample."""
        return any(base.site == index.site for base in self.samples if isinstance(base, Obj))

    @property
    def ranges(self) -> Mapping_[Value, Data]:
        """The range that each index counts through."""
        return self._run.ranges

    @cached_property
    def removed_from(self) -> frozenset[Value]:
        """Things of which an item was deleted."""
        return frozenset(e.subject for e, _ in self.effects("remove"))

    def methods_of(self, obj: Value) -> set[str]:
        """Names of the project's own methods that were called on an object."""
        return self._run.methods.get(obj, set())

    def leaves(self, value: Value) -> bool:
        """Whether a thing is returned, stored in an object or handed to some call, so that others may use it."""
        return value in self._run.kept

    def site_of(self, value: Value) -> Site | None:
        """Where a thing was made."""
        return value.site if isinstance(value, (Obj, Data)) else None

    def class_name(self, value: Value) -> str:
        """The class of a thing by its own name."""
        if type(value) is not Obj:
            return "module"
        return value.cls.name if isinstance(value.cls, Class) else value.cls.rsplit(".", 1)[-1]

    def own_effects(self, loop: Loop) -> Sequence[Effect]:
        """Effects of the loop's body that are in no inner loop."""
        return list(_own(loop.body))

    def conditional(self, loop: Loop, effect: Effect) -> bool:
        """Whether a pass may go without the effect."""
        found = self.paths(
            loop.node.passes[0], frozenset((effect.kind,)), lambda e: e.site == effect.site and e.kind == effect.kind
        )
        return not found or not all(found)

    def reach(self, optimizer: Value, root: Root) -> structure.Reach:
        """What concerns an optimizer."""
        if optimizer not in self._reaches:
            self._reaches[optimizer] = structure.Reach(self, optimizer)
        return self._reaches[optimizer]

    @cached_property
    def _reaches(self) -> dict[Value, structure.Reach]:
        return {}

    @cached_property
    def evaluation_loops(self) -> Sequence[watching.EvaluationLoop]:
        """Loops over data that only evaluate."""
        return list(watching.evaluation_loops(self))

    @cached_property
    def scored(self) -> frozenset[Value]:
        """Everything that is held against labels, or that a loss is computed of."""
        compared = [data for op in tensors.SCORES for data in self.operations(op)]
        return frozenset(self.ancestry([*compared, *(use.prediction for use in self.losses)]))

    @property
    def discarded(self) -> set[Value]:
        """Results that stand alone as a statement."""
        return self._run.discarded

    # ------------------------------------------------------------------ data

    def is_dataset(self, value: Value) -> bool:
        """Whether the value is a data set made here."""
        if type(value) is not Obj:
            return False
        if isinstance(value.cls, Class):
            return any(training.is_dataset(b) or b in training.ITERABLE_DATASETS for b in value.cls.library_bases)
        return training.is_dataset(value.cls)

    def is_opaque_data(self, value: Value) -> bool:
        """Whether the value is an opaque parameter or attribute (what a function is handed to loop over)."""
        return watching.is_opaque(value)

    @cached_property
    def shuffled(self) -> frozenset[Value]:
        """What was shuffled in place."""
        return frozenset(e.subject for e, _ in self.effects("shuffle"))

    def index_of(self, loop: Loop) -> Value:
        """The index that a loop over ``range`` counts."""
        return loop.node.element

    @cached_property
    def slices(self) -> Sequence[tuple[Data, Site]]:
        """Every slice taken, and where."""
        return [(d, s) for d, s in self._run.sliced.items() if type(d.inputs[1]) is Data and d.inputs[1].op == "[:]"]

    @property
    def items_taken(self) -> Sequence[tuple[Data, Site]]:
        """Every item or slice of something that is not a list or dict, and where it is taken."""
        return list(self._run.sliced.items())

    @cached_property
    def row_slices(self) -> Sequence[tuple[tuple[Value, tuple[Value, ...]], Site]]:
        """Every slice of rows: the array (behind ``iloc`` and its like), its bounds, and where it is taken."""
        found = []
        for data, site in self._run.sliced.items():
            base, index = data.inputs
            if type(index) is Items and index.items:
                index = index.items[0]
            if type(base) is Data and base.op in (".iloc", ".loc", ".values"):
                base = base.inputs[0]
            if type(index) is Data and index.op == "[:]":
                found.append(((base, index.inputs), site))
        return found

    @cached_property
    def borders(self) -> dict[Value, dict[object, Site]]:
        """Arrays that are cut in adjacent pieces, with the bounds and where they are used."""
        return splits.borders(self)

    @cached_property
    def trained_shares(self) -> frozenset[splits.Share]:
        """Shares of divided data that a model is trained on."""
        return splits.trained_on(self)

    def sliced_at(self, data: Data) -> Site | None:
        """Where a slice was taken."""
        return self._run.sliced.get(data)

    def compared_at(self, data: Data) -> Site | None:
        """Where a comparison was made."""
        return self._run.compared.get(data)

    @cached_property
    def _operations(self) -> dict[str, list[Data]]:
        found: dict[str, list[Data]] = {}
        for value in self._run.space.everything():
            if type(value) is Data:
                found.setdefault(value.op, []).append(value)
        return found

    def operations(self, op: str) -> Sequence[Data]:
        """Every result of an operation."""
        return self._operations.get(op, ())

    def is_used(self, data: Data) -> bool:
        """Whether the numbers of a result go on: into another operation, a return value or a call."""
        return data in self._used or data in self._run.kept

    @cached_property
    def _used(self) -> frozenset[Value]:
        names = [op for op in self.operation_names if op not in tensors.COUNTS]
        taken = [
            v for op in names for data in self.operations(op) for v in (*data.inputs, *(o for _, o in data.options))
        ]
        taken += [v for kind in ("accumulate", "escape", "write") for e, _ in self.effects(kind) for v in e.inputs]
        taken += [e.subject for e, _ in self.effects("escape")]
        return frozenset(part for v in taken for part in watching.flat(v))

    def was_rewritten(self, dataset: Value, name: str) -> bool:
        """Whether an attribute of a data set (or of the one a subset stands for) was assigned from outside."""
        inner = self._run.space.data(".dataset", None, (dataset,))
        return any(name in self._run.state.attributes.get(v, ()) for v in (dataset, inner))

    def assignments(self) -> Iterable[tuple[tuple[Value, str], Site]]:
        """Every attribute that was assigned, with the first place."""
        return self._run.assigned.items()

    @cached_property
    def words_outside_constructors(self) -> frozenset[str]:
        """Every identifier in the project but those that only stand in constructors."""
        return parts.words_outside_constructors(self._run.files)

    @property
    def operation_names(self) -> Iterable[str]:
        """Names of all operations that were seen."""
        return self._operations.keys()

    def assigned_at(self, obj: Value, name: str) -> Site | None:
        """Where an attribute was first assigned."""
        return self._run.assigned.get((obj, name))

    def loaders(self, iterable: Value) -> list[Obj]:
        """The data loaders whose batches an iterable hands out (through enumerate, zip, tqdm ...).

        Not those of which it only knows the length.
        """
        found: list[Obj] = []
        queue = list(alternatives(iterable))
        seen: set[Value] = set()
        while queue and len(seen) < MAX_WALK:
            value = queue.pop()
            if value in seen:
                continue
            seen.add(value)
            if type(value) is Obj and value.cls == training.LOADER:
                found.append(value)
            elif type(value) is not Data or value.op not in tensors.COUNTS:
                queue += [v for source in self._sources(value, False) for v in alternatives(source)]
        return found

    def collated(self, loader: Obj) -> Value | None:
        """What the collate function of a loader was seen to make of its samples."""
        return self.notes.collated.get(loader)

    def comes_from(self, value: Value, source: Value) -> bool:
        """Whether ``source`` is in the history of ``value``."""
        return any(v is source for v in self.history(value))


def _loops(block: Block, outer: tuple[LoopNode, ...], root: Root) -> Iterator[Loop]:
    for node in block:
        if type(node) is LoopNode:
            yield Loop(node, outer, root)
            for body in node.passes:
                yield from _loops(body, (*outer, node), root)
        elif type(node) is fx.BranchNode:
            for _, arm in node.arms:
                yield from _loops(arm, outer, root)
        elif type(node) is fx.CallNode:
            yield from _loops(node.body, outer, root)


def _own(block: Block) -> Iterator[Effect]:
    for node in block:
        if type(node) is Effect:
            yield node
        elif type(node) is fx.BranchNode:
            for _, arm in node.arms:
                yield from _own(arm)
        elif type(node) is fx.CallNode:
            yield from _own(node.body)
        elif type(node) is LoopNode and node.exact:
            for body in node.passes:
                yield from _own(body)


def _is_weight(value: Value) -> bool:
    """A number or a parameter: adding it or multiplying with it does not change what kind of numbers there are."""
    return type(value) is Const or (type(value) is Obj and value.cls == "torch.nn.Parameter")


def _may_be_module(value: Value) -> bool:
    return value is UNKNOWN or (type(value) is Data and value.op in ("call", "param", "copy"))


def _train_dependent(layer: Obj) -> bool:
    assert isinstance(layer.cls, str)
    if layer.cls in modules.DROPOUT_ARGUMENT:
        rate = usual(layer.argument("dropout"))
        return type(rate) is Const and bool(rate.value)
    if layer.cls in ("torch.nn.Dropout", "torch.nn.Dropout2d"):
        rate = usual(layer.argument("p"))
        return not (type(rate) is Const and rate.value == 0)
    if layer.cls.startswith("torchvision.models."):
        return True
    return layer.cls in modules.TRAIN_DEPENDENT


def _called_name(callee: Value) -> str:
    """The last name of what is called without being followed, in small letters."""
    if type(callee) is Data and callee.op.startswith("."):
        return callee.op[1:].lower()
    if type(callee) is Data and callee.op == "name" and type(callee.inputs[-1]) is Const:
        return str(callee.inputs[-1].value).lower()
    return str(getattr(callee, "path", "")).rsplit(".", 1)[-1].lower()


def _closure(start: Iterable[str], following: Mapping_[str, Iterable[str]]) -> set[str]:
    """All that can be reached, the start included."""
    seen: set[str] = set()
    queue = list(start)
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            queue.extend(following.get(name, ()))
    return seen
