"""Reading and writing parts of values: names, attributes, items, elements, truth."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import ir
from .knowledge import libraries, modules
from .scopes import Frame, ModuleScope
from .state import DYNAMIC, ESCAPED, ITEMS
from .values import (
    UNKNOWN,
    Class,
    Const,
    Data,
    Function,
    Library,
    Mapping,
    Module,
    Obj,
    Scalar,
    Sequence,
    Super,
    Union,
    Value,
    alternatives,
    is_none,
)

if TYPE_CHECKING:
    from .interpret import Interpreter

CLASS_BODY: frozenset[str] = frozenset(("<class body>",))
_BUILTINS = frozenset(dir(builtins))
MAX_EXACT = 32
MAX_NESTING = 6


def closure(frame: Frame) -> Frame:
    """The frame that functions defined in ``frame`` close over: class bodies are not seen by methods."""
    while frame.local is CLASS_BODY and frame.parent is not None:
        frame = frame.parent
    place: Frame | None = frame
    while place is not None and not place.captured:
        place.captured = True
        place = place.parent
    return frame


def read_name(run: Interpreter, name: str, frame: Frame) -> Value:
    """What a plain identifier means here."""
    cells = run.state.cells
    place: Frame | None = frame
    while place is not None:
        value = cells.get((place, name))
        if value is not None:
            return value
        place = place.parent
    if name == "__name__":
        return run.space.const("__main__")
    if name in _BUILTINS:
        return run.space.library(name)
    return run.space.data("name", None, (run.space.const(frame.module.filename), run.space.const(name)))


def write_name(run: Interpreter, name: str, value: Value, frame: Frame) -> None:
    """Bind a plain identifier."""
    place = frame
    if name in frame.outer:
        place = frame.module.frame
        outer: Frame | None = frame.parent
        while outer is not None:
            if (outer, name) in run.state.cells:
                place = outer
                break
            outer = outer.parent
    run.state.set(place, name, value)


def bind_import(run: Interpreter, binding: ir.Binding, level: int, frame: Frame) -> None:
    """Bind what one import names."""
    scope = run.resolve_import(frame.module, binding.module, level)
    if binding.attribute is None or binding.attribute == "":
        name = binding.name
        if binding.attribute == "" and "." in binding.module:
            scope = run.resolve_import(frame.module, binding.module.split(".")[0], level)
        if scope is not None:
            run.hoist(scope)
            run.state.set(frame, name, Module(scope))
        else:
            module = binding.module if binding.attribute is None else name
            run.state.set(frame, name, run.space.library(libraries.canonical(module)))
        return
    if binding.attribute == "*":
        _bind_star(run, scope, frame)
        return
    run.state.set(frame, binding.name, _imported(run, scope, binding, level, frame.module))


def _imported(
    run: Interpreter, scope: ModuleScope | None, binding: ir.Binding, level: int, importer: ModuleScope
) -> Value:
    attribute = binding.attribute or ""
    if scope is not None:
        run.hoist(scope)
        value = run.state.get(scope.frame, attribute)
        if value is not None:
            return value
    submodule = run.resolve_import(importer, f"{binding.module}.{attribute}".strip("."), level)
    if submodule is not None:
        run.hoist(submodule)
        return Module(submodule)
    if scope is not None or level:
        return run.space.data("name", None, (run.space.const(binding.module), run.space.const(attribute)))
    return run.space.library(libraries.canonical(f"{binding.module}.{attribute}"))


def _bind_star(run: Interpreter, scope: ModuleScope | None, frame: Frame) -> None:
    if scope is None:
        return
    run.hoist(scope)
    for name in sorted(scope.ir.words | scope.starred):
        if not name.startswith("_") and (value := run.state.get(scope.frame, name)) is not None:
            run.state.set(frame, name, value)
            frame.module.starred.add(name)


# ---------------------------------------------------------------------------- attributes


def attribute(run: Interpreter, base: Value, name: str, site: Site) -> Value:
    """``base.name``."""
    if type(base) is Union:
        present = [v for v in base.alternatives if not is_none(v)]
        return run.space.join_all(attribute(run, v, name, site) for v in present)
    held = run.state.cells.get((base, name))
    if held is not None:
        run.notes.read.add((base, name))
        return held
    if type(base) is Library:
        return run.space.library(libraries.canonical(f"{base.path}.{name}"))
    if type(base) is Obj:
        return _object_attribute(run, base, name, site)
    if type(base) is Class:
        return _class_attribute(run, base, name)
    if type(base) is Module:
        return _module_attribute(run, base, name)
    if type(base) is Super:
        return _super_attribute(run, base, name)
    return run.space.data("." + name, None, (base,))


def _object_attribute(run: Interpreter, obj: Obj, name: str, site: Site) -> Value:
    if isinstance(obj.cls, Class):
        found = obj.cls.find(name)
        if found is not None:
            # An assignment to the class after its body counts.
            return bind(run, run.state.get(found[0], name) or found[1], obj, site)
    if name == "module" and is_module_object(obj):
        # What DataParallel and its like wrap: a wrapped module and the module itself are one object here.
        return obj
    if isinstance(obj.cls, str) and (given := obj.argument(name)) is not None and run.state.get(obj, ESCAPED) is None:
        return given
    return run.space.data("." + name, None, (obj,))


def bind(run: Interpreter, value: Value, receiver: Value, site: Site) -> Value:
    """What a class attribute is when it is read from an instance."""
    if type(value) is not Function or value.receiver is not None:
        return value
    kinds = {d.id for d in value.definition.decorators if type(d) is ir.Name}
    if "staticmethod" in kinds:
        return value
    bound = run.space.function(value.definition, value.frame, value.owner, receiver)
    if "property" in kinds or any(
        type(d) in (ir.Name, ir.Attribute) and _last(d) in ("cached_property", "lazy_property", "lazyproperty")
        for d in value.definition.decorators
    ):
        return run.call(bound, (), site)
    return bound


def _last(expr: ir.Expr) -> str:
    return expr.name if type(expr) is ir.Attribute else expr.id if type(expr) is ir.Name else ""


def _class_attribute(run: Interpreter, cls: Class, name: str) -> Value:
    found = cls.find(name)
    if found is None:
        return run.space.data("." + name, None, (cls,))
    value = found[1]
    if type(value) is Function and any(
        type(d) is ir.Name and d.id == "classmethod" for d in value.definition.decorators
    ):
        return run.space.function(value.definition, value.frame, value.owner, cls)
    return value


def _module_attribute(run: Interpreter, module: Module, name: str) -> Value:
    scope = module.scope
    run.hoist(scope)
    value = run.state.get(scope.frame, name)
    if value is not None:
        return value
    submodule = run.resolve_import(scope, name, 1)
    if submodule is not None:
        run.hoist(submodule)
        return Module(submodule)
    return run.space.data("." + name, None, (run.space.const(scope.filename),))


def _super_attribute(run: Interpreter, base: Super, name: str) -> Value:
    receiver_class = base.receiver.cls if type(base.receiver) is Obj else None
    lineage = receiver_class.lineage if isinstance(receiver_class, Class) else base.cls.lineage
    if base.cls not in lineage:
        lineage = base.cls.lineage
    for cls in lineage[lineage.index(base.cls) + 1 :]:
        if isinstance(cls, Library):
            if name == "__init__" and modules.is_module_class(cls.path):
                break  # its constructor calls no other one
        elif name in cls.attributes:
            value = cls.attributes[name]
            if type(value) is Function:
                return run.space.function(value.definition, value.frame, value.owner, base.receiver)
            return value
    return run.space.data("super." + name, None, (base.receiver,))


def write_attribute(run: Interpreter, base: Value, name: str, value: Value, site: Site) -> None:
    """``base.name = value``."""
    options = alternatives(base)
    for option in options:
        if name == "grad":
            # Whatever is assigned takes the place of what had added up.
            run.emit("zero_grad", option, site, inputs=() if is_none(value) else (value,))
            if is_none(value):
                continue
        if option is UNKNOWN or isinstance(option, (Const, Library)):
            continue
        if name == "requires_grad":
            run.emit("freeze", option, site, inputs=(value,))
        if len(options) > 1 and (old := run.state.get(option, name)) is not None:
            value = run.space.join(old, value)
        if type(option) is Obj and isinstance(option.cls, Class):
            _note_premature(run, option, name, value, site)
        run.assigned.setdefault((option, name), site)
        before = run.state.get(option, name)
        run.state.set_attribute(option, name, value)
        if is_module_object(option):
            run.state.module_changed()
            if is_module_object(value) and option not in run.building and value is not before:
                run.emit("attach", option, site, inputs=(run.space.const(name), value))


def _note_premature(run: Interpreter, obj: Obj, name: str, value: Value, site: Site) -> None:
    """A layer or parameter is given to a module whose own constructor has not been run."""
    if obj in run.notes.initialised or run.state.get(obj, ESCAPED) is not None or not is_module_object(obj):
        return
    parts = alternatives(value)
    if all(is_module_object(v) or (type(v) is Obj and v.cls == "torch.nn.Parameter") for v in parts):
        run.notes.premature.setdefault(obj, (name, site))


# ---------------------------------------------------------------------------- items and elements


def contents(run: Interpreter, value: Value) -> Sequence | Mapping | None:
    """What a container holds just now."""
    if type(value) is Sequence or type(value) is Mapping:
        return value
    if type(value) is Obj:
        held = run.state.get(value, ITEMS)
        if type(held) is Sequence or type(held) is Mapping:
            return held
    return None


def frozen(run: Interpreter, value: Value, depth: int = 0) -> Value:
    """The value with lists and dicts replaced by what they hold just now (a list may hold itself: to some depth)."""
    if depth > MAX_NESTING:
        return value
    if type(value) is Union:
        return run.space.join_all(frozen(run, v, depth + 1) for v in value.alternatives)
    if type(value) is Obj and value.cls in ("list", "dict", "set"):
        held = contents(run, value)
        if held is not None:
            value = held
    if type(value) is Sequence:
        items = tuple(frozen(run, v, depth + 1) for v in value.items)
        return value if items == value.items else run.space.sequence(items, value.open)
    if type(value) is Mapping:
        return run.space.mapping([(k, frozen(run, v, depth + 1)) for k, v in value.items], value.open)
    return value


def item(run: Interpreter, base: Value, index: Value) -> Value:
    """``base[index]``."""
    if type(base) is Union:
        return run.space.join_all(item(run, v, index) for v in base.alternatives if not is_none(v))
    held = contents(run, base)
    if type(index) is Data and index.op == "[:]":
        return _slice(run, base, held, index)
    if held is not None and type(index) is Const:
        found = _known_item(held, index.value)
        if found is not None:
            return found
    if held is not None and type(index) is not Const:
        values = members(held)
        if values and not held.open:
            return run.space.join_all(values)
        if len(values) == 1:
            return values[0]
    if type(index) is Const and (stored := run.state.get(base, f"[{index.value!r}]")) is not None:
        return stored
    return run.space.data("[]", None, (base, frozen(run, index)))


def members(held: Sequence | Mapping) -> tuple[Value, ...]:
    """The items of a sequence, the values of a mapping."""
    return held.items if isinstance(held, Sequence) else tuple(value for _, value in held.items)


def _slice(run: Interpreter, base: Value, held: Sequence | Mapping | None, index: Data) -> Value:
    """A slice of a list or tuple with literal bounds is known; of anything else it is a value of its own."""
    bounds = [v.value for v in index.inputs if type(v) is Const and (v.value is None or type(v.value) is int)]
    if type(held) is Sequence and len(bounds) == 3 and not is_module_object(base):
        lower, upper, step = (b if isinstance(b, int) else None for b in bounds)
        everything = lower is None and upper is None and step in (None, 1, -1)
        if step != 0 and (everything or not held.open):
            return run.space.sequence(held.items[lower:upper:step], held.open)
    return run.space.data("[]", None, (base, index))


def _known_item(held: Sequence | Mapping, index: Scalar) -> Value | None:
    if type(held) is Mapping:
        return held.get(index)
    if isinstance(index, int) and not isinstance(index, bool) and type(held) is Sequence:
        if not held.open and -len(held.items) <= index < len(held.items):
            return held.items[index]
        if held.open and len(held.items) == 1:
            return held.items[0]
    return None


def write_item(run: Interpreter, base: Value, index: Value, value: Value, site: Site) -> None:
    """``base[index] = value``."""
    options = alternatives(base)
    for option in options:
        held = contents(run, option)
        if type(held) is Mapping and type(index) is not Const:
            # Whichever key it is: each value may be this one from here on.
            held = run.space.mapping([(k, run.space.join(v, value)) for k, v in held.items], held.open)
        if is_module_object(value) and (is_module_object(option) or type(option) is Data):
            run.emit("attach", option, site, inputs=(index, value))
        if type(option) is not Obj or held is None:
            if type(option) is Data:
                run.uses.setdefault(option, set()).add("__setitem__")
                if type(index) is Const:
                    run.state.set_attribute(option, f"[{index.value!r}]", value)
            continue
        new: Value
        if type(held) is Mapping:
            if type(index) is Const:
                new = run.space.mapping([*held.items, (index.value, value)], held.open)
            else:
                new = run.space.mapping(held.items, True)
        else:
            assert isinstance(held, Sequence)
            at = index.value if type(index) is Const else None
            if type(at) is int and not held.open and -len(held.items) <= at < len(held.items):
                at %= len(held.items)
                new = run.space.sequence((*held.items[:at], value, *held.items[at + 1 :]))
            else:
                new = run.space.sequence((*held.items, value)[-64:], True)
        run.state.set(option, ITEMS, new)


def delete_item(run: Interpreter, base: Value, index: Value) -> None:
    """``del base[index]``."""
    held = contents(run, base)
    if type(base) is not Obj or held is None:
        return
    if type(held) is Mapping and type(index) is Const:
        left = [(k, v) for k, v in held.items if k != index.value]
        run.state.set(base, ITEMS, run.space.mapping(left, held.open))
    elif type(held) is Mapping:
        run.state.set(base, ITEMS, run.space.mapping(held.items, True))
    elif type(held) is Sequence:
        run.state.set(base, ITEMS, run.space.sequence(held.items, True))


def exact_items(run: Interpreter, iterable: Value) -> tuple[Value, ...] | None:
    """All the elements in order, where they are known."""
    held = contents(run, iterable)
    if type(held) is Sequence and not held.open and len(held.items) <= MAX_EXACT:
        return held.items
    if type(held) is Mapping and not held.open and len(held.items) <= MAX_EXACT:
        return tuple(run.space.const(k) for k, _ in held.items)
    if type(iterable) is Data and iterable.op in ("enumerate", "zip"):
        return _exact_pairs(run, iterable)
    return None


def _exact_pairs(run: Interpreter, iterable: Data) -> tuple[Value, ...] | None:
    columns = [exact_items(run, v) for v in iterable.inputs]
    if not columns or any(column is None for column in columns):
        return None
    if iterable.op == "enumerate":
        return tuple(run.space.sequence((run.space.const(i), v)) for i, v in enumerate(columns[0] or ()))
    return tuple(run.space.sequence(row) for row in zip(*(c or () for c in columns), strict=False))


def element(run: Interpreter, iterable: Value, site: Site) -> Value:
    """Any one element of an iterable."""
    if type(iterable) is Union:
        return run.space.join_all(element(run, v, site) for v in iterable.alternatives if not is_none(v))
    held = contents(run, iterable)
    if held is not None:
        if isinstance(held, Mapping):
            return run.space.join_all(run.space.const(k) for k, _ in held.items)
        return run.space.join_all(held.items)
    if type(iterable) is Data:
        if iterable.op == "enumerate" and iterable.inputs:
            index = run.space.data("index", site, ())
            return run.space.sequence((index, element(run, iterable.inputs[0], site)))
        if iterable.op == "zip":
            return run.space.sequence(element(run, v, site) for v in iterable.inputs)
        if iterable.op == "range":
            index = run.space.data("index", site, ())
            run.ranges.setdefault(index, iterable)
            return index
        if iterable.op == "generator" and iterable.inputs:
            return iterable.inputs[0]
    return run.space.data("element", None, (iterable,))


def truth(run: Interpreter, value: Value) -> bool | None:
    """Whether a condition is known to hold."""
    if type(value) is Const:
        return bool(value.value)
    if isinstance(value, (Function, Class, Library, Module)):
        return True
    if isinstance(value, (Sequence, Mapping)):
        return bool(value.items) if value.items or not value.open else None
    if type(value) is Obj:
        if value.cls in ("list", "dict", "set"):
            held = contents(run, value)
            return truth(run, held) if held is not None else None
        return True
    if type(value) is Union:
        answers = {truth(run, v) for v in value.alternatives}
        return answers.pop() if len(answers) == 1 else None
    return None


# ---------------------------------------------------------------------------- what an object is


def is_module_object(value: Value) -> bool:
    """Whether the value is an ``nn.Module`` made by the project or a known library."""
    if type(value) is not Obj:
        return False
    if isinstance(value.cls, Class):
        return any(modules.is_module_class(base) for base in value.cls.library_bases)
    return modules.is_module_class(value.cls) or modules.is_module_factory(value.cls)


def children(run: Interpreter, module: Value) -> list[tuple[str, Value]]:
    """Registered sub-modules by name, as far as they are known."""
    out: list[tuple[str, Value]] = []
    for name in run.state.attributes.get(module, ()):
        held = run.state.get(module, name)
        if held is None:
            continue
        if name in (ITEMS, DYNAMIC):
            inside = members(held) if isinstance(held, (Sequence, Mapping)) else ()
            out += [(str(i), v) for i, v in enumerate(inside) if is_module_object(v)]
        elif not name.startswith("$"):
            out += [(name, v) for v in alternatives(held) if is_module_object(v)]
    return out


def is_entity(value: Value) -> bool:
    """Whether an opaque value is a thing with an identity (a parameter, its attribute) rather than a result."""
    while type(value) is Data:
        if value.op in ("param", "name"):
            return True
        if value.op == "[]" or value.op.startswith("."):
            value = value.inputs[0]
            continue
        return False
    return type(value) in (Obj, Module)
