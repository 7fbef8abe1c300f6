"""Modules: names as users write them, where they were made, in which mode they ran, and what came out."""

from __future__ import annotations

import ast
import functools
import inspect
import os
import textwrap
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.loss import _Loss

from ...rules.finding import Line
from ..quiet import blind
from ..run import Load, Module, Parameter, Pass
from ..watch import Recorder, Watch
from .activations import Activations
from .data import fingerprint, on_host

MAX_PASSES = 512
MAX_LOADS = 64
MAX_MODULES = 50_000
"""Past it no further outermost module is looked at: the script makes new ones all the time."""
MAX_INPUTS = 512
WATCHED_FIRST, WATCHED_EVERY = 20, 16
FLOW = 12
MAX_CALLS = 8
MIN_ELEMENTS = 64
"""Of a tensor that is compared with what an initialisation draws."""
MAX_OUTPUTS = 4
"""Tensors of an output that are asked whether a backward pass comes back to them."""
_is_compiling = torch.compiler.is_dynamo_compiling
_CALL = nn.Module._call_impl.__code__


class Root:
    """What is known of an outermost module."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self.name = name
        self.count = -1
        self.things: dict[int, tuple[weakref.ref[nn.Module], Module]] = {}
        self.dependent: list[tuple[nn.Module, str]] = []
        self.order = 0


class Running:
    """An outermost call under way, and, in a pass that is looked at closely, the calls it is in just now."""

    def __init__(self, module: nn.Module) -> None:
        self.stack = [module]


class Call(NamedTuple):
    """A call of an outermost module that a backward pass may follow, with what is needed to run it again."""

    module: weakref.ref[nn.Module]
    args: Any
    kwargs: Any
    line: Line | None
    rng: torch.Tensor | None
    from_script: bool
    """Its inputs are data, not results of another module."""


class ModuleRecorder(Recorder):
    """Every module call, and the registration of layers."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._made: dict[int, tuple[weakref.ref[nn.Module], Line | None, bool]] = {}
        self._loaded: dict[int, weakref.ref[Any]] = {}
        self._values: dict[int, list[float]] = {}
        self._roots: dict[int, tuple[weakref.ref[nn.Module], Root]] = {}
        self._parameters: dict[int, tuple[weakref.ref[torch.Tensor], Parameter]] = {}
        self._passes: dict[tuple[Any, ...], Pass] = {}
        self._losses: dict[type, bool] = {}
        self._inputs: dict[int, weakref.ref[torch.Tensor]] = {}
        self._outputs: dict[int, tuple[weakref.ref[torch.Tensor], int, Pass | None]] = {}
        self._outermost: Running | None = None
        self._root: Root | None = None
        self._pass: Pass | None = None
        self._looking = False
        self._activations = Activations(watch)
        self.flow: list[tuple[weakref.ref[nn.Module], Any, Any]] = []
        self.failed_in: Module | None = None
        """The innermost module that an exception came from, and the shapes on the way to it."""
        self.failed_flow: list[list[str]] = []
        self.calls: list[Call] = []
        """Outermost calls since the last backward pass, at most :data:`MAX_CALLS`."""
        self._rng: torch.Tensor | None = None

    def attach(self) -> None:
        """Register the hooks that torch offers for the making of modules, and patch the call of modules."""
        for handle in (
            hooks.register_module_parameter_registration_hook(self._parameter_registered),
            hooks.register_module_module_registration_hook(self._module_registered),
        ):
            self._undo.append(handle.remove)
        self.patch(nn.Module, "__call__", self._calling)
        self.patch(nn.Module, "load_state_dict", self._loading)

    # ------------------------------------------------------------------ where things are made

    def _parameter_registered(self, module: nn.Module, name: str, parameter: Any) -> None:
        if not _is_compiling():
            self._note_made(module)

    def _module_registered(self, module: nn.Module, name: str, child: Any) -> None:
        if isinstance(child, nn.Module) and not _is_compiling():
            self._note_made(child)
            self._note_made(module)

    def _note_made(self, module: nn.Module) -> None:
        key = id(module)
        found = self._made.get(key)
        if (found is None or found[0]() is not module) and self.on:
            try:
                sites = self.watch.sites
                frame = sites.frame(3)
                # Not inside its own constructor, where it registers what it consists of.
                while frame is not None and frame.f_code.co_name == "__init__" and _is_self(frame, module):
                    frame = sites.outer(frame.f_back)
                line = None if frame is None else sites.line(frame)
                if len(self._made) > MAX_MODULES:
                    self._made = {k: v for k, v in self._made.items() if v[0]() is not None}
                self._made[key] = (weakref.ref(module), line, sites.in_library(3))
            except Exception as error:
                self.watch.fail(self, error)

    def made_at(self, module: nn.Module) -> Line | None:
        """Where a module was made, as far as a registration showed it."""
        found = self._made.get(id(module))
        return found[1] if found is not None and found[0]() is module else None

    def _made_by_library(self, module: nn.Module) -> bool:
        found = self._made.get(id(module))
        return found is not None and found[0]() is module and found[2]

    def _loading(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def load_state_dict(module: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(module, state_dict, *args, **kwargs)
            if self.on:
                try:
                    self._note_loaded(module, state_dict)
                except Exception as error:
                    self.watch.fail(self, error)
            return result

        return load_state_dict

    def _note_names(self, module: nn.Module, keys: set[str]) -> None:
        own = module.state_dict().keys()
        if keys and own and not self.watch.record.full(Load, MAX_LOADS):
            self.watch.record.new(
                Load,
                line=self.watch.here(4),
                module=type(module).__name__,
                given=len(keys),
                matched=len(keys & own),
                wanted=len(own),
                example=min(keys),
                expected=min(own),
            )

    def _note_loaded(self, module: nn.Module, state_dict: Any) -> None:
        """Weights that come from elsewhere: not those that a run restores after it has trained them."""
        keys = {str(key) for key in state_dict}
        self._note_names(module, keys)
        inside = {""}.union(*(accumulate(key.split(".")[:-1], "{}.{}".format) for key in keys))
        for name, parameter in module.named_parameters(remove_duplicate=False):
            found = self._parameters.get(id(parameter))
            thing = found[1] if found is not None and found[0]() is parameter else None
            if name in keys and (thing is None or not thing.steps):
                self._loaded[id(parameter)] = weakref.ref(parameter)
                if thing is not None:
                    thing.loaded = True
                    self.watch.record.touch(thing)
        known = [root for _, root in self.roots()]
        for path, layer in module.named_modules():
            if path not in inside:
                continue
            self._loaded[id(layer)] = weakref.ref(layer)
            for root in known:
                held = root.things.get(id(layer))
                if held is not None and held[0]() is layer and not held[1].recorded_graph:
                    held[1].loaded = True
                    self.watch.record.touch(held[1])

    def _is_loaded(self, thing: Any) -> bool:
        found = self._loaded.get(id(thing))
        return found is not None and found() is thing

    # ------------------------------------------------------------------ forward

    def _calling(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """In place of ``Module.__call__``: global hooks would put every inner call on torch's slow path."""

        @functools.wraps(original)
        def __call__(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if _is_compiling():
                return original(module, *args, **kwargs)
            if self._outermost is not None:
                if self._looking and self.on and not self.watch.in_backward:
                    return self._inner(original, module, args, kwargs)
                return original(module, *args, **kwargs)
            if not self.on or self.watch.in_backward or self._is_loss(type(module)) or blind():
                return original(module, *args, **kwargs)
            return self._outer(original, module, args, kwargs)

        return __call__

    def _is_loss(self, cls: type) -> bool:
        kind = self._losses.get(cls)
        if kind is None:
            kind = self._losses[cls] = issubclass(cls, _Loss)
        return kind

    def _outer(self, call: Callable[..., Any], module: nn.Module, args: Any, kwargs: Any) -> Any:
        """A call that no other module makes."""
        running = self._outermost = Running(module)
        try:
            self._begin(module)
        except Exception as error:
            self.watch.fail(self, error)
        try:
            output = call(module, *args, **kwargs)
        except BaseException as error:
            if self._outermost is running:
                self._outermost = None
            self._raised(error)
            raise
        # A step or a backward pass inside has ended it: then what came out is not the result of one forward pass.
        if self._outermost is running:
            try:
                if self.on:
                    self._finish(module, args, kwargs, output)
            except Exception as error:
                self.watch.fail(self, error)
            finally:
                self._outermost = None
        return output

    def _inner(self, call: Callable[..., Any], module: nn.Module, args: Any, kwargs: Any) -> Any:
        """A call below the outermost one, in a pass that is looked at closely."""
        running = self._outermost
        assert running is not None
        began = time.perf_counter()
        try:
            self._enter(running, module)
        except Exception as error:
            self.watch.fail(self, error)
        running.stack.append(module)
        self.watch.spent += time.perf_counter() - began
        try:
            output = call(module, *args, **kwargs)
        finally:
            running.stack.pop()
        if self._outermost is running and self.on:
            try:
                self._leave(module, (*args, *kwargs.values()), output, outermost=False)
            except Exception as error:
                self.watch.fail(self, error)
        return output

    @property
    def running(self) -> nn.Module | None:
        """The outermost module that is being called."""
        return None if self._outermost is None else self._outermost.stack[0]

    def reset(self) -> None:
        """No module can be running now: a step or a backward pass is."""
        self._outermost = None

    def _begin(self, module: nn.Module) -> None:
        watch = self.watch
        known = self._roots.get(id(module))
        if known is not None and known[0]() is module:
            root = known[1]
        elif watch.record.full(Module, MAX_MODULES):
            self._pass, self._looking = None, False
            return
        else:
            root = self._new_root(module)
        self.failed_in = None
        self._root = root
        frame = watch.sites.frame(4)
        line = None if frame is None else watch.sites.line(frame)
        grad = torch.is_grad_enabled()
        reading = watch.readings[-1] if watch.readings else None
        loader = None if reading is None else reading.loader.key
        if reading is not None and reading.gone and not grad:
            watch.readings.remove(reading)  # one batch, looked at in passing: the next call is of another one
        training = module.training
        dependent = _first(root.dependent, True) if root.dependent else ""
        key = (id(root), line, training, bool(dependent), grad, loader)
        found = self._passes.get(key)
        if found is None:
            if len(self._passes) >= MAX_PASSES:
                self._pass, self._looking = None, False
                return
            found = self._passes[key] = watch.record.new(
                Pass,
                module=root.things[id(module)][1].key,
                line=line,
                training=training,
                grad=grad,
                loader=loader,
                train_dependent=dependent,
                eval_dependent=_first(root.dependent, False),
                first_step=watch.steps,
            )
        found.calls += 1
        found.last_step = watch.steps
        watch.record.touch(found)
        self._pass = found
        if watch.moment is not None and grad:
            watch.moment("forward")
        self._rng = torch.get_rng_state() if dependent and found.grad else None
        self._looking = found.calls <= 3 or (watch.close and (found.grad or found.calls % WATCHED_EVERY == 0))
        if self._looking:
            self.flow.clear()
            root.order = 0
            self._activations.begin()
            self._outputs = {k: v for k, v in self._outputs.items() if v[0]() is not None}

    def _finish(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """The outermost module returns."""
        found = self._pass
        root = self._root
        if found is None or root is None:
            return
        inputs = [v for v in ((*args, *kwargs.values()) if kwargs else args) if isinstance(v, torch.Tensor)]
        if found.grad:
            self._keep_call(module, args, kwargs, found.line, inputs)
        if len(found.inputs) < MAX_INPUTS:
            for tensor in inputs[:1]:
                if on_host(tensor) is None:
                    continue
                found.inputs.append(f"{fingerprint(tensor) & 0xFFFFFFFFFFFFFFFF:016x}")
                before, self._inputs[found.key] = self._inputs.get(found.key), weakref.ref(tensor)
                another = before is None or before() is not tensor
                found.drawn += another and tensor.untyped_storage().nbytes() > 2 * tensor.nbytes
        if found.calls <= WATCHED_FIRST or found.calls % WATCHED_EVERY == 0 or self._looking:
            for tensor in inputs:
                source = self._outputs.get(id(tensor))
                if source is not None and source[0]() is tensor and source[2] is not None:
                    source[2].consumed += 1
                    self.watch.record.touch(source[2])
            self._watch_output(found, output)
        if self._looking:
            self._leave(module, (*args, *kwargs.values()), output, outermost=True)
        thing = root.things[id(module)][1]
        thing.calls += 1

    def _keep_call(self, module: nn.Module, args: Any, kwargs: Any, line: Line | None, inputs: list[Any]) -> None:
        """Detached: the graph is not kept alive, and the numbers live until the backward pass anyway."""
        if len(self.calls) >= MAX_CALLS:
            self.calls.clear()
        from_script = True
        for tensor in inputs:
            if tensor.requires_grad:
                from_script = False
        if not from_script or kwargs or len(inputs) != len(args):
            args, kwargs = _detached(args), _detached(kwargs)
        self.calls.append(Call(weakref.ref(module), args, kwargs, line, self._rng, from_script))

    def _watch_output(self, found: Pass, output: Any) -> None:
        """Ask the output whether a backward pass comes back to it."""
        tensors = list(_tensors(output))
        for tensor in tensors:
            self._outputs[id(tensor)] = (weakref.ref(tensor), found.module, found)
        with_graph = [t for t in tensors[:MAX_OUTPUTS] if t.requires_grad and t.grad_fn is not None]
        found.watched += 1
        if not with_graph:
            return
        found.graph += 1
        state = [False]
        record = self.watch.record

        def came_back(gradient: torch.Tensor) -> None:
            if not state[0]:
                state[0] = True
                found.used += 1
                record.touch(found)

        for tensor in with_graph:
            tensor.register_hook(came_back)

    # ------------------------------------------------------------------ close looks

    def _enter(self, running: Running, module: nn.Module) -> None:
        root = self._root
        assert root is not None
        if id(module) not in root.things or root.things[id(module)][0]() is not module:
            self._learn(root, running.stack[0])
            if id(module) not in root.things:
                self._unregistered(root, module, running.stack)

    def _leave(self, module: nn.Module, args: Any, output: Any, outermost: bool) -> None:
        began = time.perf_counter()
        if not module._modules:
            self.flow.append((weakref.ref(module), _shapes(args), _shapes(output)))
        root = self._root
        assert root is not None
        found = root.things.get(id(module))
        if found is None or output is None:
            return
        thing = found[1]
        thing.calls += 1
        if torch.is_grad_enabled():
            thing.recorded_graph += 1
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            thing.batch_first = getattr(module, "batch_first", None)
            thing.given_state = thing.given_state or any(value is not None for value in args[1:])
        if not thing.order:
            root.order += 1
            thing.order = root.order
        if not thing.output_shape:
            thing.input_sizes = list(args[0].shape) if args and isinstance(args[0], torch.Tensor) else []
            thing.input_shape, thing.output_shape = _shape_text(_shapes(args)), _shape_text(_shapes(output))
        self.watch.record.touch(thing)
        for tensor in _tensors(output):
            self._outputs[id(tensor)] = (weakref.ref(tensor), thing.key, self._pass if outermost else None)
        if thing.leaf and self._pass is not None and self._pass.grad and not blind():
            self._activations.measure(module, thing, args, output)
        self.watch.spent += time.perf_counter() - began

    @property
    def current(self) -> Pass | None:
        """The pass of an outermost module that is running."""
        return self._pass

    def maker(self, tensor: torch.Tensor) -> int | None:
        """The module whose output this very tensor is, if it was seen."""
        found = self._outputs.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def _raised(self, error: BaseException) -> None:
        """Which module an exception came from, and the shapes up to it: the innermost call in its traceback."""
        try:
            found = _innermost_call(error)
            if found is not None:
                self._note_raised(*found)
        except Exception as own:
            self.watch.fail(self, own)

    def _note_raised(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        self.failed_in = self.thing_of(module)
        # What ran before it in this pass, or in the latest pass that was looked at.
        before = next((i for i, (layer, _, _) in enumerate(self.flow) if layer() is module), len(self.flow))
        failing = (weakref.ref(module), _shapes(given), None)
        self.failed_flow = []
        for layer, inputs, outputs in [*self.flow[:before][-FLOW:], failing]:
            thing = self.thing_of(layer())
            if thing is not None:
                shapes = [_shape_text(inputs), _shape_text(outputs)]
                self.failed_flow.append([thing.name, thing.class_name, *shapes])

    # ------------------------------------------------------------------ what modules there are

    def _new_root(self, module: nn.Module) -> Root:
        root = Root(module, self._name(module))
        self._roots[id(module)] = (weakref.ref(module), root)
        self._learn(root, module)
        return root

    def _name(self, module: nn.Module) -> str:
        """What the script calls the module."""
        frame = self.watch.sites.frame(6)
        for _ in range(4):
            if frame is None:
                break
            for scope in (frame.f_locals, frame.f_globals):
                for name, value in list(scope.items()):
                    if value is module and name != "self" and not name.startswith("_"):
                        return str(name)
                    held = getattr(value, "__dict__", None) if name == "self" else None
                    if isinstance(held, dict):
                        inner = {**held, **held.get("_modules", {})}
                        attribute = next((k for k, v in inner.items() if v is module), None)
                        if attribute is not None:
                            return str(attribute)
            frame = frame.f_back
        return type(module).__name__

    def _learn(self, root: Root, module: nn.Module) -> None:
        """Name the modules below, and their parameters."""
        top: int | None = None
        root.dependent = []
        choices: list[str] = []
        for path, layer in module.named_modules():
            path = ".".join(p for p in path.split(".") if p not in ("module", "_orig_mod"))
            name = f"{root.name}.{path}" if path else root.name
            thing = self._module(root, layer, name, top, True)
            if top is None:
                top = thing.key
                thing.root = None
            if isinstance(layer, nn.ModuleDict | nn.ModuleList):
                choices.append(name)
            thing.choice = next((c for c in reversed(choices) if name.startswith(f"{c}.")), "")
            if thing.train_dependent:
                root.dependent.append((layer, name))

    def _module(
        self, root: Root, layer: nn.Module, name: str, top: int | None, registered: bool, line: Line | None = None
    ) -> Module:
        known = root.things.get(id(layer))
        if known is not None and known[0]() is layer:
            return known[1]
        thing: Module = self.watch.record.new(
            Module,
            name=name,
            class_name=type(layer).__name__,
            base=_base(type(layer)),
            line=line or self.made_at(layer),
            root=top,
            registered=registered,
            leaf=not layer._modules,
            train_dependent=_train_dependent(layer),
            loaded=self._is_loaded(layer),
            library=self._made_by_library(layer),
        )
        root.things[id(layer)] = (weakref.ref(layer), thing)
        for parameter_name, parameter in layer._parameters.items():
            if parameter is not None:
                self.parameter(parameter, f"{name}.{parameter_name}", thing, plain=not registered)
        return thing

    def _unregistered(self, root: Root, module: nn.Module, stack: list[nn.Module]) -> None:
        name, line = f"{root.name}.<{type(module).__name__}>", None
        top = root.things[id(stack[0])][1].key
        for owner in reversed(stack):
            held = root.things.get(id(owner))
            attribute = _plain_attribute(owner, module) if held is not None and held[0]() is owner else None
            if held is not None and attribute is not None:
                name, line = f"{held[1].name}.{attribute}", self.assigned_at(owner, attribute.partition("[")[0])
                break
        self._module(root, module, name, top, False, line)
        for path, layer in module.named_modules():
            if path:
                self._module(root, layer, f"{name}.{path}", top, False)

    def assigned_at(self, module: nn.Module, attribute: str) -> Line | None:
        """The first line in the constructors of its class that assigns an attribute of ``self``."""
        for cls in type(module).__mro__:
            constructor = vars(cls).get("__init__")
            code = getattr(inspect.unwrap(constructor), "__code__", None) if callable(constructor) else None
            if code is None or not self.watch.sites.is_user(code.co_filename):
                continue
            row = None
            with suppress(OSError, TypeError, SyntaxError):
                row = _assignment(inspect.getsource(code), attribute)
            if row is not None:
                return Line(os.path.abspath(code.co_filename), code.co_firstlineno + row, code.co_qualname)
        return None

    def parameter(
        self, tensor: torch.Tensor, name: str = "", module: Module | None = None, plain: bool = False
    ) -> Parameter:
        """The noun of a tensor that is trained; named as soon as some module is known to own it."""
        found = self._parameters.get(id(tensor))
        thing: Parameter
        if found is not None and found[0]() is tensor:
            thing = found[1]
            if module is not None and thing.module is None:
                thing.name, thing.module, thing.line, thing.plain = name, module.key, module.line, plain
                self.watch.record.touch(thing)
            return thing
        thing = self.watch.record.new(
            Parameter,
            name=name,
            shape=list(tensor.shape),
            size=tensor.numel(),
            module=None if module is None else module.key,
            line=None if module is None else module.line,
            plain=plain,
            trainable=tensor.requires_grad,
            loaded=self._is_loaded(tensor),
        )
        self._parameters[id(tensor)] = (weakref.ref(tensor), thing)
        return thing

    def compare_with_initialisation(self, thing: Parameter, tensor: torch.Tensor) -> None:
        """Uniform within 1/sqrt(inputs of a unit), as linear and convolution layers begin; or normal, as embeddings do.

        Training leaves that interval within a few steps, at some of its many elements.
        """
        size = tensor.numel()
        if tensor.dim() < 2 or size < MIN_ELEMENTS or not tensor.is_floating_point():
            return
        bound = (size / tensor.shape[0]) ** -0.5
        with torch.no_grad():
            x = tensor.detach()
            numbers = (x.abs().amax().float(), torch.linalg.vector_norm(x).float(), x.mean().float())

        def keep(values: list[float]) -> None:
            largest, deviation, mean = values[0], values[1] / size**0.5, values[2]
            uniform = 0.9 * bound < largest <= 1.001 * bound and 0.85 < deviation * 3**0.5 / bound < 1.15
            normal = len(thing.shape) == 2 and abs(deviation - 1) * (2 * size) ** 0.5 < 4 and abs(mean) * size**0.5 < 4
            thing.untrained = uniform or normal
            self.watch.record.touch(thing)

        self.watch.numbers.later(numbers, keep)

    def compare_with_before(self, thing: Parameter, tensor: torch.Tensor) -> None:
        """No step can have changed it: do its values change all the same?"""
        if not tensor.is_floating_point() or tensor.layout is not torch.strided or not tensor.numel():
            return
        with torch.no_grad():
            x = tensor.detach()
            numbers = (torch.linalg.vector_norm(x).float(), x.sum().float())

        def keep(values: list[float]) -> None:
            before = self._values.get(thing.key)
            if before is not None and before != values:
                thing.moved_by_hand = True
                self.watch.record.touch(thing)
            self._values[thing.key] = values

        self.watch.numbers.later(numbers, keep)

    def roots(self) -> list[tuple[nn.Module, Root]]:
        """Every outermost module that is still there."""
        return [(module, root) for reference, root in self._roots.values() if (module := reference()) is not None]

    def thing_of(self, module: nn.Module | None) -> Module | None:
        """The noun of a module, seen from the outermost one that ran last."""
        if module is None or self._root is None:
            return None
        found = self._root.things.get(id(module))
        return found[1] if found is not None and found[0]() is module else None


def _innermost_call(error: BaseException) -> tuple[nn.Module, tuple[Any, ...]] | None:
    """The last module that was called on the way to an exception, and what it was given."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is _CALL:
            names = trace.tb_frame.f_locals
            module = names.get("self")
            if isinstance(module, nn.Module):
                found = module, (*names.get("args", ()), *names.get("kwargs", {}).values())
        trace = trace.tb_next
    return found


def _is_self(frame: FrameType, module: nn.Module) -> bool:
    code = frame.f_code
    return bool(code.co_varnames) and frame.f_locals.get(code.co_varnames[0]) is module


def _plain_attribute(owner: nn.Module, module: nn.Module) -> str | None:
    """Where a module keeps another one that it does not register: ``blocks[0]``."""
    for name, value in vars(owner).items():
        if value is module:
            return name
        if isinstance(value, list | tuple):
            index = next((i for i, v in enumerate(value) if v is module), None)
            if index is not None:
                return f"{name}[{index}]"
        elif isinstance(value, dict) and not name.startswith("_"):
            key = next((k for k, v in value.items() if v is module), None)
            if key is not None:
                return f"{name}[{key!r}]"
    return None


def _assignment(source: str, attribute: str) -> int | None:
    """Rows from the first to the one that assigns the attribute."""
    for node in ast.walk(ast.parse(textwrap.dedent(source))):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in targets:
                if isinstance(target, ast.Attribute) and target.attr == attribute:
                    return target.lineno - 1
    return None


def _base(cls: type[nn.Module]) -> str:
    """The nearest class of torch's among a class and those that it derives from."""
    found = next(c for c in cls.__mro__ if c.__module__.startswith("torch.nn."))
    return "" if found is nn.Module else found.__name__


def _train_dependent(layer: nn.Module) -> bool:
    if isinstance(layer, _DropoutNd):
        return layer.p > 0
    if isinstance(layer, _BatchNorm):
        return layer.track_running_stats
    if isinstance(layer, nn.RNNBase):
        return layer.dropout > 0 and layer.num_layers > 1
    return isinstance(layer, nn.MultiheadAttention) and layer.dropout > 0


def _first(dependent: list[tuple[nn.Module, str]], training: bool) -> str:
    """The first of these layers that is (or is not) in training mode."""
    return next((name for layer, name in dependent if layer.training is training), "")


def _tensors(value: Any, depth: int = 0) -> Any:
    """The tensors in an output: itself, or in lists, tuples, dicts and data classes of outputs."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth < 3:
        if isinstance(value, dict):
            value = value.values()
        elif not isinstance(value, list | tuple):
            return
        for item in list(value)[:8]:
            yield from _tensors(item, depth + 1)


def _detached(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach()
    if type(value) in (tuple, list):
        return type(value)(_detached(v) for v in value)
    if type(value) is dict:
        return {k: _detached(v) for k, v in value.items()}
    return value


def _shapes(value: Any) -> Any:
    """Shapes in place of tensors: nothing of the script's is kept alive."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, tuple):
        return [_shapes(v) for v in value if isinstance(v, torch.Tensor | tuple)]
    return None


def _shape_text(shapes: Any) -> str:
    if isinstance(shapes, tuple):
        return "×".join(map(str, shapes)) or "scalar"
    if isinstance(shapes, list):
        return ", ".join(filter(None, map(_shape_text, shapes)))
    return ""
