"""The rewrite that must silence: just before a marked statement, hand what it uses to a call that nobody can read.

``mystery`` comes from a package that is not part of the project. It could call ``eval()`` on the model,
shuffle the data or clear the gradients, so a finding about those objects no longer rests on known facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import libcst as cst
from libcst import matchers as m
from libcst import metadata

from nnaudit.rules.rule import FINDING_MARK


class Where(Enum):
    """Which objects are handed over, and on which side of the marked statement."""

    ARGUMENTS = "every argument of the marked call, computed first, then the objects named in it; before"
    SCOPE = "every object that the enclosing function has so far; before"
    AROUND = "every object that the enclosing function has so far; before and after"
    AFTER = "every object that the enclosing function has so far; after"


# Rule -> where its objects are handed over, and why not simply before the statement.
SILENCING: dict[str, tuple[Where, str]] = {
    "NN111": (Where.AFTER, "the layer does not exist before; afterwards the model can get another head"),
    "NN114": (Where.AFTER, "the generator does not exist before; afterwards the workers can be given others"),
    "NN116": (Where.SCOPE, "the number is measured before; only the data behind it can make it harmless"),
    "NN201": (Where.AFTER, "what was fitted stays fitted; only a change of the data before the split can repair it"),
    "NN203": (Where.AROUND, "the pipeline is inside the data set; afterwards its transform can be replaced"),
    "NN206": (Where.AFTER, "pipeline and tokenizer are made in the marked statement; they can be replaced afterwards"),
    "NN207": (Where.AFTER, "the steps are made in the marked statement; a change of them afterwards can repair it"),
    "NN208": (Where.AFTER, "as for NN207"),
    "NN401": (Where.AFTER, "the optimizer does not exist before; afterwards add_param_group() can repair it"),
    "NN404": (Where.AFTER, "the layer does not exist before; afterwards its owner can call it"),
    "NN402": (Where.AFTER, "the fresh list is not registered before; afterwards its owner can register it"),
    "NN419": (Where.SCOPE, "the network is run in the arguments of the marked call"),
    "NN502": (Where.AROUND, "the mark may stand at eval(); train() can follow it"),
    "NN505": (Where.SCOPE, "the optimizer is not named in the marked statement"),
    "NN506": (Where.SCOPE, "the optimizer is not named in the marked statement"),
    "NN507": (Where.AROUND, "the mark may stand at the creation of the scheduler or before the optimizer's step"),
    "NN508": (Where.AROUND, "backward can be called before the clip, and the gradients can be clipped after it"),
    "NN510": (Where.SCOPE, "the optimizer is not named in the marked statement"),
    "NN603": (Where.SCOPE, "what is clipped is not named in the marked statement"),
    "NN605": (Where.AFTER, "the optimizer does not exist before"),
    "NN802": (Where.AFTER, "the sampler does not exist before; afterwards set_epoch() can be called on it"),
    "NN806": (Where.AFTER, "the sampler does not exist before; afterwards it can be given all the data"),
}
DEFAULT = (Where.ARGUMENTS, "")

# Rule -> why nothing that unseen code does to the objects can make its finding wrong.
FIXED: dict[str, str] = {
    "NN113": "one field is rearranged alone, whatever was done to the fields before",
    "NN515": "a state is live, whatever was done to the model; it cannot be copied in place",
    "NN609": "code that is handed the model alone cannot give its new layer to the optimizer",
    "NN702": "what is handed over at the marked line has been computed before",
    "NN804": "advice: a call that cannot be seen is taken for a seed only if its name says so",
    "NN805": "what a file may do when it is loaded does not depend on anything else",
    "NN516": "a statement that calls nothing does nothing, whatever was done before or after",
    "NN312": "how softmax is called stands in the text",
    "NN410": "how many values are returned stands in the text",
    "NN408": "the sizes are those that the text asks for",
    "NN403": "a misspelt name stays misspelt",
    "NN411": "the constructor is run before anybody else has the module",
    "NN412": "a layer that is made in forward is made in forward",
    "NN420": "how dropout is called stands in the text",
}


def hand_over(files: dict[str, str], code: str) -> dict[str, str]:
    """The project with an unreadable call at every line that is marked with ``code``."""
    where, _ = SILENCING.get(code, DEFAULT)
    return {
        path: _hand_over_in(source, code, where) if FINDING_MARK + code in source else source
        for path, source in files.items()
    }


def _hand_over_in(source: str, code: str, where: Where) -> str:
    wrapper = metadata.MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    rows = {row for row, line in enumerate(source.splitlines(), 1) if FINDING_MARK + code in line}
    inserter = _Inserter(rows, where)
    changed = wrapper.visit(inserter)
    if not inserter.done:
        raise AssertionError(f"no statement to silence for {code}")
    return _with_import(changed)


def _with_import(tree: cst.Module) -> str:
    line = cst.parse_statement("from unknown_package import mystery\n")
    futures = sum("__future__" in tree.code_for_node(statement) for statement in tree.body)
    docstring = int(tree.get_docstring() is not None)
    at = futures + docstring
    return tree.with_changes(body=[*tree.body[:at], line, *tree.body[at:]]).code


@dataclass
class _Scope:
    """The objects of a function, or of the script, bound so far."""

    names: dict[str, None]


class _Inserter(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (metadata.PositionProvider,)

    def __init__(self, rows: set[int], where: Where) -> None:
        self.rows = rows
        self.where = where
        self.scopes = [_Scope({})]
        self.done = 0
        self.fresh = 0
        self.before: dict[cst.CSTNode, list[str]] = {}

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        parameters = node.params
        named = [*parameters.posonly_params, *parameters.params, *parameters.kwonly_params]
        self.scopes.append(_Scope(dict.fromkeys(parameter.name.value for parameter in named)))

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        self.scopes.pop()
        return updated_node

    def visit_AssignTarget(self, node: cst.AssignTarget) -> None:
        self._bind(node.target)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        self._bind(node.target)

    def visit_For(self, node: cst.For) -> None:
        self.before[node] = list(self.scopes[-1].names)
        self._bind(node.target)

    def visit_With(self, node: cst.With) -> None:
        self.before[node] = list(self.scopes[-1].names)

    def visit_If(self, node: cst.If) -> None:
        self.before[node] = list(self.scopes[-1].names)

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self.scopes.append(_Scope({}))

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.ClassDef:
        self.scopes.pop()
        return updated_node

    def _bind(self, target: cst.BaseExpression) -> None:
        if isinstance(target, cst.Name) and target.value != "_":
            self.scopes[-1].names[target.value] = None
        elif isinstance(target, (cst.Tuple, cst.List)):
            for element in target.elements:
                self._bind(element.value)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.BaseStatement]:
        position = self.get_metadata(metadata.PositionProvider, original_node)
        if not self.rows & set(range(position.start.line, position.end.line + 1)):
            return updated_node
        self.done += 1
        return cst.FlattenSentinel(self._around(updated_node))

    def leave_For(
        self, original_node: cst.For, updated_node: cst.For
    ) -> cst.For | cst.FlattenSentinel[cst.BaseStatement]:
        if not self._header_marked(original_node):
            return updated_node
        self.done += 1
        return cst.FlattenSentinel([*_call(self.before[original_node]), updated_node])

    def leave_With(
        self, original_node: cst.With, updated_node: cst.With
    ) -> cst.With | cst.FlattenSentinel[cst.BaseStatement]:
        if not self._header_marked(original_node):
            return updated_node
        self.done += 1
        return cst.FlattenSentinel([*_call(self.before[original_node]), updated_node])

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> cst.If | cst.FlattenSentinel[cst.BaseStatement]:
        if not self._header_marked(original_node):
            return updated_node
        self.done += 1
        return cst.FlattenSentinel([*_call(self.before[original_node]), updated_node])

    def _header_marked(self, node: cst.For | cst.With | cst.If) -> bool:
        start = self.get_metadata(metadata.PositionProvider, node).start.line
        first = self.get_metadata(metadata.PositionProvider, node.body).start.line
        return bool(self.rows & set(range(start, max(first, start + 1))))

    def _around(self, line: cst.SimpleStatementLine) -> list[cst.BaseStatement]:
        bound = {name.value for small in line.body for name in _targets(small)}
        here = [*dict.fromkeys([*self.scopes[-1].names, *self._objects(line.body[0])])]
        if "self" in here:
            here = [name for name in here if not name.startswith("self.")]
        earlier = [name for name in here if name not in bound or isinstance(line.body[0], cst.AugAssign)]
        leaves = isinstance(line.body[0], cst.Return)
        if self.where is Where.ARGUMENTS:
            return self._arguments_first(line)
        before = _call(earlier) if self.where in (Where.SCOPE, Where.AROUND) else []
        after = _call(here) if self.where in (Where.AFTER, Where.AROUND) and not leaves else []
        if leaves and self.where is Where.AFTER:
            return self._result_handed_over(line)
        return [*before, line, *after]

    def _result_handed_over(self, line: cst.SimpleStatementLine) -> list[cst.BaseStatement]:
        """``return x`` becomes ``t = x; mystery(t, ...); return t``; the mark stays with the value."""
        returned = cst.ensure_type(line.body[0], cst.Return)
        name = self._fresh_name()
        assign = cst.Assign([cst.AssignTarget(cst.Name(name))], returned.value or cst.Name("None"))
        first = line.with_changes(body=[assign])
        return [first, *_call([*self.scopes[-1].names, name]), cst.parse_statement(f"return {name}\n")]

    def _arguments_first(self, line: cst.SimpleStatementLine) -> list[cst.BaseStatement]:
        small = line.body[0]
        names = self._objects(small)
        value = getattr(small, "value", None)
        new: list[cst.BaseStatement] = []
        if isinstance(small, cst.AugAssign) and not isinstance(value, cst.Name):
            name = self._fresh_name()
            new.append(cst.SimpleStatementLine([cst.Assign([cst.AssignTarget(cst.Name(name))], small.value)]))
            added = line.with_changes(body=[small.with_changes(value=cst.Name(name))])
            return [*_call(names), *new, *_call([name]), added]
        call = _outermost_call(value) if value is not None else None
        handed = list(names)
        changed: cst.BaseStatement = line
        if call is not None:
            arguments = []
            for argument in call.args:
                if isinstance(argument.value, (cst.Name, cst.BaseNumber, cst.BaseString)) or argument.star:
                    arguments.append(argument)
                    continue
                name = self._fresh_name()
                new.append(cst.SimpleStatementLine([cst.Assign([cst.AssignTarget(cst.Name(name))], argument.value)]))
                handed.append(name)
                arguments.append(argument.with_changes(value=cst.Name(name)))
            changed = line.deep_replace(call, call.with_changes(args=arguments))  # type: ignore[assignment]
        return [*new, *_call(handed), changed]

    def _objects(self, node: cst.CSTNode) -> list[str]:
        """The names read in a statement that are objects of this scope or of the script, and attributes of self."""
        known = {name for scope in self.scopes for name in scope.names}
        found: dict[str, None] = {}
        targets = {id(name) for name in _targets(node) if not isinstance(node, cst.AugAssign)}
        for name in m.findall(node, m.Name()):
            text = cst.ensure_type(name, cst.Name).value
            if text in known and text != "self" and id(name) not in targets:
                found[text] = None
        for attribute in m.findall(node, m.Attribute(value=m.Name("self"))):
            found["self." + cst.ensure_type(attribute, cst.Attribute).attr.value] = None
        if m.findall(node, m.Call(func=m.Name("self"))):
            found["self"] = None
        return [text for text in found if not _is_target(text, node)]

    def _fresh_name(self) -> str:
        self.fresh += 1
        return f"handed_{self.fresh}"


def _is_target(text: str, node: cst.CSTNode) -> bool:
    if not isinstance(node, cst.Assign):
        return False
    tree = cst.Module([])
    return any(tree.code_for_node(target.target) == text for target in node.targets)


def _targets(node: cst.CSTNode) -> list[cst.Name]:
    targets = [t.target for t in node.targets] if isinstance(node, cst.Assign) else []
    if isinstance(node, (cst.AugAssign, cst.AnnAssign)):
        targets = [node.target]
    return [cst.ensure_type(name, cst.Name) for target in targets for name in m.findall(target, m.Name())]


def _outermost_call(value: cst.CSTNode) -> cst.Call | None:
    """The call itself, or the first call that the expression is built on (``f(x).sum().item()`` -> ``f(x)``)."""
    if not isinstance(value, cst.Call):
        return next((cst.ensure_type(call, cst.Call) for call in m.findall(value, m.Call())), None)
    receiver = value.func
    while isinstance(receiver, cst.Attribute):
        receiver = receiver.value
        if isinstance(receiver, cst.Call):
            return _outermost_call(receiver)
    return value


def _call(names: list[str]) -> list[cst.BaseStatement]:
    return [cst.parse_statement(f"mystery({', '.join(names)})\n")] if names else []
