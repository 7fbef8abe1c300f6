"""Rename every identifier that the user chose: variables, functions, classes, parameters, attributes.

Names are renamed by their text, the same everywhere in the project, so that files keep agreeing. A name
that is also something else (a library's name, a keyword of an unresolvable call, a string handed to
``getattr``) keeps its text: a rewrite must never change what a script does.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections import defaultdict
from dataclasses import dataclass, field

import libcst as cst
from libcst import matchers as m

# Methods and attributes that libraries call or define: a user's class overrides them, or an object of a
# library has them too, so their names are not the user's.
RESERVED = frozenset(
    """
    forward train eval step zero_grad backward state_dict load_state_dict parameters named_parameters modules
    named_modules children named_children buffers to cuda cpu double half float apply register_buffer
    register_parameter register_module add_module register_forward_hook requires_grad_ training extra_repr
    reset_parameters append extend insert add update get items keys values
    pop remove join split strip format sort copy index count
    setdefault read write close open lower upper replace startswith endswith encode decode clear
    item detach data grad numpy clone view reshape size shape
    dim mean std sum min max argmax softmax log_softmax sigmoid
    log exp relu tanh squeeze unsqueeze flatten permute transpose contiguous masked_fill
    requires_grad device dtype
    type T float_ long int bool any all eq ne gt lt abs sqrt pow clamp norm dot mm bmm matmul expand repeat topk gather
    dataset batch_size sampler batch_sampler collate_fn num_workers drop_last shuffle indices
    param_groups defaults state get_last_lr last_epoch base_lrs
    fit fit_transform transform inverse_transform predict predict_proba score partial_fit fit_predict mean_ scale_ var_
    training_step validation_step test_step predict_step configure_optimizers train_dataloader val_dataloader
    test_dataloader predict_dataloader prepare_data setup teardown on_train_start on_train_end on_train_epoch_start
    on_train_epoch_end on_validation_epoch_end on_validation_epoch_start on_test_epoch_end on_fit_start
    on_train_batch_start on_train_batch_end on_before_optimizer_step optimizer_step optimizer_zero_grad
    lr_scheduler_step manual_backward toggle_optimizer untoggle_optimizer optimizers lr_schedulers log_dict
    automatic_optimization clip_gradients save_hyperparameters hparams
    unscale_ get_scale scale clip_grad_norm_ no_sync module args kwargs rank world_size
    logits last_hidden_state hidden_states weight bias in_features out_features
    classes class_to_idx targets samples root
    """.split()
)
PRETRAINED_HEADS = frozenset(
    "fc classifier features head heads layer1 layer2 layer3 layer4 conv1 bn1 avgpool aux".split()
)


FRAMEWORKS = frozenset({"lightning", "pytorch_lightning", "transformers", "accelerate", "ignite"})
FRAMEWORK_NAMES = frozenset(
    """
    compute_loss create_optimizer create_scheduler get_train_dataloader get_eval_dataloader evaluate prediction_step
    compute_metrics prepare accelerator accumulate model optimizer scheduler lr_scheduler trainer logger log loss
    current_epoch global_step args state config
    """.split()
)


def rename_identifiers(files: dict[str, str]) -> dict[str, str]:
    """The project with every renamable identifier replaced."""
    trees = {path: cst.parse_module(source) for path, source in files.items()}
    modules = {part for path in files for part in re.split(r"[/.]", path.removesuffix(".py"))}
    names = _Names(modules)
    for tree in trees.values():
        tree.visit(_Definitions(names))
    for tree in trees.values():
        tree.visit(_Obstacles(names))
    variables, attributes = names.tables()
    return {path: tree.visit(_Renamer(names, variables, attributes)).code for path, tree in trees.items()}


@dataclass
class _Names:
    """What is defined by the user, and what stands in the way of renaming it."""

    modules: set[str]
    variables: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    parameters_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    blocked: set[str] = field(default_factory=set)
    blocked_attributes: set[str] = field(default_factory=set)
    class_level: set[str] = field(default_factory=set)

    def tables(self) -> tuple[dict[str, str], dict[str, str]]:
        """New texts of variables and of attributes. A name of a class body is both, or it is kept."""
        renamable = self.renamable_variables(), self.renamable_attributes()
        kept = self.class_level - (renamable[0] & renamable[1])
        variables = {name: f"v{number}_" for number, name in enumerate(sorted(renamable[0] - kept), 1)}
        attributes = {name: f"a{number}_" for number, name in enumerate(sorted(renamable[1] - kept), 1)}
        attributes.update({name: variables[name] for name in self.class_level - kept})
        return variables, attributes

    def renamable_variables(self) -> set[str]:
        everywhere = self.blocked | self.modules | set(dir(builtins)) | {"self", "cls", "_"}
        return {name for name in self.variables - everywhere if not _is_special(name)}

    def renamable_attributes(self) -> set[str]:
        kept = self.blocked | self.blocked_attributes | self.modules | RESERVED
        return {name for name in self.attributes - kept if not _is_special(name)}


def _is_special(name: str) -> bool:
    return keyword.iskeyword(name) or keyword.issoftkeyword(name) or (name.startswith("__") and name.endswith("__"))


class _Definitions(cst.CSTVisitor):
    """Collects what the user's files define."""

    def __init__(self, names: _Names) -> None:
        self.names = names
        self.classes: list[str] = []
        self.depth_in_class: list[int] = []
        self.functions = 0

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self.names.variables.add(node.name.value)
        self.classes.append(node.name.value)
        self.depth_in_class.append(self.functions)
        if any(m.matches(d.decorator, m.Name("dataclass") | m.Call(m.Name("dataclass"))) for d in node.decorators):
            for line in node.body.body:
                for small in getattr(line, "body", ()):
                    if isinstance(small, cst.AnnAssign) and isinstance(small.target, cst.Name):
                        self.names.parameters_of[node.name.value].add(small.target.value)

    def leave_ClassDef(self, original_node: cst.ClassDef) -> None:
        self.classes.pop()
        self.depth_in_class.pop()

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        name = node.name.value
        method = self._directly_in_class()
        (self.names.attributes if method else self.names.variables).add(name)
        self.functions += 1
        parameters = node.params
        listed = [*parameters.params, *parameters.kwonly_params, *parameters.posonly_params]
        plain = {parameter.name.value for parameter in listed}
        stars = [p for p in (parameters.star_arg, parameters.star_kwarg) if isinstance(p, cst.Param)]
        self.names.variables |= plain | {star.name.value for star in stars}
        owner = self.classes[-1] if method and name == "__init__" else name
        self.names.parameters_of[owner] |= plain

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self.functions -= 1

    def visit_Lambda(self, node: cst.Lambda) -> None:
        self.names.variables |= {parameter.name.value for parameter in node.params.params}

    def visit_AssignTarget(self, node: cst.AssignTarget) -> None:
        self._bind(node.target)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        self._bind(node.target)

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        self._bind(node.target)

    def visit_NamedExpr(self, node: cst.NamedExpr) -> None:
        self._bind(node.target)

    def visit_For(self, node: cst.For) -> None:
        self._bind(node.target)

    def visit_CompFor(self, node: cst.CompFor) -> None:
        self._bind(node.target)

    def visit_AsName(self, node: cst.AsName) -> None:
        self._bind(node.name)

    def visit_Import(self, node: cst.Import) -> bool:
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        return False

    def _directly_in_class(self) -> bool:
        return bool(self.classes) and self.depth_in_class[-1] == self.functions

    def _bind(self, target: cst.BaseExpression) -> None:
        if isinstance(target, cst.Name):
            (self.names.attributes if self._directly_in_class() else self.names.variables).add(target.value)
            if self._directly_in_class():
                self.names.variables.add(target.value)
                self.names.class_level.add(target.value)
        elif isinstance(target, cst.Attribute) and m.matches(target.value, m.Name("self") | m.Name("cls")):
            self.names.attributes.add(target.attr.value)
        elif isinstance(target, (cst.Tuple, cst.List)):
            for element in target.elements:
                self._bind(element.value)


class _Obstacles(cst.CSTVisitor):
    """Collects the texts that must stay: library names, undecidable keywords, names spelt in strings."""

    def __init__(self, names: _Names) -> None:
        self.names = names

    def visit_Import(self, node: cst.Import) -> bool:
        for alias in node.names:
            self._keep_bound(alias)
            if alias.evaluated_name.split(".")[0] in FRAMEWORKS:
                self.names.blocked_attributes |= FRAMEWORK_NAMES
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        user = _is_user_import(node, self.names.modules)
        for alias in node.names if not isinstance(node.names, cst.ImportStar) else ():
            if not user or alias.evaluated_name in self.names.modules:
                self._keep_bound(alias)
            elif alias.evaluated_alias:
                self.names.blocked.add(alias.evaluated_alias)
        if not user and _root(node) in FRAMEWORKS:
            self.names.blocked_attributes |= FRAMEWORK_NAMES
        if not user and _root(node) in {"torchvision", "timm", "transformers"}:
            self.names.blocked_attributes |= PRETRAINED_HEADS
        return False

    def visit_Call(self, node: cst.Call) -> None:
        callee = _callee_name(node.func)
        known = self.names.parameters_of.get(callee or "")
        for argument in node.args:
            if argument.star == "**":
                self.names.blocked |= known or set()
            elif argument.keyword is not None and self._undecidable(node.func, callee):
                self.names.blocked.add(argument.keyword.value)
                self.names.blocked_attributes.add(argument.keyword.value)

    def _undecidable(self, func: cst.BaseExpression, callee: str | None) -> bool:
        """Whether a keyword of this call may or may not be a parameter of the user's."""
        if callee is None or callee in {"partial", "SimpleNamespace", "Namespace"}:
            return True
        if isinstance(func, cst.Attribute) and callee in RESERVED:
            return callee in self.names.parameters_of
        return isinstance(func, cst.Name) and callee in self.names.variables - self.names.parameters_of.keys()

    def visit_Attribute(self, node: cst.Attribute) -> None:
        if m.matches(node.value, m.Attribute(attr=m.Name("hparams"))):
            self.names.blocked.add(node.attr.value)

    def visit_Assign(self, node: cst.Assign) -> bool:
        return not _is_export_list(node)

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        text = node.evaluated_value
        if isinstance(text, str) and len(text) < 60 and "\n" not in text:
            spelt = text.lstrip("-").replace("-", "_")
            if spelt.isidentifier():
                self.names.blocked_attributes.add(spelt)
                self.names.blocked.add(spelt)

    def _keep_bound(self, alias: cst.ImportAlias) -> None:
        bound = alias.evaluated_alias or alias.evaluated_name.split(".")[0]
        self.names.blocked.add(bound)


class _Renamer(cst.CSTTransformer):
    """Replaces the renamable names."""

    def __init__(self, names: _Names, variables: dict[str, str], attributes: dict[str, str]) -> None:
        self.names = names
        self.variables = variables
        self.attributes = attributes

    def visit_Import(self, node: cst.Import) -> bool:
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        return False

    def leave_ImportFrom(self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom) -> cst.ImportFrom:
        if isinstance(updated_node.names, cst.ImportStar) or not _is_user_import(updated_node, self.names.modules):
            return updated_node
        aliases = [
            alias.with_changes(name=cst.Name(self.variables.get(alias.name.value, alias.name.value)))
            if isinstance(alias.name, cst.Name)
            else alias
            for alias in updated_node.names
        ]
        return updated_node.with_changes(names=aliases)

    def leave_Assign(self, original_node: cst.Assign, updated_node: cst.Assign) -> cst.Assign:
        if not _is_export_list(original_node) or not isinstance(updated_node.value, (cst.List, cst.Tuple)):
            return updated_node
        elements = [
            element.with_changes(value=cst.SimpleString(repr(self.variables.get(text, text))))
            for element in updated_node.value.elements
            if isinstance(element.value, cst.SimpleString) and isinstance(text := element.value.evaluated_value, str)
        ]
        return updated_node.with_changes(value=updated_node.value.with_changes(elements=elements))

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        return updated_node.with_changes(value=self.variables.get(updated_node.value, updated_node.value))

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.Attribute:
        name = original_node.attr.value
        if isinstance(original_node.value, cst.Name) and original_node.value.value in self.names.modules:
            new = self.variables.get(name, name)  # a user's module: its names are variables
        else:
            new = self.attributes.get(name, name)
        return updated_node.with_changes(attr=original_node.attr.with_changes(value=new))

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        name = original_node.name.value
        variables = self.attributes if _is_method(original_node) else self.variables
        return updated_node.with_changes(name=original_node.name.with_changes(value=variables.get(name, name)))

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        return updated_node.with_changes(keyword=original_node.keyword)

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        own = self.names.parameters_of.get(_callee_name(original_node.func) or "")
        if own is None:
            return updated_node
        arguments = [
            argument.with_changes(
                keyword=cst.Name(self.variables.get(argument.keyword.value, argument.keyword.value)),
            )
            if argument.keyword is not None and argument.keyword.value in own
            else argument
            for argument in updated_node.args
        ]
        return updated_node.with_changes(args=arguments)


def _is_export_list(node: cst.Assign) -> bool:
    return any(m.matches(target.target, m.Name("__all__")) for target in node.targets)


def _is_method(node: cst.FunctionDef) -> bool:
    """Methods are told by their first parameter, or by being static or class methods or properties."""
    first = node.params.params[:1]
    if first and first[0].name.value in {"self", "cls"}:
        return True
    return any(m.matches(d.decorator, m.Name("staticmethod") | m.Name("classmethod")) for d in node.decorators)


def _is_user_import(node: cst.ImportFrom, modules: set[str]) -> bool:
    return bool(node.relative) or _root(node) in modules


def _root(node: cst.ImportFrom) -> str:
    module: cst.BaseExpression | None = node.module
    while isinstance(module, cst.Attribute):
        module = module.value
    return module.value if isinstance(module, cst.Name) else ""


def _callee_name(func: cst.BaseExpression) -> str | None:
    """The last name of a callee; ``super().__init__`` and the like are undecidable here."""
    if isinstance(func, cst.Name):
        return func.value
    if isinstance(func, cst.Attribute) and not m.matches(func.value, m.Call(m.Name("super"))):
        return func.attr.value
    return None
