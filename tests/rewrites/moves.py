"""Move code about: into ``main()``, into another file, into a package."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

import libcst as cst


@dataclass(frozen=True)
class Statement:
    """A top-level statement: its text and the names that it binds and reads."""

    node: cst.SimpleStatementLine | cst.BaseCompoundStatement
    text: str
    bound: frozenset[str]
    read: frozenset[str]  # anywhere in it, functions included
    read_now: frozenset[str]  # when the statement itself runs
    written_later: frozenset[str]  # by functions that declare ``global``

    @property
    def is_import(self) -> bool:
        return isinstance(self.node, cst.SimpleStatementLine) and all(
            isinstance(small, (cst.Import, cst.ImportFrom)) for small in self.node.body
        )

    @property
    def is_definition(self) -> bool:
        return isinstance(self.node, (cst.FunctionDef, cst.ClassDef))

    @property
    def is_docstring(self) -> bool:
        return (
            isinstance(self.node, cst.SimpleStatementLine)
            and isinstance(self.node.body[0], cst.Expr)
            and (isinstance(self.node.body[0].value, (cst.SimpleString, cst.ConcatenatedString)))
        )

    @property
    def is_future(self) -> bool:
        return self.is_import and "__future__" in self.text


def statements(source: str) -> list[Statement]:
    """The top-level statements of a file, with their leading comments."""
    tree = cst.parse_module(source)
    return [_statement(tree, node) for node in tree.body]


def _statement(tree: cst.Module, node: cst.SimpleStatementLine | cst.BaseCompoundStatement) -> Statement:
    text = tree.code_for_node(node)
    top = symtable.symtable(text, "<statement>", "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    read = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    later: set[str] = set()
    written: set[str] = set()
    now = set(read)
    tables = [(child, True) for child in top.get_children()]
    while tables:
        table, immediate = tables.pop()
        immediate = immediate and table.get_type() == "class"
        names = {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
        written |= {s.get_name() for s in table.get_symbols() if s.is_declared_global() and s.is_assigned()}
        later |= names
        now |= names if immediate else set()
        tables += [(child, immediate) for child in table.get_children()]
    return Statement(node, text, *map(frozenset, (bound, read | later | written, now, written)))


def wrap_in_main(files: dict[str, str]) -> dict[str, str]:
    """Every script's flat statements go into ``main()``; what functions read of them stays global."""
    imported = _imported_modules(files)
    return {
        path: source if _module_name(path) in imported or path.endswith("__init__.py") else _wrap_file(source)
        for path, source in files.items()
    }


def _wrap_file(source: str) -> str:
    parts = statements(source)
    kept = [part for part in parts if part.is_import or part.is_definition or part.is_docstring]
    moved = [part for part in parts if part not in kept]
    if not moved or any(_is_guard(part) for part in moved) or "main" in _bound(kept):
        return source
    assigned = _bound(moved)
    if any(part.read_now & assigned for part in kept):
        return source  # a decorator, a default or a class body needs the value before main() runs
    shared = sorted(assigned & {name for part in kept for name in part.read})
    header = [f"global {', '.join(shared)}\n"] if shared else []
    body = cst.parse_module("".join([*header, *(part.text for part in moved)])).body
    main = cst.FunctionDef(
        name=cst.Name("main"),
        params=cst.Parameters(),
        body=cst.IndentedBlock(body=body),
        leading_lines=[cst.EmptyLine(), cst.EmptyLine()],
    )
    guard = 'if __name__ == "__main__":\n    main()\n'
    return "".join(part.text for part in kept) + cst.Module(body=[main]).code + "\n\n" + guard


def _is_guard(part: Statement) -> bool:
    return isinstance(part.node, cst.If) and "__name__" in part.read_now


def move_classes(files: dict[str, str]) -> dict[str, str]:
    """Every top-level class goes to a new file next to its own, and is imported back."""
    moved: dict[str, str] = {}
    for path, source in files.items():
        parts = statements(source)
        classes = [part for part in parts if isinstance(part.node, cst.ClassDef)]
        taken = _movable(parts, classes)
        if path.endswith("__init__.py") or not taken:
            moved[path] = source
            continue
        other = str(PurePosixPath(path).with_name(f"{PurePosixPath(path).stem}_parts.py"))
        moved[path] = _without(parts, taken, _import_back(path, other, files, _bound(taken)))
        moved[other] = _file_of(parts, taken, "")
    return moved


def split_into_package(files: dict[str, str]) -> dict[str, str]:
    """The main script becomes a package of one file a definition with re-exports, and a script with the rest."""
    path = next((p for p in ("train.py", "main.py", *files) if p in files and "/" not in p), None)
    if path is None or any(name.startswith("pkg/") for name in files):
        return files
    parts = statements(files[path])
    taken = _movable(parts, [part for part in parts if part.is_definition])
    if not taken:
        return files
    groups = _cycles_together(taken)
    home = {name: f"part{number}" for number, group in enumerate(groups, 1) for p in group for name in p.bound}
    result = dict(files)
    for number, group in enumerate(groups, 1):
        needed = sorted({name for p in group for name in p.read if home.get(name, f"part{number}") != f"part{number}"})
        siblings = "".join(f"from .{home[name]} import {name}\n" for name in needed)
        result[f"pkg/part{number}.py"] = _file_of(parts, group, siblings)
    names = sorted(_bound(taken))
    result["pkg/__init__.py"] = "".join(f"from .{home[name]} import {name}\n" for name in names)
    result[path] = _without(parts, taken, f"from pkg import {', '.join(names)}\n")
    return result


def _movable(parts: list[Statement], wanted: list[Statement]) -> list[Statement]:
    """The wanted definitions and what they need, in file order; leaves out what hangs on the script's state."""
    binders: dict[str, list[Statement]] = {}
    for part in parts:
        for name in part.bound | part.written_later:
            binders.setdefault(name, []).append(part)

    def closure(start: Statement) -> list[Statement] | None:
        found, queue = [start], [start]
        while queue:
            for name in queue.pop().read:
                for binder in binders.get(name, ()):
                    if binder.is_import or binder in found:
                        continue
                    if len(binders[name]) > 1 or not (binder.is_definition or _is_constant(binder)):
                        return None
                    found.append(binder)
                    queue.append(binder)
        return None if any(part.written_later for part in found) else found

    chosen = {id(part) for start in wanted for part in closure(start) or ()}
    return [part for part in parts if id(part) in chosen]


def _is_constant(part: Statement) -> bool:
    """A plain assignment that does nothing but build a value of literals and names."""
    if not isinstance(part.node, cst.SimpleStatementLine) or len(part.node.body) != 1:
        return False
    if not isinstance(part.node.body[0], (cst.Assign, cst.AnnAssign)):
        return False
    return not any(isinstance(node, (ast.Call, ast.Await)) for node in ast.walk(ast.parse(part.text)))


def _cycles_together(taken: list[Statement]) -> list[list[Statement]]:
    """Definitions grouped so that no two groups need each other."""
    owner = {name: part for part in taken for name in part.bound}
    needs = {id(part): {id(owner[name]) for name in part.read & owner.keys()} for part in taken}
    reach: dict[int, set[int]] = {}
    for part in taken:
        seen: set[int] = set()
        queue = [id(part)]
        while queue:
            new = needs[queue.pop()] - seen
            seen |= new
            queue += new
        reach[id(part)] = seen
    groups: list[list[Statement]] = []
    for part in taken:
        together = next((g for g in groups if id(part) in reach[id(g[0])] and id(g[0]) in reach[id(part)]), None)
        if together is None:
            groups.append([part])
        else:
            together.append(part)
    return groups


def _file_of(parts: list[Statement], taken: list[Statement], siblings: str) -> str:
    """A new file with the taken statements and the imports that they need."""
    read = {name for part in taken for name in part.read}
    imports = [part.text for part in parts if part.is_import and (part.is_future or part.bound & read)]
    imports = [text.lstrip("\n") for text in imports]
    return "".join(imports) + siblings + "\n\n" + "".join(part.text for part in taken).lstrip("\n")


def _without(parts: list[Statement], taken: list[Statement], import_back: str) -> str:
    """The rest of a file; the import of what was taken stands where the first of it stood."""
    texts: list[str] = []
    first = True
    for part in parts:
        if part not in taken:
            texts.append(part.text)
        elif first:
            texts.append(import_back)
            first = False
    return "".join(texts)


def _import_back(path: str, other: str, files: dict[str, str], names: set[str]) -> str:
    """``from other import names`` in the way that this file's folder is imported."""
    folder = PurePosixPath(path).parent
    relative = str(folder) != "." and (
        str(folder / "__init__.py") in files
        or any(f"{folder}".replace("/", ".") + "." in source for source in files.values())
    )
    return f"from {'.' if relative else ''}{PurePosixPath(other).stem} import {', '.join(sorted(names))}\n"


def _bound(parts: Iterable[Statement]) -> set[str]:
    return {name for part in parts for name in part.bound}


def _module_name(path: str) -> str:
    return PurePosixPath(path).stem


def _imported_modules(files: dict[str, str]) -> set[str]:
    """Last names of everything imported, enough to tell scripts from modules."""
    found: set[str] = set()
    for source in files.values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[-1] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {(node.module or "").split(".")[-1], *(alias.name for alias in node.names)}
    return found
