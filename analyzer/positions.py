"""Sites -> lines. Only files that have findings are lowered again, and only wanted positions are kept.

libcst knows positions only while it generates code, which costs a third of a parse; computing them
for every node (``PositionProvider``) would cost two to four parses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import libcst as cst
from libcst._nodes.internal import CodegenState
from libcst._nodes.module import Module as _Module

from ..rules.finding import Location, Place
from .load import on_deep_stack
from .lower import Lowering, parse
from .source import Source

_COMPOUND = (cst.If, cst.For, cst.While, cst.With, cst.Try, cst.TryStar, cst.Match, cst.FunctionDef, cst.ClassDef)


class _Recorder(CodegenState):
    """Generates code and notes where wanted nodes begin and end."""

    def __init__(self, module: cst.Module, wanted: set[int]) -> None:
        super().__init__(default_indent=module.default_indent, default_newline=module.default_newline)
        self.wanted = wanted
        self.row = 1
        self.column = 1
        self.starts: dict[int, tuple[int, int]] = {}
        self.found: dict[int, tuple[tuple[int, int], tuple[int, int]]] = {}

    def add_token(self, value: str) -> None:
        super().add_token(value)
        self._advance(value)

    def add_indent_tokens(self) -> None:
        super().add_indent_tokens()
        for token in self.indent_tokens:
            self._advance(token)

    def _advance(self, value: str) -> None:
        breaks = value.count("\n")
        if breaks:
            self.row += breaks
            self.column = len(value) - value.rfind("\n")
        else:
            self.column += len(value)

    def before_codegen(self, node: Any) -> None:
        if id(node) in self.wanted:
            self.starts[id(node)] = (self.row, self.column)

    def after_codegen(self, node: Any) -> None:
        if id(node) in self.wanted and id(node) not in self.found:
            self.found[id(node)] = (self.starts[id(node)], (self.row, self.column))

    def record_syntactic_position(self, node: Any, *, start_node: Any = None, end_node: Any = None) -> Any:
        return _Span(self, node, start_node, end_node)


class _Span:
    """libcst's context for the part of a node without surrounding space and parentheses."""

    def __init__(self, state: _Recorder, node: Any, start_node: Any, end_node: Any) -> None:
        self.state, self.node = state, node
        self.start_node, self.end_node = start_node, end_node

    def __enter__(self) -> None:
        state = self.state
        if id(self.node) in state.wanted:
            self.start = (state.row, state.column)
            for other in (self.start_node, self.end_node):
                if other is not None:
                    state.wanted.add(id(other))

    def __exit__(self, *exc: object) -> None:
        state = self.state
        if id(self.node) in state.wanted:
            found = state.found
            start = found[id(self.start_node)][0] if id(self.start_node) in found else self.start
            end = found[id(self.end_node)][1] if id(self.end_node) in found else (state.row, state.column)
            found[id(self.node)] = (start, end)


def locate(source: Source, numbers: Iterable[int]) -> dict[int, Place]:
    """The places of the nodes with these site numbers in one file."""
    return on_deep_stack(lambda: _locate(source, set(numbers)))


def _locate(source: Source, numbers: set[int]) -> dict[int, Place]:
    module = parse(source.text)
    lowering = Lowering(record=True)
    lowering.file(module, source.filename, 0)
    nodes = {n: (lowering.nodes or [])[n] for n in numbers}
    recorder = _Recorder(module, {id(node) for node in nodes.values()})
    _Module._codegen(module, recorder)
    return {number: _place(source, node, recorder) for number, node in nodes.items()}


def _place(source: Source, node: cst.CSTNode, recorder: _Recorder) -> Place:
    (row, column), (end_row, end_column) = recorder.found[id(node)]
    if isinstance(node, _COMPOUND):
        # Point to the header: a whole loop or class is no line.
        end_row, end_column = row, column + len(source.text.split("\n")[row - 1][column - 1 :].rstrip())
    cell, first = source.place(row)
    _, last = source.place(end_row)
    return Place(source.filename, Location(first, column), Location(last, end_column), cell)
