"""The interpreter: what small programs leave behind, asked of the state and of the Program."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import pytest

from nnaudit.analyzer import access, values
from nnaudit.analyzer import effects as fx
from nnaudit.analyzer.effects import Effect
from nnaudit.analyzer.link import Files, Linker
from nnaudit.analyzer.lower import lower
from nnaudit.analyzer.options import usual
from nnaudit.analyzer.program import Program
from nnaudit.analyzer.state import ESCAPED, MODE
from nnaudit.analyzer.values import UNKNOWN, Const, Data, Obj, Sequence, Union, Value

TRIGGERS = ("backward", "loss", "step", "train", "eval")

MODEL = """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.drop(self.first(x)))

model = Net()
"""


class Ran:
    """A project after interpretation; questions are about the module ``train``."""

    def __init__(self, train: str, others: Mapping[str, str] | None = None) -> None:
        texts = {"/p/" + name: textwrap.dedent(text) for name, text in {"train.py": train, **(others or {})}.items()}
        irs = {path: lower(text, path.removeprefix("/p/")) for path, text in texts.items()}
        linker = Linker(Files("/p", texts), irs, TRIGGERS)
        self.run = linker.run()
        assert linker.problems == []
        self.program = Program(self.run)
        self.frame = linker.scopes["/p/train.py"].frame

    def __getitem__(self, name: str) -> Value:
        """What a variable, or an attribute of one (``model.head``), holds at the end."""
        head, *rest = name.split(".")
        value = self.run.state.get(self.frame, head)
        for attribute in rest:
            assert value is not None
            value = self.run.state.get(value, attribute)
        assert value is not None, f"{name} is not bound"
        return value

    def shown(self, name: str) -> str:
        """The value in words; of alternatives the order is no promise."""
        return shown(access.frozen(self.run, self[name]))

    def mode(self, name: str) -> bool | None:
        """Whether a module trains at the end; None where that is unknown."""
        cell = self.run.state.get(self[name], MODE)
        return cell.value if isinstance(cell, Const) and isinstance(cell.value, bool) else None

    def escaped(self, name: str) -> bool:
        """Whether unseen code had hold of a thing."""
        return self.run.state.get(self[name], ESCAPED) is not None

    def activation(self, name: str) -> str | None:
        """What kind of numbers a variable holds."""
        found = self.program.activation(self[name])
        return found.kind if found else None

    def effects(self, kind: str, root: str = "<module>") -> list[Effect]:
        """Effects of a kind in a root of ``train``, in order."""
        return [e for e, r in self.program.effects(kind) if (r.filename, r.name) == ("train.py", root)]

    def owners(self, name: str) -> tuple[set[str], bool]:
        """Which variables' parameters an optimizer has, and whether these are all that it has."""
        owners, complete = self.program.optimizer_owners(self[name])
        cells = self.run.state.cells.items()
        return {str(key[1]) for key, value in cells if key[0] is self.frame and value in owners}, complete


def shown(value: Value) -> str:
    if isinstance(value, Union):
        return " | ".join(sorted(shown(v) for v in value.alternatives))
    if isinstance(value, Sequence):
        return "(" + ", ".join([*map(shown, value.items), *["..."][: value.open]]) + ")"
    if isinstance(value, values.Mapping):
        return "{" + ", ".join([*(f"{k}: {shown(v)}" for k, v in value.items), *["..."][: value.open]]) + "}"
    return repr(value)


def x_of(program: str) -> str:
    return Ran(program).shown("x")


def cases(**programs: tuple[str, str]) -> pytest.MarkDecorator:
    """Programs by name, each with what ``x`` is at its end."""
    return pytest.mark.parametrize(("program", "expected"), programs.values(), ids=programs.keys())


# ---------------------------------------------------------------------------- kinds of numbers


@pytest.mark.parametrize(
    "program",
    [
        "y = torch.softmax(model(x), 1)",
        "y = F.softmax(model(x), dim=1)",
        "y = model(x).softmax(1)",
        "y = nn.Softmax(1)(model(x))",
        "y = nn.Sequential(model, nn.Softmax(1))(x)",
        "y = nn.Sequential(nn.Linear(4, 2), nn.Sequential(nn.Softmax(dim=1)))(x)",
        "y = model(x)\ny = F.softmax(y, 1)",
        "y = model(x).softmax(1).view(-1, 2)",
        "a, y = 1, torch.softmax(model(x), 1)",
        "y, z = (lambda v: (v.softmax(1), v))(model(x))",
    ],
)
def test_softmax_however_it_is_written(program: str) -> None:
    assert Ran(MODEL + "x = torch.randn(2, 4)\n" + program).activation("y") == "probabilities"


def test_scores_of_a_plain_model() -> None:
    assert Ran(MODEL + "y = model(torch.randn(2, 4))").activation("y") == "unnormalised scores"


def test_activation_through_a_model_in_another_file() -> None:
    ran = Ran(
        "from models import build\nmodel = build(2)\ny = model(1)",
        {
            "models/__init__.py": "from .net import Net\ndef build(n):\n    return Net(n)",
            "models/net.py": """
            from torch import nn
            class Net(nn.Module):
                def __init__(self, n):
                    super().__init__()
                    self.body = nn.Linear(4, n)
                    self.act = nn.Softmax(dim=1)
                def forward(self, x):
                    x = self.body(x)
                    return self.act(x)
            """,
        },
    )
    assert ran.activation("y") == "probabilities"
    found = ran.program.activation(ran["y"])
    assert found is not None
    assert found.site is not None
    assert found.site.file == "models/net.py"


def test_activation_through_inheritance() -> None:
    """``forward`` and ``head`` come from the parent, the activation from the child."""
    ran = Ran(
        MODEL
        + """
class Child(Net):
    def __init__(self):
        super().__init__()
        self.last = nn.Sequential(nn.Linear(4, 2), nn.Sigmoid())
class Grandchild(Child):
    def forward(self, x):
        return super().forward(x).squeeze(1)
y, z = Child()(1), Grandchild()(1)
"""
    )
    assert ran.activation("y") == ran.activation("z") == "sigmoid outputs"


@pytest.mark.parametrize("changed", ["model.last = nn.Softmax(1)", "setattr(model, 'last', nn.Softmax(1))"])
def test_a_layer_replaced_afterwards_counts(changed: str) -> None:
    assert Ran(MODEL + "a = model(1)\n" + changed + "\ny = model(1)").activation("y") == "probabilities"


def test_the_pass_before_a_layer_was_replaced_keeps_what_it_was() -> None:
    ran = Ran(MODEL + "y = model(1)\nmodel.last = nn.Softmax(1)\nz = model(1)")
    assert ran.activation("y") == "unnormalised scores"


def test_alternatives_that_differ_have_no_kind() -> None:
    ran = Ran(MODEL + "y = model(1)\nz = y\nif flag:\n    y = y.softmax(1)\n    z = z + 1")
    assert ran.activation("y") is None
    assert ran.activation("z") == "unnormalised scores"


def test_unseen_code_may_change_the_kind() -> None:
    assert Ran(MODEL + "from somewhere import go\ny = model(1)\ngo(y)").activation("y") is None
    assert Ran(MODEL + "y = model(1)\nprint(y)").activation("y") == "unnormalised scores"


# ---------------------------------------------------------------------------- training mode


@pytest.mark.parametrize(
    ("program", "mode"),
    [
        ("", True),
        ("model.eval()", False),
        ("model.train(False)", False),
        ("model.train(mode=False)", False),
        ("model.eval()\nmodel.train()", True),
        ("model = model.eval()", False),
        ("def quiet(m):\n    m.eval()\nquiet(model)", False),
        ("def quiet(m):\n    quieter(m)\ndef quieter(m):\n    m.train(False)\nquiet(model)", False),
        ("if flag:\n    model.eval()", None),
        ("if flag:\n    model.eval()\nelse:\n    model.train(False)", False),
        ("model.train(flag)", None),
        ("for _ in range(100):\n    model.train()\n    model.eval()", None),
        ("for _ in range(2):\n    model.train()\n    model.eval()", False),
        ("for phase in ['train', 'val']:\n    model.train(phase == 'train')", False),
        ("for phase in ['val', 'train']:\n    model.train(phase == 'train')", True),
        ("model.eval()\ntry:\n    go()\nfinally:\n    model.train()", True),
        ("wrapped = nn.DataParallel(model)\nwrapped.eval()", False),
        ("outer = nn.Sequential(model)\nouter.eval()", False),
        ("mystery(model)", None),
        ("model.eval()\nmystery(model)", None),
        ("model.eval()\nmystery(1)", False),
        ("def quiet(*parts):\n    for part in parts:\n        part.eval()\nquiet(model)", False),
        ("[m.eval() for m in (model,)]", False),
    ],
)
def test_mode(program: str, mode: bool | None) -> None:
    assert Ran(MODEL + program).mode("model") is mode


def test_mode_reaches_the_parts_of_a_model() -> None:
    ran = Ran(MODEL + "model.eval()\nmodel.first.train()")
    assert (ran.mode("model"), ran.mode("model.drop"), ran.mode("model.first")) == (False, False, True)


def test_mode_after_a_context_manager_that_restores_it() -> None:
    """A generator stops in the middle: nobody claims that the model is still in evaluation mode."""
    ran = Ran(
        MODEL
        + """
from contextlib import contextmanager
@contextmanager
def evaluating(m):
    m.eval()
    yield
    m.train()
with evaluating(model):
    inside = model(1)
outside = model(1)
"""
    )
    assert ran.mode("model") is None
    assert [e.mode for e in ran.effects("forward")] == [None, None]


def test_mode_through_a_context_manager_class() -> None:
    ran = Ran(
        MODEL
        + """
class Evaluating:
    def __init__(self, m): self.m = m
    def __enter__(self): self.m.eval()
    def __exit__(self, *exc): self.m.train()
with Evaluating(model):
    inside = model(1)
outside = model(1)
"""
    )
    assert [e.mode for e in ran.effects("forward")] == [False, True]


def test_phases_are_unrolled_exactly() -> None:
    ran = Ran(
        MODEL
        + """
for phase in ["train", "val"]:
    if phase == "train":
        model.train()
    else:
        model.eval()
    with torch.set_grad_enabled(phase == "train"):
        y = model(1)
"""
    )
    assert [(e.mode, e.grad) for e in ran.effects("forward")] == [(True, True), (False, False)]
    [loop] = fx.loops(ran.run.roots[0].block)
    assert (loop.exact, len(loop.passes)) == (True, 2)


# ---------------------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    ("program", "grads"),
    [
        ("model(1)", [True]),
        ("with torch.no_grad():\n    model(1)\nmodel(1)", [False, True]),
        ("with torch.inference_mode():\n    model(1)", [False]),
        ("with torch.inference_mode(False):\n    model(1)", [True]),
        ("with torch.inference_mode(flag):\n    model(1)", [None]),
        ("with torch.no_grad(), open('f') as f:\n    model(1)", [False]),
        ("with torch.no_grad():\n    with torch.enable_grad():\n        model(1)\n    model(1)", [True, False]),
        ("with torch.set_grad_enabled(False):\n    model(1)\nmodel(1)", [False, True]),
        ("with torch.set_grad_enabled(flag):\n    model(1)", [None]),
        ("torch.set_grad_enabled(False)\nmodel(1)", [False]),
        ("torch.set_grad_enabled(False)\ntorch.set_grad_enabled(True)\nmodel(1)", [True]),
        ("if flag:\n    torch.set_grad_enabled(False)\nmodel(1)", [None]),
        ("@torch.no_grad()\ndef f():\n    return model(1)\nf()\nmodel(1)", [False, True]),
        ("@torch.inference_mode()\ndef f():\n    return model(1)\nf()", [False]),
        ("@torch.no_grad\ndef f():\n    return model(1)\nf()", [False]),
        ("def f():\n    return model(1)\nwith torch.no_grad():\n    f()\nf()", [False, True]),
        ("def f():\n    with torch.no_grad():\n        return model(1)\nf()\nmodel(1)", [False, True]),
        ("from somewhere import go\nwith go():\n    model(1)", [None]),
        ("context = torch.no_grad() if flag else torch.enable_grad()\nwith context:\n    model(1)", [None]),
    ],
)
def test_whether_gradients_are_recorded(program: str, grads: list[bool | None]) -> None:
    assert [e.grad for e in Ran(MODEL + program).effects("forward")] == grads


# ---------------------------------------------------------------------------- joins


@cases(
    both_arms=("if flag:\n    x = 1\nelse:\n    x = 2", "1 | 2"),
    one_arm=("x = 1\nif flag:\n    x = 2", "1 | 2"),
    equal=("if flag:\n    x = 1\nelse:\n    x = 1", "1"),
    known_condition=("DEBUG = False\nx = 1\nif DEBUG:\n    x = 2", "1"),
    dead_arm=("x = 1\nif flag:\n    x = 2\n    raise ValueError", "1"),
    five=("x = 0\nif a: x = 1\nif b: x = 2\nif c: x = 3\nif d: x = 4", "?"),
    conditional_expression=("x = 1 if flag else 2", "1 | 2"),
    narrowed=("y = None\nif flag:\n    y = 1\nif y is not None:\n    x = y\nelse:\n    x = 2", "1 | 2"),
    short_circuit=("x = None or 3", "3"),
    counter=("x = 0\nfor i in data:\n    x += 1", "?"),
    exact_loop=("x = 0\nfor i in range(3):\n    x += i", "3"),
    loop_may_not_run=("x = 1\nfor i in data:\n    x = 2", "?"),
    while_loop=("x = 0\nwhile x < n:\n    x = x + 1", "?"),
    no_break=("for i in data:\n    x = 2\nelse:\n    x = 3", "3"),
    break_in_exact=("x = 0\nfor i in (1, 2):\n    if flag:\n        break\n    x = i", "0 | 1 | 2"),
    continued=("x = 1\nfor i in (1, 2):\n    if i == 2:\n        continue\n    x = i", "1"),
    early_return=("def f():\n    if flag:\n        return 1\n    return 2\nx = f()", "1 | 2"),
    implicit_none=("def f():\n    if flag:\n        return 1\nx = f()", "1 | None"),
    return_in_loop=("def f():\n    for i in data:\n        return 1\n    return 2\nx = f()", "1 | 2"),
    handled=("x = 1\ntry:\n    x = go()\nexcept OSError:\n    x = 2\nelse:\n    x = 3", "2 | 3"),
    raising_handler=("try:\n    x = 1\nexcept OSError:\n    raise", "1"),
    raising_body=("x = 0\ntry:\n    raise ValueError\nexcept ValueError:\n    x = 1", "1"),
    final=("x = 1\ntry:\n    x = 2\nfinally:\n    x = 3", "3"),
    deleted=("x = 1\ndel x\nx = 2", "2"),
    match=("match mode:\n    case 'a':\n        x = 1\n    case _:\n        x = 2", "1 | 2"),
)
def test_joins(program: str, expected: str) -> None:
    found = x_of(program)
    assert ("?" in found) if expected == "?" else (found == expected)


def test_the_same_condition_is_decided_alike() -> None:
    """Two branches on one flag: either both ``zero_grad`` and ``step`` happen, or neither."""
    ran = Ran(
        """
        def train(opt, flag):
            if flag:
                opt.zero_grad()
            loss = criterion(1)
            loss.backward()
            if flag:
                opt.step()
        """
    )
    [block] = [r.block for r in ran.run.roots if r.name == "train"]
    paths = fx.paths(block, frozenset(("zero_grad", "step")), lambda e: True) or []
    assert sorted([e.kind for e in path] for path in paths) == [[], ["zero_grad", "step"]]


# ---------------------------------------------------------------------------- containers and calls


@cases(
    list_items=("x = [1, 2] + [3]", "(1, 2, 3)"),
    appended=("x = [1]\nx.append(2)\nx += [3]\nx.extend((4, 5))", "(1, 2, 3, 4, 5)"),
    appended_in_a_branch=("x = [1]\nif flag:\n    x.append(2)", "(1, 2, ...)"),
    item=("a = [1, 2, 3]\nx = a[-1]", "3"),
    shared=("a = []\nb = a\nb.append(1)\nx = a", "(1)"),
    unpacked=("a, x = 1, 2", "2"),
    nested_unpacking=("a, (b, x) = 1, (2, 3)", "3"),
    dict_display=("x = {'a': 1, **{'b': 2}}", "{a: 1, b: 2}"),
    dict_of_keywords=("x = dict(a=1)\nx['b'] = 2\nx.update(c=3)", "{a: 1, b: 2, c: 3}"),
    dict_item=("d = {'a': 1}\nx = d['a']", "1"),
    dict_get=("d = {'a': 1}\nx = d.get('b', 2)", "2"),
    dict_one_of=("d = {'a': 1, 'b': 2}\nx = d[name]", "1 | 2"),
    dict_filled_unseen=("x = {}\nx[name] = 1", "{...}"),
    loop_over_items=("x = []\nfor k, v in {'a': 1, 'b': 2}.items():\n    x.append(v)", "(1, 2)"),
    enumerated=("x = []\nfor i, v in enumerate('ab'.split() or ['p', 'q']):\n    x.append(1)", "(1, ...)"),
    zipped=("x = 0\nfor a, b in zip((1, 2), (3, 4)):\n    x += a * b", "11"),
    comprehension=("x = [i * 2 for i in (1, 2)]", "(2, 4)"),
    filtered=("x = [i for i in (1, 2, 3) if i > 1]", "(2, 3)"),
    dict_comprehension=("x = {k: 1 for k in ('a', 'b')}", "{a: 1, b: 1}"),
    nested_comprehension=("x = [a + b for a in (1, 2) for b in (10, 20)]", "(11, 21, 12, 22)"),
    star_arguments=("def f(a, b, c): return c\nx = f(*[1, 2], 3)", "3"),
    star_keywords=("def f(a, b): return b\nx = f(**{'b': 2, 'a': 1})", "2"),
    rest=("def f(*args, **options): return args, options\nx = f(1, 2, k=3)", "((1, 2), {k: 3})"),
    passed_on=("def g(a, k): return k\ndef f(*a, **o): return g(*a, **o)\nx = f(1, k=2)", "2"),
    default=("def f(a, b=2): return b\nx = f(1)", "2"),
    keyword_only=("def f(*, a=1): return a\nx = f(a=5)", "5"),
    partial=("from functools import partial\ndef f(a, b): return b\nx = partial(f, b=2)(1)", "2"),
    mapped=("x = list(map(lambda v: 1, data))", "(1, ...)"),
    namespace=("from types import SimpleNamespace as N\nn = N(a=1)\nx = n.a", "1"),
    walrus=("if (x := 3) > 2:\n    pass", "3"),
)
def test_containers_and_arguments(program: str, expected: str) -> None:
    assert x_of(program) == expected


@cases(
    attribute=("class A: pass\na = A()\na.b = 1\nx = a.b", "1"),
    by_name=("class A: pass\na = A()\nsetattr(a, 'b', 1)\nx = getattr(a, 'b')", "1"),
    class_attribute=("class A:\n    b = 1\nx = A().b", "1"),
    shadowed=("class A:\n    b = 1\na = A()\na.b = 2\nx = A().b, a.b", "(1, 2)"),
    inherited=("class A:\n    b = 1\nclass B(A): pass\nx = B().b", "1"),
    constructor=("class A:\n    def __init__(self, b=1): self.b = b\nx = A(2).b", "2"),
    super_call=(
        "class A:\n    def f(self): return 1\nclass B(A):\n    def f(self): return super().f() + 1\nx = B().f()",
        "2",
    ),
    mixin=(
        "class A:\n    def f(self): return 1\nclass M:\n    def f(self): return 2\nclass B(M, A): pass\nx = B().f()",
        "2",
    ),
    property=("class A:\n    @property\n    def b(self): return 1\nx = A().b", "1"),
    static=("class A:\n    @staticmethod\n    def f(b): return b\nx = A.f(1), A().f(2)", "(1, 2)"),
    class_method=("class A:\n    b = 1\n    @classmethod\n    def f(cls): return cls.b\nx = A.f()", "1"),
    called=("class A:\n    def __call__(self, b): return b\nx = A()(1)", "1"),
    bound=("class A:\n    def f(self, b): return b\ng = A().f\nx = g(1)", "1"),
    unbound=("class A:\n    def f(self, b): return b\nx = A.f(A(), 1)", "1"),
    dataclass_default=("from dataclasses import dataclass\n@dataclass\nclass A:\n    b: int = 1\nx = A().b", "1"),
    dataclass_keyword=("from dataclasses import dataclass\n@dataclass\nclass A:\n    b: int = 1\nx = A(b=2).b", "2"),
)
def test_objects(program: str, expected: str) -> None:
    assert x_of(program) == expected


@cases(
    closure=("def f():\n    b = 1\n    def g(): return b\n    return g\nx = f()()", "1"),
    two_closures=("def f(b):\n    return lambda: b\ng, h = f(1), f(2)\nx = g(), h()", "(1, 2)"),
    nonlocal_=(
        "def f():\n    b = 1\n    def g():\n        nonlocal b\n        b = 2\n    g()\n    return b\nx = f()",
        "2",
    ),
    local=("b = 1\ndef f():\n    b = 2\nf()\nx = b", "1"),
    global_=("x = 1\ndef f():\n    global x\n    x = 2\nf()", "2"),
    class_body_is_no_closure=("b = 1\nclass A:\n    b = 2\n    def f(self): return b\nx = A().f()", "1"),
    defined_later=("def f(): return g()\ndef g(): return 1\nx = f()", "1"),
    generator=("def f():\n    yield 1\n    yield 2\nx = []\nfor i in f():\n    x.append(i)", "(1 | 2, ...)"),
    first_of_generator=("def f():\n    yield 1\nx = next(f())", "1"),
    delegated=("def f():\n    yield from (1, 2)\nfor x in f(): pass", "1 | 2"),
)
def test_scopes(program: str, expected: str) -> None:
    assert x_of(program) == expected


@pytest.mark.parametrize(
    "program",
    [
        "def f(n): return f(n - 1)\nx = f(3)",
        "def f(n): return g(n)\ndef g(n): return f(n)\nx = f(3)",
        "class A:\n    def __init__(self): self.a = A()\nx = A()",
        "class A:\n    @property\n    def b(self): return self.b\nx = A().b",
        "x = []\nx.append(x)",
        "f = lambda g: g(g)\nx = f(f)",
    ],
)
def test_recursion_ends(program: str) -> None:
    assert Ran(program)["x"] is not None


def test_a_recursive_call_is_unknown_and_takes_what_it_is_given() -> None:
    """Both ways out of the function are kept: the literal, and whatever the inner call may give."""
    ran = Ran("def f(n):\n    if flag:\n        return 1\n    return f(n)\nx = f(5)")
    assert ran.shown("x").startswith("1 | call(")


# ---------------------------------------------------------------------------- what unseen code may touch

THINGS = """
import torch
from somewhere import mystery, Mystery
from torch import nn
model, other = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2))
opt = torch.optim.SGD(model.parameters(), 0.1)
class Holder: pass
holder = Holder()
holder.model = model
holder.number = 1
numbers = [1, 2]
"""


@pytest.mark.parametrize(
    ("call", "reached"),
    [
        ("mystery(1)", set()),
        ("mystery(model)", {"model"}),
        ("mystery(opt)", {"model", "opt"}),
        ("mystery(holder)", {"model", "holder"}),
        ("mystery([model])", {"model"}),
        ("mystery(dict(a=other))", {"other"}),
        ("mystery(part=holder)", {"model", "holder"}),
        ("mystery(*[model])", {"model"}),
        ("mystery(**{'a': model})", {"model"}),
        ("mystery(model.parameters())", {"model"}),
        ("mystery(lambda: 1)", set()),
        ("import somewhere.deep as s\ns.go(model)", {"model"}),
        ("Mystery(model)", {"model"}),
        ("Mystery(1).go(model)", {"model"}),
        ("opaque(model)", {"model"}),
        ("opaque.method(model)", {"model"}),
        ("opaque(holder)", {"model", "holder"}),
        ("mystery.model = other\nmystery(1)", set()),
        ("def f(m):\n    mystery(m)\nf(model)", {"model"}),
        ("def f(m):\n    pass\nf(model)", set()),
        ("if flag:\n    mystery(model)", {"model"}),
        ("print(model)", set()),
        ("len(model)", set()),
        ("torch.save(model, 'f')", set()),
        ("torch.save(model.state_dict(), 'f')", set()),
        ("nn.DataParallel(model)", set()),
        ("import logging\nlogging.info('%s', model)", set()),
        ("import numpy as np\nnp.mean(numbers)", set()),
    ],
)
def test_escape(call: str, reached: set[str]) -> None:
    ran = Ran(THINGS + call)
    assert {name for name in ("model", "other", "opt", "holder") if ran.escaped(name)} == reached


def test_an_escape_forgets_only_what_it_can_reach() -> None:
    ran = Ran(THINGS + "model.eval()\nother.eval()\nmystery(holder)\n")
    assert (ran.mode("model"), ran.mode("other")) == (None, False)


def test_an_escaped_list_may_hold_more() -> None:
    assert Ran(THINGS + "mystery(numbers)").shown("numbers") == "(1, 2, ...)"
    assert Ran(THINGS + "print(numbers)").shown("numbers") == "(1, 2)"


def test_a_result_handed_to_unseen_code_may_be_changed() -> None:
    ran = Ran(MODEL + "from somewhere import mystery\ny = model(1)\nz = y\nmystery(z)\n")
    assert ran.shown("z").startswith("touched?(")
    assert ran.shown("y").startswith("output(")


def test_an_attribute_of_an_open_class_is_unknown() -> None:
    """The base cannot be seen: it may define anything, but what the project's class defines stays known."""
    ran = Ran("from mystery import Base\nclass A(Base):\n    b = 1\na = A()\nx, y = a.b, a.c")
    assert (ran.shown("x"), ran.shown("y")) == ("1", ".c(<A>)")


# ---------------------------------------------------------------------------- optimizers

TWO = """
import itertools, torch
from itertools import chain
from torch import nn, optim
first, second = nn.Linear(1, 1), nn.Linear(2, 2)
"""


@pytest.mark.parametrize(
    ("parameters", "owners", "complete"),
    [
        ("first.parameters()", {"first"}, True),
        ("list(first.parameters())", {"first"}, True),
        ("list(first.parameters()) + list(second.parameters())", {"first", "second"}, True),
        ("[*first.parameters(), *second.parameters()]", {"first", "second"}, True),
        ("[{'params': first.parameters()}, {'params': second.parameters(), 'lr': 1}]", {"first", "second"}, True),
        ("itertools.chain(first.parameters(), second.parameters())", {"first", "second"}, True),
        ("chain(*[m.parameters() for m in (first, second)])", {"first", "second"}, True),
        ("filter(lambda p: p.requires_grad, first.parameters())", {"first"}, True),
        ("(p for p in first.parameters() if p.requires_grad)", {"first"}, True),
        ("[p for m in (first, second) for p in m.parameters()]", {"first", "second"}, True),
        ("[p for n, p in first.named_parameters() if 'bias' not in n]", {"first"}, True),
        ("nn.Sequential(first, second).parameters()", set(), True),
        ("chain(first.parameters(), mystery())", {"first"}, False),
        ("mystery(first)", set(), False),
        ("groups", set(), False),
    ],
)
def test_whose_parameters_an_optimizer_has(parameters: str, owners: set[str], complete: bool) -> None:
    ran = Ran(TWO + f"opt = optim.SGD({parameters}, lr=0.1)")
    assert ran.owners("opt") == (owners, complete)
    assert ran.program.is_optimizer(ran["opt"])


def test_parameters_collected_in_a_list_first() -> None:
    ran = Ran(TWO + "ps = list(first.parameters())\nps += list(second.parameters())\nopt = optim.Adam(ps)")
    assert ran.owners("opt") == ({"first", "second"}, True)


def test_optimizer_given_by_keyword_and_through_a_factory() -> None:
    ran = Ran(
        TWO + "def make(m, **options):\n    return optim.AdamW(params=m.parameters(), **options)\nopt = make(second)"
    )
    assert ran.owners("opt") == ({"second"}, True)


def test_an_opaque_thing_that_is_stepped_and_cleared_is_an_optimizer() -> None:
    ran = Ran("def train(opt, sched):\n    opt.zero_grad()\n    loss.backward()\n    opt.step()\n    sched.step()\n")
    stepped = {repr(e.subject): ran.program.is_optimizer(e.subject) for e in ran.effects("step", "train")}
    assert stepped == {"param('opt')": True, "param('sched')": False}


# ---------------------------------------------------------------------------- corner cases


def right(name: str, program: str, expected: object) -> object:
    """A case under its name."""
    return pytest.param(program, expected, id=name)


def wrong(reason: str, program: str, expected: object) -> object:
    """A program of which the interpreter claims to know something that is not so."""
    return pytest.param(program, expected, marks=pytest.mark.xfail(strict=True, reason=reason), id=reason)


DIAMOND = """
class A:
    def f(self): return 1
class B(A): pass
class C(A):
    def f(self): return 2
class D(B, C): pass
x = D().f()
"""

SETTER = """
class A:
    c = 1
    @property
    def b(self): return self.c
    @b.setter
    def b(self, value): self.c = value
x = A().b
"""

DATACLASS = """
from dataclasses import dataclass
@dataclass
class A:
    b: int = 1
x = A(2).b
"""


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        wrong("else of a loop runs after break too", "for i in d:\n    x = 2\n    break\nelse:\n    x = 3", "2 | 3"),
        wrong("name or literal is the literal", "x = name or 3", "3 | name('train.py', 'name')"),
        wrong("name and literal is the name", "x = name and 3", "3 | name('train.py', 'name')"),
        right("del of an item", "d = {'a': 1}\ndel d['a']\nx = 'a' in d", "False"),
        right("pop of an item", "d = {'a': 1}\nd.pop('a')\nx = 'a' in d", "False"),
        right("clear of a dict", "d = {'a': 1}\nd.clear()\nx = 'a' in d", "False"),
        wrong("setdefault adds nothing", "d = {}\nd.setdefault('a', 1)\nx = 'a' in d", "True"),
        wrong("in compares literals by identity", "x = 1 in [1.0]", "True"),
        right("new class attributes", "class A:\n    b = 1\nA.b = 2\nx = A().b", "2"),
        wrong("defaults are evaluated at the call", "b = 1\ndef f(a=b): return a\nb = 2\nx = f()", "1"),
        wrong("defaults of lambdas too", "x = [f() for f in [lambda i=i: i for i in (1, 2)]]", "(1, 2)"),
        wrong("positional arguments of dataclasses are dropped", DATACLASS, "2"),
        right("method resolution order", DIAMOND, "2"),
        right("property with a setter", SETTER, "1"),
    ],
)
def test_corner_cases_of_values(program: str, expected: str) -> None:
    assert x_of(program) == expected


MANAGER = """
class Evaluating:
    def __init__(self, m): self.m = m
    def __enter__(self): self.m.eval()
    def __exit__(self, *exc): self.m.train()
"""


@pytest.mark.parametrize(
    ("body", "mode"),
    [
        right(
            "finally after one of several returns",
            "m.eval()\ntry:\n    if flag:\n        return 1\n    return 2\nfinally:\n    m.train()",
            True,
        ),
        right(
            "__exit__ after one of several returns",
            "with Evaluating(m):\n    if flag:\n        return 1\n    return 2",
            True,
        ),
        right(
            "writes before a return whose sibling arm raises",
            "if flag:\n    m.eval()\n    return 1\nelse:\n    raise ValueError",
            False,
        ),
        wrong("modules() holds the module itself", "for part in m.modules():\n    part.eval()", False),
    ],
)
def test_modes_on_the_way_out(body: str, mode: bool) -> None:
    """The mode of the model after a call of ``f(model)``."""
    function = "def f(m):\n" + textwrap.indent(body, "    ")
    assert Ran(MODEL + MANAGER + function + "\nf(model)").mode("model") is mode


@pytest.mark.parametrize(
    "body",
    ["m.eval()\ntry:\n    return 1\nfinally:\n    m.train()", "with Evaluating(m):\n    return 1"],
    ids=["finally", "__exit__"],
)
def test_effects_on_the_way_out_of_a_function_are_on_its_path(body: str) -> None:
    """Both are how real code goes back to training mode; without them NN502 is claimed wrongly."""
    function = "def f(m):\n" + textwrap.indent(body, "    ")
    ran = Ran(MODEL + MANAGER + function + "\nf(model)")
    [path] = fx.paths(ran.run.roots[0].block, frozenset(("mode",)), lambda e: True) or []
    assert [e.inputs for e in path] == [(ran.run.space.false,), (ran.run.space.true,)]


def test_what_a_factory_that_may_raise_made_is_kept() -> None:
    factory = "def make():\n    if flag:\n        return Net()\n    else:\n        raise ValueError\n"
    ran = Ran(MODEL + factory + "m = make()")
    assert [name for name, _ in access.children(ran.run, ran["m"])] == ["first", "drop", "last"]


@pytest.mark.xfail(strict=True, reason="whether gradients are recorded is not joined over returns and loops")
@pytest.mark.parametrize(
    "program",
    [
        "for i in data:\n    torch.set_grad_enabled(False)",
        "def f():\n    if flag:\n        torch.set_grad_enabled(False)\n        return 1\nf()",
    ],
    ids=["loop", "return"],
)
def test_recording_that_may_have_been_switched_off_is_unknown(program: str) -> None:
    assert [e.grad for e in Ran(MODEL + program + "\nmodel(1)").effects("forward")] == [None]


# ---------------------------------------------------------------------------- across files


def test_imports_however_they_are_written() -> None:
    ran = Ran(
        """
        import lib
        import lib.deep
        import lib.deep as d
        from lib import deep, ONE as one
        from lib.deep import *
        from lib.deep import TWO as two
        a, b, c, e, f, g = lib.ONE, lib.deep.TWO, d.TWO, deep.TWO, one, TWO
        """,
        {"lib/__init__.py": "ONE = 1", "lib/deep.py": "from . import ONE\nTWO = ONE + 1"},
    )
    assert [ran.shown(name) for name in ("a", "b", "c", "e", "f", "g", "two")] == ["1", "2", "2", "2", "1", "2", "2"]


def test_import_cycles_see_each_others_functions() -> None:
    ran = Ran("from b import two\ndef one(): return 1\nx = two()", {"b.py": "import train\ndef two(): return 2"})
    assert ran.shown("x") == "2"


@pytest.mark.xfail(strict=True, reason="the imports of a module that its own cycle runs too late are not bound yet")
@pytest.mark.parametrize("function", ["def two(): return train.one() + 1", "def two(): return Two.number"])
def test_import_cycles_see_all_that_is_there_when_the_script_runs(function: str) -> None:
    """``train`` is the script: when its last line runs, all of ``b`` has run. It is interpreted first nevertheless."""
    ran = Ran(
        "import b\ndef one(): return 1\nif __name__ == '__main__':\n    x = b.two()",
        {"b.py": "import train\nclass Two:\n    number = 2\n" + function},
    )
    assert ran.shown("x") == "2"


def test_functions_that_nobody_calls_are_roots_on_opaque_arguments() -> None:
    ran = Ran("def train(model, loss):\n    loss.backward()\ndef unrelated(a):\n    return a\n")
    assert {r.name for r in ran.run.roots} == {"<module>", "train"}
    assert [repr(e.subject) for e in ran.effects("backward", "train")] == ["param('loss')"]


def test_what_a_root_writes_is_undone() -> None:
    ran = Ran("x = 1\ndef train(loss):\n    global x\n    x = 2\n    loss.backward()\n")
    assert ran.effects("backward", "train")
    assert ran.shown("x") == "1"


def test_the_part_under_main_is_run() -> None:
    assert Ran("def main():\n    return 1\nif __name__ == '__main__':\n    x = main()").shown("x") == "1"


def test_the_kinds_of_values_used_here_are_as_they_seem() -> None:
    """``repr`` stands for values in this file: a literal must not look like something unknown."""
    ran = Ran("a = 1\nb = '?'\nc = mystery\nclass D: pass\nd = D()")
    assert (repr(UNKNOWN), ran.shown("a"), ran.shown("b")) == ("?", "1", "'?'")
    assert isinstance(ran["d"], Obj)
    assert not isinstance(ran["c"], Const)


# ---------------------------------------------------------------------------- what training code does beside training


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("model.last = nn.Linear(4, 3)", "attach"),
        ("kept = model.state_dict()", "snapshot"),
        ("model.load_state_dict(torch.load('x.pt'), strict=False)", "restore"),
        ("torch.save({'model': model}, 'x.pt')", "save"),
        ("model = nn.parallel.DistributedDataParallel(model)", "wrap"),
        ("nn.parallel.DistributedDataParallel(model).module(torch.ones(2, 4))", "bypass"),
        ("model.eval", "idle"),
        ("torch.no_grad()", "idle"),
        ("for i in range(9):\n    best = model", "alias"),
        ("model.last.weight.grad = torch.zeros(2, 4)", "zero_grad"),
    ],
)
def test_effects_beside_training_are_recorded(statement: str, kind: str) -> None:
    assert kind in {e.kind for e, _ in Ran(MODEL + statement).program.effects(kind)}


@pytest.mark.parametrize(
    "statement", ["with torch.no_grad():\n    model.eval()", "stop = model.eval", "torch.set_grad_enabled(False)"]
)
def test_what_is_used_is_not_idle(statement: str) -> None:
    assert not Ran(MODEL + statement).program.effects("idle")


@pytest.mark.parametrize(
    ("context", "half"),
    [
        ("torch.autocast('cuda')", "float16"),
        ("torch.autocast('cuda', dtype=torch.bfloat16)", "bfloat16"),
        ("torch.autocast('cuda', enabled=False)", None),
        ("torch.autocast('cuda', enabled=model.flag)", "?"),
        ("torch.autocast(model.device)", "?"),
        ("torch.cuda.amp.autocast()", "float16"),
        ("torch.cuda.amp.autocast(False)", None),
        ("torch.cpu.amp.autocast()", "bfloat16"),
        ("torch.no_grad()", None),
    ],
)
def test_number_type_of_autocast(context: str, half: str | None) -> None:
    ran = Ran(MODEL + f"with {context}:\n    y = model(torch.ones(2, 4))\nz = model(torch.ones(2, 4))")
    inside, outside = (e.half for e, _ in ran.program.effects("forward"))
    assert (inside, outside) == (half, None)


# ---------------------------------------------------------------------------- what is known of a name


def test_where_a_name_is_none_it_is_nothing_else() -> None:
    ran = Ran(
        """
        import torch

        def keep(x):
            if x is None:
                return x
            return x.detach()

        kept = keep(torch.zeros(3))
        """
    )
    kept = values.alternatives(ran["kept"])
    assert [v.op for v in kept if isinstance(v, Data)] == ["detach"]


def test_options_of_the_command_line_know_their_defaults() -> None:
    ran = Ran(
        """
        import argparse

        parser = argparse.ArgumentParser()
        group = parser.add_argument_group("model")
        group.add_argument("-d", "--drop-rate", type=float, default=0.0)
        parser.add_argument("--lr", dest="rate", default=0.1)
        parser.add_argument("--cuda", action="store_true")
        parser.add_argument("path")
        args = parser.parse_args()
        drop, rate, cuda, path = args.drop_rate, args.rate, args.cuda, args.path
        other = args.unheard_of
        """
    )
    assert [values.constant(usual(ran[name])) for name in ("drop", "rate", "cuda")] == [0.0, 0.1, False]
    assert usual(ran["path"]) is UNKNOWN
    assert values.constant(ran["drop"]) is ...  # nobody knows what a run is called with
    assert values.constant(usual(ran["other"])) is ...
