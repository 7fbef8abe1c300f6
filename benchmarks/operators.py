"""Mutation operators: small, realistic mistakes put into a script through its syntax tree.

An operator is made of the text that it looks for and gives the changed tree; it raises
:class:`NotApplied` when the text is not there, so that a seed can never silently change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import libcst as cst

Operator = Callable[[cst.Module], cst.Module]
_Block = cst.Module | cst.IndentedBlock


class NotApplied(Exception):
    """The text that the operator looks for is not in the file."""


def delete(text: str, nth: int | None = None) -> Operator:
    """Delete the simple statements that hold ``text``; with ``nth``, only that one (from 0)."""

    def apply(tree: cst.Module) -> cst.Module:
        return _changed(tree, _Delete(text, nth))

    return apply


def move(text: str, *, before: str | None = None, after: str | None = None) -> Operator:
    """Move the statement that holds ``text`` before or after another statement of the same block."""

    def apply(tree: cst.Module) -> cst.Module:
        return _changed(tree, _Move(text, before, after))

    return apply


def replace(old: str, new: str, *, within: str = "", nth: int = 0) -> Operator:
    """Replace an expression or argument, given by its text, in a simple statement that holds ``within``.

    ``nth`` counts the places where it fits. An empty ``new`` removes an argument or a list
    element; in place of a keyword argument it may hold several.
    """

    def apply(tree: cst.Module) -> cst.Module:
        return _changed(tree, _Replace(old, new, within or old, nth))

    return apply


def wrap(expression: str, template: str, *, within: str, nth: int = 0) -> Operator:
    """Put an expression into a call: ``template`` holds ``{}`` for it."""
    return replace(expression, template.format(expression), within=within, nth=nth)


def insert(statement: str, *, after: str) -> Operator:
    """Insert a statement after the first simple statement that holds ``after``."""

    def apply(tree: cst.Module) -> cst.Module:
        return _changed(tree, _Insert(statement, after))

    return apply


def unwrap(context: str, nth: int = 0) -> Operator:
    """Take a ``with`` statement away, by the text of what it enters, and keep its body."""

    def apply(tree: cst.Module) -> cst.Module:
        return _changed(tree, _Unwrap(context, nth))

    return apply


def under(context: str, text: str) -> Operator:
    """Put the first simple statement that holds ``text`` under ``with context:``."""

    def apply(tree: cst.Module) -> cst.Module:
        return _changed(tree, _Under(context, text))

    return apply


def undecorate(decorator: str) -> Operator:
    """Remove a decorator, by its text without the at sign."""

    def apply(tree: cst.Module) -> cst.Module:
        return _changed(tree, _Undecorate(decorator))

    return apply


def both(*operators: Operator) -> Operator:
    """Several operators in turn, for one mistake that shows in several places."""

    def apply(tree: cst.Module) -> cst.Module:
        for operator in operators:
            tree = operator(tree)
        return tree

    return apply


def mutate(source: str, operator: Operator) -> str:
    """The mutated source."""
    return operator(cst.parse_module(source)).code


def _changed(tree: cst.Module, transformer: _Transformer) -> cst.Module:
    result = tree.visit(transformer)
    if not transformer.done:
        raise NotApplied(transformer.text)
    return result


def _code(node: cst.CSTNode) -> str:
    """The text of a node without leading comments."""
    if isinstance(node, cst.SimpleStatementLine):
        node = node.with_changes(leading_lines=[], trailing_whitespace=cst.TrailingWhitespace())
    return cst.Module([]).code_for_node(node)


class _Transformer(cst.CSTTransformer):
    """Counts in ``done`` what it changed; ``text`` is what it looks for."""

    text: str
    done: int


class _Statements(_Transformer):
    """Changes the first statement line that holds ``text``, in whatever block it stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.done = 0

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        if self.done or self.text not in _code(original_node):
            return updated_node
        self.done += 1
        return self.changed(updated_node)

    def changed(self, line: cst.SimpleStatementLine) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        raise NotImplementedError


class _Insert(_Statements):
    def __init__(self, statement: str, after: str) -> None:
        super().__init__(after)
        self.statement = statement

    def changed(self, line: cst.SimpleStatementLine) -> cst.FlattenSentinel[cst.BaseStatement]:
        return cst.FlattenSentinel([line, cst.parse_statement(self.statement)])


class _Under(_Statements):
    def __init__(self, context: str, text: str) -> None:
        super().__init__(text)
        self.context = context

    def changed(self, line: cst.SimpleStatementLine) -> cst.BaseStatement:
        outer = cst.ensure_type(cst.parse_statement(f"with {self.context}:\n    pass\n"), cst.With)
        return outer.with_changes(body=cst.IndentedBlock([line]))


class _Unwrap(_Transformer):
    def __init__(self, context: str, nth: int) -> None:
        self.text = context
        self.nth = nth
        self.seen = 0
        self.done = 0

    def leave_With(
        self, original_node: cst.With, updated_node: cst.With
    ) -> cst.With | cst.FlattenSentinel[cst.BaseStatement]:
        block = updated_node.body
        entered = [_code(item.item) for item in original_node.items]
        if entered != [self.text] or not isinstance(block, cst.IndentedBlock):
            return updated_node
        self.seen += 1
        if self.seen - 1 != self.nth:
            return updated_node
        self.done += 1
        return cst.FlattenSentinel(block.body)


class _Undecorate(_Transformer):
    def __init__(self, decorator: str) -> None:
        self.text = decorator
        self.done = 0

    def leave_Decorator(
        self, original_node: cst.Decorator, updated_node: cst.Decorator
    ) -> cst.Decorator | cst.RemovalSentinel:
        if _code(original_node.decorator) != self.text:
            return updated_node
        self.done += 1
        return cst.RemoveFromParent()


class _Delete(_Transformer):
    def __init__(self, text: str, nth: int | None) -> None:
        self.text = text
        self.nth = nth
        self.seen = 0
        self.done = 0

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        body = self._without(updated_node.body) or [cst.parse_statement("pass\n")]
        return updated_node.with_changes(body=body)

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        return updated_node.with_changes(body=self._without(updated_node.body))

    def _without(self, body: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
        kept: list[cst.BaseStatement] = []
        for statement in body:
            if not isinstance(statement, cst.SimpleStatementLine):
                kept.append(statement)
                continue
            smalls = [small for small in statement.body if not self._matches(small)]
            if len(smalls) == len(statement.body):
                kept.append(statement)
            elif smalls:
                smalls[-1] = smalls[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
                kept.append(statement.with_changes(body=smalls))
        return kept

    def _matches(self, small: cst.BaseSmallStatement) -> bool:
        if self.text not in _code(small):
            return False
        self.seen += 1
        hit = self.nth is None or self.seen - 1 == self.nth
        self.done += hit
        return hit


class _Move(_Transformer):
    def __init__(self, text: str, before: str | None, after: str | None) -> None:
        self.text = text
        self.target = before or after or ""
        self.ahead = before is not None
        self.done = 0

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        return updated_node.with_changes(body=self._moved(updated_node))

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        return updated_node.with_changes(body=self._moved(updated_node))

    def _moved(self, block: _Block) -> Sequence[cst.BaseStatement]:
        body = list(block.body)
        if self.done:
            return body
        texts = [_code(statement) for statement in body]
        moved = next((i for i, text in enumerate(texts) if self.text in text and self.target not in text), None)
        if moved is None:
            return body
        others = (i for i, text in enumerate(texts) if self.target in text and i != moved)
        other = next(others, None)
        if other is None:
            return body
        self.done += 1
        statement = body.pop(moved)
        other -= other > moved
        body.insert(other if self.ahead else other + 1, statement)
        return body


class _Replace(_Transformer):
    def __init__(self, old: str, new: str, within: str, nth: int) -> None:
        self.text = old
        self.new = new
        self.within = within
        self.nth = nth
        self.seen = 0
        self.done = 0
        self.inside = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.BaseSmallStatement) and self.within in _code(node):
            self.inside += 1
        return super().on_visit(node)

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT):  # type: ignore[no-untyped-def]
        result = super().on_leave(original_node, updated_node)
        hit = self.inside and self._fits(original_node)
        if isinstance(original_node, cst.BaseSmallStatement) and self.within in _code(original_node):
            self.inside -= 1
        if not hit:
            return result
        self.seen += 1
        if self.seen - 1 != self.nth:
            return result
        self.done += 1
        if not self.new:
            return cst.RemoveFromParent()
        if isinstance(original_node, cst.Arg):
            return cst.FlattenSentinel(cst.ensure_type(cst.parse_expression(f"f({self.new})"), cst.Call).args)
        return cst.parse_expression(self.new)

    def _fits(self, node: cst.CSTNode) -> bool:
        removable = isinstance(node, (cst.Arg, cst.Element)) and (not self.new or "=" in self.text.split("(")[0])
        if not (removable or (isinstance(node, cst.BaseExpression) and self.new)):
            return False
        if isinstance(node, (cst.Arg, cst.Element)):
            node = node.with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return _normal(_code(node)) == _normal(self.text)


def _normal(text: str) -> str:
    return "".join(text.split())
