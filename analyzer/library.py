"""Calls into libraries: builtins that the interpreter understands, and families of calls by their path."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import access, previews
from .knowledge import libraries, losses, modules, splitting, tensors, training, vision
from .state import DYNAMIC, ESCAPED, ITEMS, MODE
from .values import (
    UNKNOWN,
    Class,
    Const,
    Data,
    Function,
    Library,
    Mapping,
    Obj,
    Scalar,
    Sequence,
    Value,
    alternatives,
    constant,
)

if TYPE_CHECKING:
    from .expressions import Arguments
    from .interpret import Interpreter

_MADE = training.NO_GRAD | training.ENABLE_GRAD | training.AUTOCASTS
"""Contexts whose class has a small initial."""
_SHORT = ("torch.nn.functional.", "torch.special.", "torch.linalg.", "torch.fft.", "torch.", "numpy.", "einops.")


def operation(path: str) -> str:
    """The short name of a library function: ``torch.softmax`` -> ``softmax``; others keep their path."""
    for prefix in _SHORT:
        if path.startswith(prefix):
            rest = path[len(prefix) :]
            if "." not in rest or rest.startswith("random."):
                return rest
    return path


def name_arguments(run: Interpreter, path: str, args: Arguments) -> tuple[tuple[str, Value], ...]:
    """A call's arguments by parameter name, lists and dicts as they are at this moment."""
    names = training.SIGNATURES.get(path, ())
    first = next((name for prefix, name in training.FIRST_PARAMETER if path.startswith(prefix)), None)
    out = []
    position = 0
    for keyword, value in args:
        if keyword is None:
            name = names[position] if position < len(names) else first if position == 0 and first else str(position)
            position += 1
        else:
            name = keyword
        out.append((name, access.frozen(run, value)))
    return tuple(out)


def call_library(run: Interpreter, path: str, args: Arguments, site: Site) -> Value:
    """Call a library's function or class."""
    handler = _HANDLERS.get(path)
    if handler is not None:
        return handler(run, args, site)
    loss = losses.BY_FUNCTION.get(path)
    if loss is not None:
        return _functional_loss(run, loss, path, args, site)
    positional = [v for k, v in args if k is None]
    if path in training.CLIPPERS:
        if positional:
            run.emit("clip", positional[0], site, inputs=tuple(positional))
        return run.space.data("clip", site, tuple(positional[:1]))
    if path in modules.WRAPPERS:
        wrapped = positional[0] if positional else dict(args).get("module", UNKNOWN)
        run.emit("wrap", wrapped, site, inputs=(run.space.library(path),))
        return wrapped
    if path in training.VARIABLES and positional and constant(dict(args).get("volatile")) is True:
        return run.space.data("volatile", site, (positional[0],))
    if path == "sorted" and run.collating and positional:
        return run.space.data("sorted", site, (access.frozen(run, positional[0]),))
    if path in training.SAME and positional:
        return positional[0]
    if path in tensors.CONSTRUCTORS:
        return run.space.data("as_tensor", site, tuple(access.frozen(run, v) for v in positional))
    if path in training.SAVERS and args:
        run.emit("save", args[0][1], site)
    if path in splitting.SEEDS:
        run.emit("seed", run.space.library(path), site)
    name = path.rpartition(".")[2]
    if name[:1].isupper() or modules.is_module_factory(path) or path in _MADE:
        return _construct(run, path, args, site)
    if training.is_scheduler(path):
        return _construct(run, path, args, site)
    if path.endswith(".__init__"):
        run.notes.initialised.update(positional[:1])
    if not libraries.pure(path):
        return _unseen(run, path, args, site)
    result = run.space.data(
        operation(path),
        site,
        inputs_of(run, args),
        tuple((k, access.frozen(run, v)) for k, v in args if k is not None and k != "*"),
    )
    asks_mode = name in modules.TRAIN_DEPENDENT_FUNCTIONS and run.running
    if asks_mode or path in modules.CONSTANT_INITIALISERS or result.op in tensors.SPREADS:
        run.notes.operation(result)
    if name in splitting.PERMUTATIONS or path == "sklearn.utils.shuffle":
        run.emit("draw", result, site)
    if positional and constant(dict(args).get("inplace")) is True:
        run.edit(positional[0], site, (), result)
    return result


def inputs_of(run: Interpreter, args: Arguments) -> tuple[Value, ...]:
    """The positional arguments; ``star(x)`` stands for as many as ``*x`` spreads."""
    spread = run.space.data
    return tuple(
        access.frozen(run, v) if k is None else spread("star", None, (access.frozen(run, v),))
        for k, v in args
        if k is None or k == "*"
    )


def _unseen(run: Interpreter, path: str, args: Arguments, site: Site) -> Value:
    for _, value in args:
        run.escape(value, site)
    run.touched = True
    return run.space.data("call", site, (run.space.library(path), *(access.frozen(run, v) for _, v in args)))


def _construct(run: Interpreter, path: str, args: Arguments, site: Site) -> Value:
    """An instance of a library class."""
    if not libraries.pure(path):
        return _unseen(run, path, args, site)
    made = run.space.obj(path, site, run.context, name_arguments(run, path, args))
    run.made(made)
    for _, value in made.arguments:
        run.kept.update(v for v in _members(value) if type(v) is Obj)
    if access.is_module_object(made):
        run.state.set_attribute(made, MODE, run.space.true)
    if run.state.get(made, ESCAPED) is not None:
        run.state.set(made, ESCAPED, None)
    if path in modules.CONTAINERS:
        run.state.set_attribute(made, ITEMS, container_items(run, path, args))
    if path == training.LOADER:
        _collate(run, made, site)
        previews.look_at_samples(run, made)
    elif path in vision.CALLED:
        previews.look_at_callback(run, made)
    return made


def _collate(run: Interpreter, loader: Obj, site: Site) -> None:
    """Run a loader's collate function on a list of samples, to see what a batch is made of."""
    function = loader.argument("collate_fn")
    known = type(function) is Function or (type(function) is Obj and isinstance(function.cls, Class))
    if not known or loader in run.notes.collated or function is None:
        return
    samples = run.space.data("samples", site, (loader,))
    outer, run.block = (run.block, run.touched, run.dead), []
    run.collating = True
    run.notes.collated[loader] = access.frozen(run, run.call(function, ((None, samples),), site))
    run.collating = False
    run.block, run.touched, run.dead = outer


def _members(value: Value) -> list[Value]:
    if type(value) is Sequence:
        return [m for item in value.items for m in _members(item)]
    return list(alternatives(value))


def container_items(run: Interpreter, path: str, args: Arguments) -> Value:
    """What a module container holds after its constructor."""
    positional = [v for k, v in args if k is None]
    hidden = any(k in ("*", "**") for k, _ in args)
    if path == "torch.nn.Sequential" and not (len(positional) == 1 and _is_mapping(run, positional[0])):
        taken = [m for k, v in args if k == "*" if (m := _taken_from(v)) is not None]
        return run.space.sequence([*positional, *taken], hidden)
    if not positional:
        return run.space.sequence((), hidden)
    held = access.contents(run, positional[0])
    if type(held) is Mapping:
        return run.space.sequence([v for _, v in held.items], held.open)
    if held is not None:
        return held
    return run.space.sequence((access.element(run, positional[0], Site("", 0)),), True)


def _taken_from(value: Value) -> Value | None:
    """The module whose children are spread: ``*list(resnet.children())[:-1]`` stands for the layers of ``resnet``."""
    while type(value) is Data and value.op in ("[]", "children", "modules", "values") and value.inputs:
        value = value.inputs[0]
    return value if access.is_module_object(value) else None


def _is_mapping(run: Interpreter, value: Value) -> bool:
    return type(access.contents(run, value)) is Mapping


def _functional_loss(run: Interpreter, loss: losses.Loss, path: str, args: Arguments, site: Site) -> Value:
    inputs = tuple(access.frozen(run, v) for k, v in args if k is None)
    options = tuple((k, access.frozen(run, v)) for k, v in args if k is not None)
    result = run.space.data("loss:" + loss.function, site, inputs, options)
    run.emit("loss", run.space.library(path), site, inputs=inputs, result=result, intact=not run.undecided)
    return result


# ---------------------------------------------------------------------------- builtins and special functions


def _plain(op: str) -> Callable[[Interpreter, Arguments, Site], Value]:
    def handler(run: Interpreter, args: Arguments, site: Site) -> Value:
        return run.space.data(op, site, tuple(access.frozen(run, v) for _, v in args))

    return handler


def _isinstance(run: Interpreter, args: Arguments, site: Site) -> Value:
    if len(args) == 2:
        answers = {_is_instance(v, args[1][1]) for v in alternatives(args[0][1])}
        if len(answers) == 1 and None not in answers:
            return run.space.const(answers.pop())
    return run.space.data("isinstance", None, tuple(v for _, v in args))


def _is_instance(value: Value, cls: Value) -> bool | None:
    options = cls.items if type(cls) is Sequence else (cls,)
    if type(value) is not Obj:
        return None
    answers = {_is_one(value, option) for option in options}
    return True if True in answers else None if None in answers else False


def _is_one(value: Obj, cls: Value) -> bool | None:
    if isinstance(value.cls, Class):
        if type(cls) is Class:
            return True if cls in tuple(value.cls.ancestors()) else None if value.cls.open else False
        if type(cls) is Library and cls.path in value.cls.library_bases:
            return True
        return None
    if type(cls) is Library:
        if cls.path == value.cls:
            return True
        both_torch = cls.path.startswith("torch.nn.") and value.cls.startswith("torch.nn.")
        # torch.nn's concrete classes do not inherit from one another, but for Module and its containers.
        return False if both_torch and cls.path != "torch.nn.Module" else None
    return False if type(cls) is Class else None


def _getattr(run: Interpreter, args: Arguments, site: Site) -> Value:
    if len(args) >= 2 and type(args[1][1]) is Const and isinstance(args[1][1].value, str):
        return access.attribute(run, args[0][1], args[1][1].value, site)
    return run.space.data("getattr", site, tuple(v for _, v in args))


def _setattr(run: Interpreter, args: Arguments, site: Site) -> Value:
    if len(args) == 3:
        base, name, value = (v for _, v in args)
        if type(name) is Const and isinstance(name.value, str):
            access.write_attribute(run, base, name.value, value, site)
        else:
            register_dynamically(run, base, value)
    return run.space.none


def register_dynamically(run: Interpreter, base: Value, value: Value) -> None:
    """An attribute or child under a name that is not a literal."""
    for option in alternatives(base):
        run.state.module_changed()
        held = run.state.get(option, DYNAMIC)
        items = held.items if type(held) is Sequence else ()
        run.state.set_attribute(option, DYNAMIC, run.space.sequence((*items, value)[:64], True))


def _hasattr(run: Interpreter, args: Arguments, site: Site) -> Value:
    """True where the constructor has surely given the object a part of that name; else nobody knows."""
    values = tuple(access.frozen(run, v) for _, v in args)
    if len(args) == 2 and type(owner := args[0][1]) is Obj and type(name := args[1][1]) is Const:
        held = run.state.get(owner, str(name.value))
        if type(held) is Obj and not run.notes.optional(held, owner):
            return run.space.true
    return run.space.data("hasattr", site, values)


def _exec(run: Interpreter, args: Arguments, site: Site) -> Value:
    """Code in a string may do anything to what is in reach of its names."""
    frame = run.activation.frame
    for name in sorted(frame.local or ()) if frame is not None else ():
        run.escape(run.state.get(frame, name) or UNKNOWN, site)
    if frame is not None and frame.receiver is not None:
        run.escape(frame.receiver, site)
    return run.space.data("exec", site)


def _iter(run: Interpreter, args: Arguments, site: Site) -> Value:
    """``iter(loader)`` stands for what it goes over; that it begins anew here is an effect."""
    if not args:
        return UNKNOWN
    run.emit("iter", args[0][1], site)
    return args[0][1]


def _next(run: Interpreter, args: Arguments, site: Site) -> Value:
    if args:
        run.emit("next", args[0][1], site)
    return access.element(run, args[0][1], site) if args else UNKNOWN


def _range(run: Interpreter, args: Arguments, site: Site) -> Value:
    bounds = [v.value for _, v in args if type(v) is Const and isinstance(v.value, int)]
    if args and len(bounds) == len(args):
        numbers = range(*bounds)
        if len(numbers) <= 4:
            return run.space.sequence(run.space.const(n) for n in numbers)
    return run.space.data("range", site, tuple(v for _, v in args))


def _list(run: Interpreter, args: Arguments, site: Site) -> Value:
    if not args:
        return _fresh(run, "list", run.space.sequence(()), site)
    held = access.contents(run, args[0][1])
    if type(held) is Sequence:
        return _fresh(run, "list", held, site)
    if type(held) is Mapping:
        return _fresh(run, "list", run.space.sequence([run.space.const(k) for k, _ in held.items], held.open), site)
    return args[0][1]


def _deque(run: Interpreter, args: Arguments, site: Site) -> Value:
    """A list, but for one of bounded length: what it holds comes and goes."""
    if len(args) > 1 or any(keyword is not None for keyword, _ in args):
        return run.space.data(
            operation("collections.deque"), site, inputs_of(run, args), tuple((k, v) for k, v in args if k)
        )
    return _list(run, args, site)


def _tuple(run: Interpreter, args: Arguments, site: Site) -> Value:
    if not args:
        return run.space.empty
    held = access.contents(run, args[0][1])
    return held if type(held) is Sequence else args[0][1]


def _fresh(run: Interpreter, cls: str, items: Value, site: Site) -> Value:
    made = run.space.obj(cls, site, run.context)
    run.state.set_attribute(made, ITEMS, items)
    return made


def _dict(run: Interpreter, args: Arguments, site: Site) -> Value:
    pairs: list[tuple[Scalar, Value]] = [(k, v) for k, v in args if k not in (None, "*", "**")]
    hidden = any(k in ("*", "**") for k, _ in args)
    for _, value in (a for a in args if a[0] is None):
        held = access.contents(run, value)
        if type(held) is Mapping:
            pairs = [*held.items, *pairs]
            hidden = hidden or held.open
        elif type(held) is Sequence and all(type(p) is Sequence and len(p.items) == 2 for p in held.items):
            rows = [p.items for p in held.items if type(p) is Sequence]
            pairs = [*((k.value, v) for k, v in rows if type(k) is Const), *pairs]
            hidden = hidden or held.open or any(type(k) is not Const for k, _ in rows)
        else:
            hidden = True
    return _fresh(run, "dict", run.space.mapping(pairs, hidden), site)


def _namespace(run: Interpreter, args: Arguments, site: Site) -> Value:
    made = run.space.obj("types.SimpleNamespace", site, run.context)
    for key, value in args:
        if key not in (None, "*", "**"):
            run.state.set_attribute(made, str(key), value)
    return made


def _map(run: Interpreter, args: Arguments, site: Site) -> Value:
    values = [v for _, v in args]
    if len(values) < 2:
        return UNKNOWN
    element = run.call(values[0], tuple((None, access.element(run, v, site)) for v in values[1:]), site)
    return run.space.sequence((element,), True)


def _filter(run: Interpreter, args: Arguments, site: Site) -> Value:
    return run.space.data("filter", site, tuple(v for _, v in args[-1:]))


def _chain(run: Interpreter, args: Arguments, site: Site) -> Value:
    return run.space.data("chain", site, tuple(access.frozen(run, v) for _, v in args))


def _deepcopy(run: Interpreter, args: Arguments, site: Site) -> Value:
    value = args[0][1] if args else UNKNOWN
    if type(value) is Data and value.op == "state_dict":
        run.emit("save", value, site)
    held = access.contents(run, value)
    if type(value) is Obj and value.cls in ("list", "dict") and held is not None:
        return _fresh(run, value.cls, _copies(run, held, site), site)
    return run.space.data("copy", site, (value,))


def _shallow_copy(run: Interpreter, args: Arguments, site: Site) -> Value:
    """``copy.copy``: a new container of the same things."""
    value = args[0][1] if args else UNKNOWN
    held = access.contents(run, value)
    if type(value) is Obj and value.cls in ("list", "dict") and held is not None:
        return _fresh(run, value.cls, held, site)
    return run.space.data("copy", site, (value,))


def _copies(run: Interpreter, held: Sequence | Mapping, site: Site) -> Sequence | Mapping:
    """What a deep copy of a container holds: copies of the states in it, everything else as it was."""

    def copied(value: Value) -> Value:
        if type(value) is Data and value.op == "state_dict":
            run.emit("save", value, site)
            return run.space.data("copy", site, (value,))
        return value

    if type(held) is Mapping:
        return run.space.mapping([(key, copied(value)) for key, value in held.items], held.open)
    assert isinstance(held, Sequence)
    return run.space.sequence([copied(value) for value in held.items], held.open)


def _partial(run: Interpreter, args: Arguments, site: Site) -> Value:
    positional = tuple(v for k, v in args if k is None)
    return run.space.data("partial", site, positional, tuple((k, v) for k, v in args if k is not None))


def _set_grad(run: Interpreter, args: Arguments, site: Site) -> Value:
    flag = args[0][1] if args else UNKNOWN
    run.grad = flag.value if type(flag) is Const and isinstance(flag.value, bool) else None
    return _construct(run, "torch.set_grad_enabled", args, site)


def _random_split(run: Interpreter, args: Arguments, site: Site) -> Value:
    """As many parts as lengths were given, each a ``part`` of the dataset; their number is kept in the index."""
    named = dict(name_arguments(run, "torch.utils.data.random_split", args))
    dataset, lengths = named.get("dataset", UNKNOWN), named.get("lengths")
    count = len(lengths.items) if type(lengths) is Sequence and not lengths.open else 0
    run.emit("split", dataset, site, inputs=(dataset,))
    parts = [run.space.data("part", site, (dataset, run.space.const(i))) for i in range(count)]
    return run.space.sequence(parts, count == 0)


def _train_test_split(run: Interpreter, args: Arguments, site: Site) -> Value:
    """Two parts for every array handed in."""
    arrays = [v for k, v in args if k is None]
    named = {"random_state": "seed", "shuffle": "shuffle"}
    given = tuple((named[k], v) for k, v in args if k in named)
    parts: list[Value] = []
    for array in arrays:
        run.emit("split", array, site, inputs=(array,))
        by = (("by", run.space.library("sklearn.model_selection.train_test_split")), *given)
        parts += [run.space.data("part", site, (access.frozen(run, array), run.space.const(i)), by) for i in (0, 1)]
    return run.space.sequence(parts)


def _type(run: Interpreter, args: Arguments, site: Site) -> Value:
    value = args[0][1] if len(args) == 1 else UNKNOWN
    if type(value) is Obj:
        return value.cls if isinstance(value.cls, Class) else run.space.library(value.cls)
    return run.space.data("type", None, tuple(v for _, v in args))


def _ignored(run: Interpreter, args: Arguments, site: Site) -> Value:
    return run.space.none


def _shuffle(run: Interpreter, args: Arguments, site: Site) -> Value:
    """In-place shuffling."""
    for _, value in args[:1]:
        for option in alternatives(value):
            run.emit("shuffle", option, site)
            run.emit("shuffle", access.frozen(run, option), site)
    return run.space.none


def _enumerate(run: Interpreter, args: Arguments, site: Site) -> Value:
    return run.space.data("enumerate", site, tuple(v for k, v in args if k is None)[:1])


def _autograd(run: Interpreter, args: Arguments, site: Site) -> Value:
    """``torch.autograd.backward(tensors)``."""
    if args:
        for value in access.exact_items(run, args[0][1]) or (args[0][1],):
            run.emit("backward", value, site, inputs=tuple(v for _, v in args[1:]))
    return run.space.none


def _save(run: Interpreter, args: Arguments, site: Site) -> Value:
    """``torch.save(what, where)``."""
    what = next((v for k, v in args if k in (None, "obj")), UNKNOWN)
    run.emit("save", access.frozen(run, what), site)
    return run.space.data("save", site, tuple(access.frozen(run, v) for _, v in args))


_HANDLERS: dict[str, Callable[[Interpreter, Arguments, Site], Value]] = {
    "torch.save": _save,
    "hasattr": _hasattr,
    "exec": _exec,
    "eval": _exec,
    "isinstance": _isinstance,
    "getattr": _getattr,
    "setattr": _setattr,
    "iter": _iter,
    "next": _next,
    "range": _range,
    "tqdm.trange": _range,
    "tqdm.auto.trange": _range,
    "list": _list,
    "tuple": _tuple,
    "set": _list,
    "collections.deque": _deque,
    "dict": _dict,
    "collections.OrderedDict": _dict,
    "types.SimpleNamespace": _namespace,
    "argparse.Namespace": _namespace,
    "enumerate": _enumerate,
    "zip": _plain("zip"),
    "itertools.chain": _chain,
    "map": _map,
    "filter": _filter,
    "len": _plain("len()"),
    "float": _plain("float()"),
    "int": _plain("int()"),
    "round": _plain("round()"),
    "str": _plain("str()"),
    "sum": _plain("sum"),
    "type": _type,
    "print": _ignored,
    "copy.deepcopy": _deepcopy,
    "copy.copy": _shallow_copy,
    "functools.partial": _partial,
    "torch.set_grad_enabled": _set_grad,
    "torch.utils.data.random_split": _random_split,
    "sklearn.model_selection.train_test_split": _train_test_split,
    "torch.autograd.backward": _autograd,
    "random.shuffle": _shuffle,
    "numpy.random.shuffle": _shuffle,
}
