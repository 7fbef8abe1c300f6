"""Linking: files become modules that import each other, and the interpreter is sent over them in order."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial

from . import ir
from .interpret import MAX_STEPS, Abandoned, Interpreter
from .knowledge import modules
from .result import Problem
from .scopes import ModuleScope
from .values import Class, Function, Space, Value

_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]*(\(?[^#\n]*)|import[ \t]+([\w., \t]+))", re.MULTILINE
)
SOURCE_FOLDERS = ("src", "lib", "python")
STEPS_PER_LINE = 0.6
MIN_STEPS = 60_000
MIN_SHARE = 4_000
SHARES = 4
"""How many statements and calls all roots may run together, and one module at least: the cost stays in proportion
to the parse (a step costs about as much as parsing a third of a line), whatever the shape of the call graph."""


class Files:
    """The project's files by path, and which of them an import names."""

    def __init__(self, root: str, paths: Iterable[str]) -> None:
        self.root = root
        self.paths = frozenset(paths)
        self._cache: dict[tuple[str, str, int], str | None] = {}

    def resolve(self, importer: str, module: str, level: int) -> str | None:
        """The file that ``import module`` (with ``level`` dots) means inside ``importer``; None outside the project."""
        folder = os.path.dirname(importer)
        key = (folder, module, level)
        if key not in self._cache:
            self._cache[key] = self._resolve(folder, module, level)
        return self._cache[key]

    def _resolve(self, folder: str, module: str, level: int) -> str | None:
        if level:
            for _ in range(level - 1):
                folder = os.path.dirname(folder)
            return self._in(folder, module)
        for base in self._search_path(folder):
            found = self._in(base, module)
            if found is not None:
                return found
        return None

    def _search_path(self, folder: str) -> Iterator[str]:
        """The script's own folder first, then every folder above it, each with its usual source folders."""
        while folder.startswith(self.root):
            yield folder
            for name in SOURCE_FOLDERS:
                yield os.path.join(folder, name)
            parent = os.path.dirname(folder)
            if parent == folder:
                return
            folder = parent

    def _in(self, folder: str, module: str) -> str | None:
        stem = os.path.join(folder, *module.split(".")) if module else folder
        for candidate in (stem + ".py", os.path.join(stem, "__init__.py")):
            if candidate in self.paths:
                return candidate
        return None

    def imported(self, path: str, raw: bytes) -> set[str]:
        """Files of the project that ``path`` imports, read off its bytes without parsing."""
        found: set[str] = set()
        for source, names, plain in _IMPORT.findall(raw):
            if plain:
                modules = [part.split()[0].decode() for part in plain.split(b",") if part.split()]
                found.update(f for m in modules if (f := self.resolve(path, m, 0)))
                continue
            dotted = source.decode()
            module = dotted.lstrip(".")
            level = len(dotted) - len(module)
            if target := self.resolve(path, module, level):
                found.add(target)
            for name in re.findall(rb"\w+", names):
                if submodule := self.resolve(path, f"{module}.{name.decode()}".strip("."), level):
                    found.add(submodule)
        return found


class Linker:
    """Runs the interpreter over every module, then over the functions and classes that nothing reached."""

    def __init__(self, files: Files, irs: dict[str, ir.FileIR], triggers: Collection[str]) -> None:
        self.files = files
        self.triggers = frozenset(triggers)
        self.scopes = {path: ModuleScope(file.filename, path, file) for path, file in irs.items()}
        self.interpreter = Interpreter(Space(), self._scope)
        self.interpreter.files = list(irs.values())
        self.problems: list[Problem] = []

    def _scope(self, importer: ModuleScope, module: str, level: int) -> ModuleScope | None:
        path = self.files.resolve(importer.path, module, level)
        return None if path is None or path == importer.path else self.scopes.get(path)

    def run(self) -> Interpreter:
        """Interpret the whole project."""
        lines = sum(scope.ir.lines for scope in self.scopes.values())
        self.interpreter.budget = max(MIN_STEPS, int(lines * STEPS_PER_LINE))
        ordered = self._ordered()
        for scope in ordered:
            needed = (self.scopes[path].filename for path in self._dependencies(scope.path))
            self.interpreter.imports[scope.filename] = tuple(needed)
        for index, scope in enumerate(ordered):
            # Most modules only define things: a script may use several shares.
            share = SHARES * self.interpreter.budget // (len(ordered) - index)
            self.interpreter.limit = min(max(share, MIN_SHARE), MAX_STEPS)
            self._guarded(scope, partial(self.interpreter.run_module, scope))
        self.interpreter.budget = max(self.interpreter.budget, int(lines * STEPS_PER_LINE) // 2)
        for scope, name, value in self._roots():
            if self.interpreter.budget <= 0:
                break
            self._guarded(scope, partial(self._run_root, scope, name, value))
        self._run_constructors()
        return self.interpreter

    def _run_root(self, scope: ModuleScope, name: str, value: Function | Class) -> None:
        if isinstance(value, Function):
            if id(value.definition) not in self.interpreter.reached:
                self.interpreter.run_function(value, name)
        elif self._unreached(scope, value):
            self.interpreter.run_class(value, partial(self._relevant_method, scope))

    def _guarded(self, scope: ModuleScope, body: Callable[[], None]) -> None:
        """A file on which the interpreter fails is a problem; the others are still scanned."""
        mark = self.interpreter.state.mark()
        try:
            body()
        except Abandoned:
            self.interpreter.state.undo(mark)
        except Exception as error:
            self.interpreter.state.undo(mark)
            text = f"nnaudit failed on this file ({type(error).__name__}: {error}); please report it"
            self.problems.append(Problem(scope.filename, text))

    def _run_constructors(self) -> None:
        """Module classes whose constructor makes lists: what an attribute holds before others touch the instance."""
        for scope in self._in_order():
            for _, value in self._definitions(scope):
                if self.interpreter.budget <= 0:
                    return
                if not isinstance(value, Class):
                    continue
                init = value.attributes.get("__init__")
                if type(init) is not Function or ir.HOLDS_CONTAINER not in init.definition.words:
                    continue
                if _is_module_class(value):
                    self._guarded(scope, partial(self.interpreter.run_class, value, _none))

    def _ordered(self) -> list[ModuleScope]:
        """Modules so that what a module imports comes first; inside a cycle, in the order of names."""
        ordered: list[ModuleScope] = []
        seen: set[str] = set()
        for start in sorted(self.scopes):
            stack: list[tuple[str, Iterator[str]]] = []
            if start not in seen:
                seen.add(start)
                stack.append((start, iter(self._dependencies(start))))
            while stack:
                path, rest = stack[-1]
                following = next((p for p in rest if p not in seen), None)
                if following is None:
                    ordered.append(self.scopes[path])
                    stack.pop()
                else:
                    seen.add(following)
                    stack.append((following, iter(self._dependencies(following))))
        return ordered

    def _dependencies(self, path: str) -> list[str]:
        found: dict[str, None] = {}
        for statement in self.scopes[path].ir.imports:
            for binding in statement.bindings:
                names = [binding.module]
                if binding.attribute not in (None, "", "*"):
                    names.append(f"{binding.module}.{binding.attribute}".strip("."))
                for name in names:
                    target = self.files.resolve(path, name, statement.level)
                    if target is not None and target in self.scopes:
                        found[target] = None
        return list(found)

    # ------------------------------------------------------------------ roots

    def _roots(self) -> list[tuple[ModuleScope, str, Function | Class]]:
        """Relevant functions and classes, those that nobody refers to first."""
        candidates = [(scope, name, value) for scope in self._in_order() for name, value in self._definitions(scope)]
        names = {scope.path: self._visible(scope) for scope in self.scopes.values()}
        self._relevant = self._relevance(candidates, names)
        self._names = names
        relevant = [c for c in candidates if id(c[2].definition) in self._relevant]
        referred: set[int] = set()
        for scope, _, value in relevant:
            visible = names[scope.path]
            for word in value.definition.words & visible.keys():
                if visible[word] != id(value.definition):
                    referred.add(visible[word])
        return sorted(relevant, key=lambda c: (self._rank(c[2]), id(c[2].definition) in referred))

    def _rank(self, value: Function | Class) -> int:
        """Training code is run first: the budget may not reach everything."""
        words = value.definition.words
        return 0 if "backward" in words else 1 if words & self.triggers else 2

    def _in_order(self) -> Sequence[ModuleScope]:
        return [self.scopes[path] for path in sorted(self.scopes)]

    def _definitions(self, scope: ModuleScope) -> Iterator[tuple[str, Function | Class]]:
        """Functions and classes defined at the top level of a module."""
        state = self.interpreter.state
        for statement in _definitions_in(scope.ir.body):
            value = state.get(scope.frame, statement.name)
            if isinstance(value, (Function, Class)) and value.definition is statement:
                yield statement.name, value

    def _visible(self, scope: ModuleScope) -> dict[str, int]:
        """Names of a module that mean project functions or classes -> ``id`` of the definition."""
        out = {}
        for word in scope.ir.words:
            value = self.interpreter.state.get(scope.frame, word)
            if isinstance(value, (Function, Class)):
                out[word] = id(value.definition)
        return out

    def _relevance(
        self, candidates: Sequence[tuple[ModuleScope, str, Function | Class]], names: dict[str, dict[str, int]]
    ) -> set[int]:
        """Definitions whose text, or the text of what it names, holds a trigger of some rule."""
        relevant = {id(value.definition) for _, _, value in candidates if value.definition.words & self.triggers}
        waiting = [c for c in candidates if id(c[2].definition) not in relevant]
        while True:
            found = [
                c
                for c in waiting
                if any(names[c[0].path][w] in relevant for w in c[2].definition.words & names[c[0].path].keys())
            ]
            if not found:
                return relevant
            relevant.update(id(c[2].definition) for c in found)
            waiting = [c for c in waiting if id(c[2].definition) not in relevant]

    def _unreached(self, scope: ModuleScope, cls: Class) -> bool:
        """Whether making an instance would show anything new."""
        methods = [v for v in cls.attributes.values() if type(v) is Function]
        unreached = [m for m in methods if id(m.definition) not in self.interpreter.reached]
        return any(m.definition.name == "__init__" or self._relevant_method(scope, m) for m in unreached)

    def _relevant_method(self, scope: ModuleScope, method: Function) -> bool:
        words = method.definition.words
        if words & self.triggers or method.definition.name in ("forward", "backward"):
            return True
        visible = self._names[scope.path]
        if any(visible[w] in self._relevant for w in words & visible.keys()):
            return True
        siblings = method.owner.attributes if method.owner is not None else {}
        return any(
            type(other := siblings[w]) is Function and bool(other.definition.words & self.triggers)
            for w in words & siblings.keys()
        )


def _none(method: Function) -> bool:
    return False


def _is_module_class(value: Value) -> bool:
    return type(value) is Class and any(modules.is_module_class(base) for base in value.library_bases)


def _definitions_in(block: ir.Block) -> Iterator[ir.Def | ir.Class]:
    for statement in block:
        if isinstance(statement, (ir.Def, ir.Class)):
            yield statement
        elif isinstance(statement, ir.Branch):
            yield from _definitions_in(statement.body)
            yield from _definitions_in(statement.orelse)
        elif isinstance(statement, ir.Try):
            yield from _definitions_in(statement.body)
