"""Lowering: one file's libcst tree -> :class:`~.ir.FileIR`.

A table from node class to a small function; only fields with meaning are visited, so the walk costs
a small part of the parse. Sites are preorder numbers, so that lowering the same text again (see
:mod:`.positions`) gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import intern
from typing import Any

import libcst as cst

from . import ir

_NOTHING = ir.Const(None)
_NUMBERS = list(range(1000))
"""Site numbers, the same objects in every file: a project has millions."""


def lower(text: str, filename: str) -> ir.FileIR:
    """Parse and lower one file.

    Raises:
        libcst.ParserSyntaxError: the text is not Python 3.
        RecursionError: an expression is nested too deeply.
    """
    return Lowering().file(parse(text), filename, text.count("\n") + 1)


_CHECK = cst.CSTNode.__post_init__


def parse(text: str) -> cst.Module:
    """``libcst.parse_module`` without the checks that each node makes of itself, a seventh of the time.

    They guard trees that are put together by hand; libcst says itself that parsing does not need them.

    Raises:
        libcst.ParserSyntaxError: the text is not Python 3.
        RecursionError: an expression is nested too deeply.
    """
    cst.CSTNode.__post_init__ = _unchecked  # type: ignore[method-assign, assignment]
    try:
        return cst.parse_module(text)
    finally:
        cst.CSTNode.__post_init__ = _CHECK  # type: ignore[method-assign]


def _unchecked(node: cst.CSTNode) -> None:
    pass


class Lowering:
    """The state of lowering one file; ``nodes`` is filled (site number -> node) on request."""

    def __init__(self, record: bool = False) -> None:
        self.count = 0
        self.nodes: list[cst.CSTNode] | None = [] if record else None
        self.words: set[str] = set()
        self.assigned: set[str] = set()
        self.outer: set[str] = set()
        self.generator = False
        self.imports: list[ir.Import] = []

    def file(self, module: cst.Module, filename: str, lines: int) -> ir.FileIR:
        """The whole file."""
        body = self.block(module.body)
        return ir.FileIR(filename, body, frozenset(self.words), tuple(self.imports), lines)

    # ------------------------------------------------------------------ helpers

    def site(self, node: cst.CSTNode) -> int:
        """The next number in preorder, for this node."""
        number = self.count
        self.count = number + 1
        if self.nodes is not None:
            self.nodes.append(node)
        if number >= len(_NUMBERS):
            _NUMBERS.extend(range(number, number + 1000))
        return _NUMBERS[number]

    def expr(self, node: Any) -> Any:
        """An expression; None for what has no meaning here."""
        handler = _EXPRESSIONS.get(type(node))
        return _NOTHING if handler is None else handler(self, node)

    def block(self, statements: Sequence[Any]) -> ir.Block:
        """Statements in order."""
        out: list[Any] = []
        for statement in statements:
            if type(statement) is cst.SimpleStatementLine:
                for small in statement.body:
                    self._statement(small, out)
            else:
                self._statement(statement, out)
        return tuple(out)

    def suite(self, node: Any) -> ir.Block:
        """The body of a compound statement; nothing for None."""
        if node is None:
            return ()
        if type(node) is cst.If:
            return self.block((node,))
        body = getattr(node, "body", ())
        if type(node) in (cst.Else, cst.Finally):
            return self.suite(body)
        if type(node) is cst.SimpleStatementSuite:
            out: list[Any] = []
            for small in body:
                self._statement(small, out)
            return tuple(out)
        return self.block(body)

    def _statement(self, node: Any, out: list[Any]) -> None:
        handler = _STATEMENTS.get(type(node))
        if handler is None:
            return
        lowered = handler(self, node)
        if lowered is not None:
            out.append(lowered)

    def target(self, node: Any) -> Any:
        """An assignment target; its plain names count as assigned."""
        kind = type(node)
        if kind is cst.Name:
            self.assigned.add(node.value)
        elif kind in (cst.Tuple, cst.List):
            elements = tuple(
                ir.Starred(self.target(e.value)) if type(e) is cst.StarredElement else self.target(e.value)
                for e in node.elements
            )
            return ir.Display(self.site(node), "tuple", elements)
        return self.expr(node)

    def function(self, node: Any, name: str, params: Any, body: Callable[[], ir.Block], decorators: Any) -> ir.Def:
        """A function; its body is lowered with words and assigned names of its own."""
        site = self.site(node)
        lowered_params = self.params(params)
        outside = (self.words, self.assigned, self.outer, self.generator)
        self.words, self.assigned, self.outer, self.generator = set(), set(), set(), False
        block = body()
        words, assigned, outer, generator = frozenset(self.words), self.assigned, self.outer, self.generator
        self.words, self.assigned, self.outer, self.generator = outside
        self.words |= words
        lowered_decorators = tuple(self.expr(d.decorator) for d in decorators)
        return ir.Def(
            site,
            name,
            lowered_params,
            block,
            lowered_decorators,
            frozenset(assigned - outer),
            frozenset(outer),
            generator,
            words,
        )

    def params(self, params: cst.Parameters) -> tuple[ir.Param, ...]:
        """A signature in order."""
        out = []
        for p in (*params.posonly_params, *params.params):
            out.append(self._param(p, "positional"))
        if isinstance(params.star_arg, cst.Param):
            out.append(self._param(params.star_arg, "*"))
        out.extend(self._param(p, "keyword") for p in params.kwonly_params)
        if params.star_kwarg is not None:
            out.append(self._param(params.star_kwarg, "**"))
        return tuple(out)

    def _param(self, p: cst.Param, kind: str) -> ir.Param:
        default = self.expr(p.default) if p.default is not None else None
        annotation = self.expr(p.annotation.annotation) if p.annotation is not None else None
        return ir.Param(intern(p.name.value), kind, default, annotation)


# ---------------------------------------------------------------------------- expressions


def _name(low: Lowering, node: cst.Name) -> ir.Expr:
    word = intern(node.value)  # identifiers repeat: a copy of each is a third of the memory
    if word in _LITERAL_NAMES:
        return _LITERAL_NAMES[word]
    low.words.add(word)
    return ir.Name(low.site(node), word)


_LITERAL_NAMES = {"True": ir.Const(True), "False": ir.Const(False), "None": _NOTHING}


def _attribute(low: Lowering, node: cst.Attribute) -> ir.Expr:
    site = low.site(node)
    base = low.expr(node.value)
    word = intern(node.attr.value)
    low.words.add(word)
    return ir.Attribute(site, base, word)


def _call(low: Lowering, node: cst.Call) -> ir.Expr:
    site = low.site(node)
    func = low.expr(node.func)
    args = []
    for arg in node.args:
        keyword = arg.star or (intern(arg.keyword.value) if arg.keyword is not None else None)
        args.append(ir.Arg(keyword, low.expr(arg.value)))
    return ir.Call(site, func, tuple(args))


def _subscript(low: Lowering, node: cst.Subscript) -> ir.Expr:
    site = low.site(node)
    base = low.expr(node.value)
    indices = tuple(_index(low, element.slice) for element in node.slice)
    index = indices[0] if len(indices) == 1 else ir.Display(low.site(node), "tuple", indices)
    return ir.Subscript(site, base, index)


def _index(low: Lowering, node: cst.BaseSlice) -> ir.Expr:
    if isinstance(node, cst.Slice):
        parts = (node.lower, node.upper, node.step)
        return ir.Slice(*(None if part is None else low.expr(part) for part in parts))
    assert isinstance(node, cst.Index)
    value: ir.Expr = low.expr(node.value)
    return value


def _binary(low: Lowering, node: cst.BinaryOperation) -> ir.Expr:
    site = low.site(node)
    return ir.BinOp(site, _OPERATORS.get(type(node.operator), "?"), low.expr(node.left), low.expr(node.right))


def _unary(low: Lowering, node: cst.UnaryOperation) -> ir.Expr:
    site = low.site(node)
    op = _OPERATORS.get(type(node.operator), "?")
    operand = low.expr(node.expression)
    if op == "-" and type(operand) is ir.Const and isinstance(operand.value, (int, float)):
        return ir.Const(-operand.value)
    return ir.UnaryOp(site, op, operand)


def _boolean(low: Lowering, node: cst.BooleanOperation) -> ir.Expr:
    site = low.site(node)
    op = "and" if type(node.operator) is cst.And else "or"
    return ir.BoolOp(site, op, low.expr(node.left), low.expr(node.right))


def _comparison(low: Lowering, node: cst.Comparison) -> ir.Expr:
    site = low.site(node)
    left = low.expr(node.left)
    rest = tuple((_OPERATORS.get(type(c.operator), "?"), low.expr(c.comparator)) for c in node.comparisons)
    return ir.Compare(site, left, rest)


def _if_expression(low: Lowering, node: cst.IfExp) -> ir.Expr:
    site = low.site(node)
    return ir.IfExp(site, low.expr(node.test), low.expr(node.body), low.expr(node.orelse))


_DISPLAYS: dict[type, str] = {cst.Tuple: "tuple", cst.List: "list", cst.Set: "set"}


def _display(low: Lowering, node: Any) -> ir.Expr:
    site = low.site(node)
    kind = _DISPLAYS[type(node)]
    elements = tuple(
        ir.Starred(low.expr(e.value)) if type(e) is cst.StarredElement else low.expr(e.value) for e in node.elements
    )
    return ir.Display(site, kind, elements)


def _dict(low: Lowering, node: cst.Dict) -> ir.Expr:
    site = low.site(node)
    items = tuple(
        (low.expr(e.key) if isinstance(e, cst.DictElement) else None, low.expr(e.value)) for e in node.elements
    )
    return ir.DictDisplay(site, items)


_COMPREHENSIONS: dict[type, str] = {cst.ListComp: "list", cst.SetComp: "set"}


def _comprehension(low: Lowering, node: Any) -> ir.Expr:
    site = low.site(node)
    generators = []
    part = node.for_in
    # A comprehension has its own scope: its targets are not assigned names of the function.
    outside, low.assigned = low.assigned, set()
    while part is not None:
        iterable = low.expr(part.iter)
        target = low.target(part.target)
        generators.append(ir.Generator(target, iterable, tuple(low.expr(c.test) for c in part.ifs)))
        part = part.inner_for_in
    low.assigned = outside
    if type(node) is cst.DictComp:
        return ir.Comprehension(site, "dict", low.expr(node.key), low.expr(node.value), tuple(generators))
    kind = _COMPREHENSIONS.get(type(node), "generator")
    return ir.Comprehension(site, kind, low.expr(node.elt), None, tuple(generators))


def _lambda(low: Lowering, node: cst.Lambda) -> ir.Expr:
    site = low.site(node)

    def body() -> ir.Block:
        at = low.site(node.body)
        return (ir.Return(at, low.expr(node.body)),)

    return ir.Lambda(site, low.function(node, "<lambda>", node.params, body, ()))


def _string(low: Lowering, node: cst.SimpleString) -> ir.Expr:
    raw = node.value
    if "\\" not in raw and raw[0] in "\"'" and raw[:3] not in ('"""', "'''"):
        return ir.Const(raw[1:-1])
    return ir.Const(node.evaluated_value)


def _concatenated(low: Lowering, node: cst.ConcatenatedString) -> ir.Expr:
    left, right = low.expr(node.left), low.expr(node.right)
    if type(left) is ir.Const and type(right) is ir.Const:
        if isinstance(left.value, str) and isinstance(right.value, str):
            return ir.Const(left.value + right.value)
        return _NOTHING
    parts = [p for side in (left, right) for p in (side.parts if type(side) is ir.Text else ())]
    return ir.Text(low.site(node), tuple(parts))


def _formatted(low: Lowering, node: Any) -> ir.Expr:
    site = low.site(node)
    parts = tuple(low.expr(p.expression) for p in node.parts if hasattr(p, "expression"))
    return ir.Text(site, parts)


def _integer(low: Lowering, node: cst.Integer) -> ir.Expr:
    return ir.Const(int(node.value.replace("_", ""), 0) if not node.value.isdigit() else int(node.value))


def _float(low: Lowering, node: cst.Float) -> ir.Expr:
    return ir.Const(float(node.value.replace("_", "")))


def _walrus(low: Lowering, node: cst.NamedExpr) -> ir.Expr:
    site = low.site(node)
    value = low.expr(node.value)
    return ir.Walrus(site, low.target(node.target), value)


def _await(low: Lowering, node: cst.Await) -> ir.Expr:
    return ir.Await(low.expr(node.expression))


def _yield(low: Lowering, node: cst.Yield) -> ir.Expr:
    low.generator = True
    site = low.site(node)
    value = node.value
    if isinstance(value, cst.From):
        return ir.Yield(site, low.expr(value.item), True)
    return ir.Yield(site, None if value is None else low.expr(value), False)


_OPERATORS: dict[type, str] = {
    cst.Add: "+",
    cst.Subtract: "-",
    cst.Multiply: "*",
    cst.Divide: "/",
    cst.FloorDivide: "//",
    cst.Modulo: "%",
    cst.Power: "**",
    cst.MatrixMultiply: "@",
    cst.BitAnd: "&",
    cst.BitOr: "|",
    cst.BitXor: "^",
    cst.LeftShift: "<<",
    cst.RightShift: ">>",
    cst.Not: "not",
    cst.Minus: "-",
    cst.Plus: "+",
    cst.BitInvert: "~",
    cst.Equal: "==",
    cst.NotEqual: "!=",
    cst.LessThan: "<",
    cst.LessThanEqual: "<=",
    cst.GreaterThan: ">",
    cst.GreaterThanEqual: ">=",
    cst.In: "in",
    cst.NotIn: "not in",
    cst.Is: "is",
    cst.IsNot: "is not",
    cst.AddAssign: "+",
    cst.SubtractAssign: "-",
    cst.MultiplyAssign: "*",
    cst.DivideAssign: "/",
    cst.FloorDivideAssign: "//",
    cst.ModuloAssign: "%",
    cst.PowerAssign: "**",
    cst.MatrixMultiplyAssign: "@",
    cst.BitAndAssign: "&",
    cst.BitOrAssign: "|",
    cst.BitXorAssign: "^",
    cst.LeftShiftAssign: "<<",
    cst.RightShiftAssign: ">>",
}

_EXPRESSIONS: dict[type, Callable[[Lowering, Any], Any]] = {
    cst.Name: _name,
    cst.Attribute: _attribute,
    cst.Call: _call,
    cst.Subscript: _subscript,
    cst.BinaryOperation: _binary,
    cst.UnaryOperation: _unary,
    cst.BooleanOperation: _boolean,
    cst.Comparison: _comparison,
    cst.IfExp: _if_expression,
    cst.Tuple: _display,
    cst.List: _display,
    cst.Set: _display,
    cst.Dict: _dict,
    cst.ListComp: _comprehension,
    cst.SetComp: _comprehension,
    cst.GeneratorExp: _comprehension,
    cst.DictComp: _comprehension,
    cst.Lambda: _lambda,
    cst.SimpleString: _string,
    cst.ConcatenatedString: _concatenated,
    cst.FormattedString: _formatted,
    cst.Integer: _integer,
    cst.Float: _float,
    cst.NamedExpr: _walrus,
    cst.Await: _await,
    cst.Yield: _yield,
}


# ---------------------------------------------------------------------------- statements


def _expression_statement(low: Lowering, node: cst.Expr) -> ir.Statement | None:
    site = low.site(node)
    value = low.expr(node.value)
    return None if type(value) is ir.Const else ir.Evaluate(site, value)


def _assign(low: Lowering, node: cst.Assign) -> ir.Statement:
    site = low.site(node)
    value = low.expr(node.value)
    if type(value) in _CONTAINERS:
        low.words.add(ir.HOLDS_CONTAINER)
    return ir.Assign(site, tuple(low.target(t.target) for t in node.targets), value)


_CONTAINERS = (ir.Display, ir.DictDisplay, ir.Comprehension)


def _annotated_assign(low: Lowering, node: cst.AnnAssign) -> ir.Statement | None:
    site = low.site(node)
    if node.value is None:
        return None
    value = low.expr(node.value)
    return ir.Assign(site, (low.target(node.target),), value)


def _augmented_assign(low: Lowering, node: cst.AugAssign) -> ir.Statement:
    site = low.site(node)
    value = low.expr(node.value)
    return ir.AugAssign(site, _OPERATORS.get(type(node.operator), "?"), low.target(node.target), value)


def _delete(low: Lowering, node: cst.Del) -> ir.Statement:
    site = low.site(node)
    target = low.target(node.target)
    return ir.Delete(site, target.elements if type(target) is ir.Display else (target,))


def _return(low: Lowering, node: cst.Return) -> ir.Statement:
    site = low.site(node)
    return ir.Return(site, None if node.value is None else low.expr(node.value))


def _raise(low: Lowering, node: cst.Raise) -> ir.Statement:
    site = low.site(node)
    return ir.Raise(site, None if node.exc is None else low.expr(node.exc))


def _assert(low: Lowering, node: cst.Assert) -> ir.Statement:
    site = low.site(node)
    return ir.Branch(site, low.expr(node.test), (), (ir.Raise(site, None),))


def _if(low: Lowering, node: cst.If) -> ir.Statement:
    site = low.site(node)
    test = low.expr(node.test)
    body = low.suite(node.body)
    return ir.Branch(site, test, body, low.suite(node.orelse))


def _for(low: Lowering, node: cst.For) -> ir.Statement:
    site = low.site(node)
    iterable = low.expr(node.iter)
    outside, low.assigned = low.assigned, set()
    target = low.target(node.target)
    body = low.suite(node.body)
    assigned = frozenset(low.assigned)
    low.assigned = outside | assigned
    return ir.Loop(site, target, iterable, body, low.suite(node.orelse), assigned)


def _while(low: Lowering, node: cst.While) -> ir.Statement:
    site = low.site(node)
    outside, low.assigned = low.assigned, set()
    test = low.expr(node.test)
    body = low.suite(node.body)
    assigned = frozenset(low.assigned)
    low.assigned = outside | assigned
    return ir.Loop(site, None, test, body, low.suite(node.orelse), assigned)


def _with(low: Lowering, node: cst.With) -> ir.Statement:
    site = low.site(node)
    items = []
    for item in node.items:
        context = low.expr(item.item)
        items.append((context, None if item.asname is None else low.target(item.asname.name)))
    return ir.With(site, tuple(items), low.suite(node.body))


def _try(low: Lowering, node: Any) -> ir.Statement:
    site = low.site(node)
    body = low.suite(node.body)
    handlers = []
    for handler in node.handlers:
        if handler.name is not None:
            low.target(handler.name.name)
        handlers.append(low.suite(handler.body))
    return ir.Try(site, body, tuple(handlers), low.suite(node.orelse), low.suite(node.finalbody))


def _match(low: Lowering, node: cst.Match) -> ir.Statement:
    """A ``match`` becomes a chain of branches whose tests are unknown, unless a case is a plain value."""
    site = low.site(node)
    subject = low.expr(node.subject)
    arms: list[tuple[Any, ir.Block]] = []
    for case in node.cases:
        pattern = case.pattern
        if isinstance(pattern, cst.MatchValue):
            test: Any = ir.Compare(low.site(case), subject, (("==", low.expr(pattern.value)),))
        elif isinstance(pattern, cst.MatchAs) and pattern.pattern is None and case.guard is None:
            test = ir.Const(True)
        else:
            test = ir.Text(low.site(case), (subject,))
            test = ir.Compare(low.site(case), test, (("==", ir.Text(low.site(case), ())),))
        arms.append((test, low.suite(case.body)))
    chain: ir.Block = ()
    for test, body in reversed(arms):
        chain = (ir.Branch(site, test, body, chain),)
    return chain[0] if chain else ir.Evaluate(site, subject)


def _def(low: Lowering, node: cst.FunctionDef) -> ir.Statement:
    low.assigned.add(node.name.value)
    return low.function(node, node.name.value, node.params, lambda: low.suite(node.body), node.decorators)


def _class(low: Lowering, node: cst.ClassDef) -> ir.Statement:
    site = low.site(node)
    low.assigned.add(node.name.value)
    bases = tuple(low.expr(arg.value) for arg in node.bases)
    decorators = tuple(low.expr(d.decorator) for d in node.decorators)
    outside_words, outside_assigned = low.words, low.assigned
    low.words, low.assigned = set(), set()
    body = low.suite(node.body)
    words = frozenset(low.words)
    low.words, low.assigned = outside_words | words, outside_assigned
    return ir.Class(site, node.name.value, bases, body, decorators, words)


def _dotted(node: Any) -> str:
    parts: list[str] = []
    while isinstance(node, cst.Attribute):
        parts.append(node.attr.value)
        node = node.value
    if isinstance(node, cst.Name):
        parts.append(node.value)
    return ".".join(reversed(parts))


def _import(low: Lowering, node: cst.Import) -> ir.Statement:
    bindings = []
    for alias in node.names:
        module = _dotted(alias.name)
        if alias.asname is not None:
            name = alias.asname.name.value  # type: ignore[union-attr]
            bindings.append(ir.Binding(name, module, None))
        else:
            name = module.split(".")[0]
            # ``import a.b`` binds ``a`` but loads ``a.b`` too.
            bindings.append(ir.Binding(name, module, ""))
        low.assigned.add(name)
        low.words.update(module.split("."))
    return _imported(low, ir.Import(low.site(node), tuple(bindings), 0))


def _import_from(low: Lowering, node: cst.ImportFrom) -> ir.Statement:
    module = _dotted(node.module) if node.module is not None else ""
    low.words.update(module.split("."))
    bindings = []
    if isinstance(node.names, cst.ImportStar):
        bindings.append(ir.Binding("*", module, "*"))
    else:
        for alias in node.names:
            attribute = _dotted(alias.name)
            name = alias.asname.name.value if alias.asname is not None else attribute  # type: ignore[union-attr]
            bindings.append(ir.Binding(name, module, attribute))
            low.assigned.add(name)
            low.words.add(attribute)
    return _imported(low, ir.Import(low.site(node), tuple(bindings), len(node.relative)))


def _imported(low: Lowering, statement: ir.Import) -> ir.Import:
    low.imports.append(statement)
    return statement


def _outer_names(low: Lowering, node: Any) -> None:
    low.outer.update(item.name.value for item in node.names)


_STATEMENTS: dict[type, Callable[[Lowering, Any], Any]] = {
    cst.Expr: _expression_statement,
    cst.Assign: _assign,
    cst.AnnAssign: _annotated_assign,
    cst.AugAssign: _augmented_assign,
    cst.Del: _delete,
    cst.Return: _return,
    cst.Raise: _raise,
    cst.Assert: _assert,
    cst.If: _if,
    cst.For: _for,
    cst.While: _while,
    cst.With: _with,
    cst.Try: _try,
    cst.TryStar: _try,
    cst.Match: _match,
    cst.FunctionDef: _def,
    cst.ClassDef: _class,
    cst.Import: _import,
    cst.ImportFrom: _import_from,
    cst.Global: _outer_names,
    cst.Nonlocal: _outer_names,
    cst.Break: lambda low, node: ir.Break(low.site(node)),
    cst.Continue: lambda low, node: ir.Continue(low.site(node)),
}
