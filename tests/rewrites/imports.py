"""Import the same things under other names and in other forms, and follow every use."""

from __future__ import annotations

import libcst as cst
from libcst import metadata
from libcst.helpers import get_full_name_for_node


def alias_imports(files: dict[str, str]) -> dict[str, str]:
    """The project with its imports aliased; ``__init__.py`` keeps the names that others import from it."""
    return {
        path: source if path.endswith("__init__.py") else _alias_file(source, _exported(path, files))
        for path, source in files.items()
    }


def _exported(path: str, files: dict[str, str]) -> set[str]:
    """Names that other files import from this one, which may be imported names themselves."""
    module = path.removesuffix(".py").split("/")[-1]
    exported: set[str] = set()
    for other, source in files.items():
        if other == path:
            continue
        for statement in _import_froms(cst.parse_module(source)):
            if statement.module is not None and (get_full_name_for_node(statement.module) or "").endswith(module):
                if isinstance(statement.names, cst.ImportStar):
                    return {"*"}
                exported |= {alias.evaluated_name for alias in statement.names}
    return exported


def _import_froms(tree: cst.Module) -> list[cst.ImportFrom]:
    return [
        small
        for line in tree.body
        if isinstance(line, cst.SimpleStatementLine)
        for small in line.body
        if isinstance(small, cst.ImportFrom)
    ]


def _alias_file(source: str, exported: set[str]) -> str:
    wrapper = metadata.MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    scopes = wrapper.resolve(metadata.ScopeProvider)
    scope = scopes[wrapper.module.body[0]] if wrapper.module.body else None
    if not isinstance(scope, metadata.GlobalScope) or "*" in exported:
        return source
    plan = _Plan(scope, exported)
    for line in wrapper.module.body:
        if isinstance(line, cst.SimpleStatementLine):
            plan.replace_line(line)
    return wrapper.module.visit(_Replacer(plan)).code


class _Plan:
    """Which nodes to replace by what."""

    def __init__(self, scope: metadata.GlobalScope, exported: set[str]) -> None:
        self.scope = scope
        self.exported = exported
        self.uses: dict[cst.CSTNode, cst.BaseExpression] = {}
        self.lines: dict[cst.CSTNode, list[cst.BaseSmallStatement]] = {}
        self.count = 0

    def replace_line(self, line: cst.SimpleStatementLine) -> None:
        """Plan new imports in place of the imports of one line."""
        new: list[cst.BaseSmallStatement] = []
        for small in line.body:
            if isinstance(small, cst.Import):
                new += [self._import(alias) for alias in small.names]
            elif isinstance(small, cst.ImportFrom) and not isinstance(small.names, cst.ImportStar):
                new += [self._import_from(small, alias) for alias in small.names]
            else:
                return
        if new:
            self.lines[line] = new

    def _import(self, alias: cst.ImportAlias) -> cst.BaseSmallStatement:
        """``import a.b as c`` becomes ``from a import b as q``; ``import a`` becomes ``import a as q``."""
        dotted = alias.evaluated_name
        bound = alias.evaluated_alias or dotted
        fresh = self._follow(bound, attribute=None) if "." not in bound else None
        if fresh is None:
            return _statement(f"import {dotted}" + (f" as {alias.evaluated_alias}" if alias.evaluated_alias else ""))
        package, _, last = dotted.rpartition(".")
        return _statement(f"from {package} import {last} as {fresh}" if package else f"import {dotted} as {fresh}")

    def _import_from(self, statement: cst.ImportFrom, alias: cst.ImportAlias) -> cst.BaseSmallStatement:
        """``from a.b import C`` becomes ``import a.b as q`` with ``q.C``; other names get an alias."""
        module = "." * len(statement.relative) + (get_full_name_for_node(statement.module) if statement.module else "")
        name, bound = alias.evaluated_name, alias.evaluated_alias or alias.evaluated_name
        is_class = name[:1].isupper() and not module.startswith((".", "__"))
        fresh = self._follow(bound, attribute=name if is_class else None) if module != "__future__" else None
        if fresh is None:
            return _statement(f"from {module} import {name}" + (f" as {bound}" if bound != name else ""))
        return _statement(f"import {module} as {fresh}" if is_class else f"from {module} import {name} as {fresh}")

    def _follow(self, bound: str, attribute: str | None) -> str | None:
        """Plan new texts for all uses of ``bound``; None when it is bound twice or used elsewhere."""
        assignments = list(self.scope.assignments[bound])
        if len(assignments) != 1 or bound in self.exported:
            return None
        self.count += 1
        fresh = f"q{self.count}_"
        for access in self.scope.accesses[bound]:
            if not isinstance(access.node, (cst.Name, cst.Attribute)):
                return None
        for access in assignments[0].references:
            node = access.node
            while isinstance(node, cst.Attribute):
                node = node.value
            parts = (fresh, attribute) if attribute else (fresh,)
            self.uses[node] = cst.parse_expression(".".join(parts))
        return fresh


def _statement(text: str) -> cst.BaseSmallStatement:
    line = cst.parse_statement(text)
    assert isinstance(line, cst.SimpleStatementLine)
    return line.body[0]


class _Replacer(cst.CSTTransformer):
    def __init__(self, plan: _Plan) -> None:
        self.plan = plan

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        return self.plan.uses.get(original_node, updated_node)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.SimpleStatementLine]:
        new = self.plan.lines.get(original_node)
        if new is None:
            return updated_node
        first = updated_node.with_changes(body=[new[0]])
        return cst.FlattenSentinel([first, *(cst.SimpleStatementLine(body=[small]) for small in new[1:])])
