"""Backward passes: from where, of what, and which parameters the graph leads to."""

from __future__ import annotations

import functools
import math
import time
import weakref
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from ...rules.finding import Line
from .. import rerun
from ..quiet import blind
from ..run import Backward, Parameter
from ..watch import Recorder, Watch
from .data import readings
from .modules import ModuleRecorder

if TYPE_CHECKING:
    from .optimizers import OptimizerRecorder

DENSE_CALLS = 100
"""Backward passes of a line that are looked at in full also between light steps."""
MAX_NODES = 200_000
MAX_BY_HAND = 32
MAX_SIZES = 16
MARKED_CALLS = 4096
"""So many backward passes of a place are asked whether their graph is kept."""
PAIRS_FIRST = 3
"""Backward passes of a line in whose graph a table of all pairs is looked for."""
MAX_PLACES = 512
MAX_PARAMETERS = 200_000
"""Past it graphs are no longer walked: the script makes new tensors all the time."""
_is_compiling = torch.compiler.is_dynamo_compiling


class GradientRecorder(Recorder):
    """Patches ``torch.autograd.backward``, through which ``Tensor.backward`` goes too."""

    def __init__(self, watch: Watch, modules: ModuleRecorder, optimizers: OptimizerRecorder) -> None:
        super().__init__(watch)
        self._modules = modules
        self._optimizers = optimizers
        self._places: dict[Line | None, Backward] = {}
        self.examine: Callable[[torch.Tensor, Backward], None] | None = None
        """Called with a loss that is not finite, before its graph is freed."""
        self.probe: Callable[[Any, Backward], None] | None = None
        """Called before the first backward pass of a place."""
        self.last: Backward | None = None
        self._hand: dict[int, tuple[weakref.ref[torch.Tensor], float]] = {}
        """Trained tensors that no optimizer has, each with the sum of its numbers at the last look."""

    def attach(self) -> None:
        """Patch the one function."""
        self.patch(torch.autograd, "backward", self._wrapped)

    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            watch = self.watch
            if _is_compiling() or not self.on or watch.in_backward or blind():
                return original(tensors, *args, **kwargs)
            place = None
            try:
                place = self._before(tensors)
            except Exception as error:
                watch.fail(self, error)
            if place is not None and place.calls == 1 and self.probe is not None:
                self.probe(tensors, place)
            watch.in_backward = True
            try:
                result = original(tensors, *args, **kwargs)
            finally:
                watch.in_backward = False
                self._modules.calls.clear()
            if place is not None:
                try:
                    self._optimizers.after_backward(place)
                except Exception as error:
                    watch.fail(self._optimizers, error)
            return result

        return backward

    def _before(self, tensors: Any) -> Backward | None:
        watch = self.watch
        self._modules.reset()
        line = watch.here(3)
        place = self._places.get(line)
        if place is None:
            if len(self._places) >= MAX_PLACES:
                return None
            place = self._places[line] = watch.record.new(Backward, line=line)
        place.calls += 1
        watch.backwards += 1
        if self._hand and not watch.steps:
            self._moved_by_hand(place)
        watch.record.touch(place)
        self.last = place
        for reading in readings(watch):
            reading.trained()
        self._mark(place, tensors)
        full = watch.light or self._optimizers.examining or place.calls <= DENSE_CALLS
        if not full and not math.log10(place.calls).is_integer():
            self._check(place, tensors)
            return place
        for key in watch.losses_since_backward:
            if key not in place.losses and len(place.losses) < 16:
                place.losses.append(key)
        watch.losses_since_backward.clear()
        began = time.perf_counter()
        self._optimizers.before_backward(place)
        loss = self._check(place, tensors)
        if watch.light:
            watch.spend(began)
        if loss is not None and (place.calls <= 3 or math.log10(place.calls).is_integer()):
            self._walk(place, loss)
        return place

    def _mark(self, place: Backward, tensors: Any) -> None:
        """Count the graphs that outlive their backward pass: the mark lives as long as the node of the loss."""
        if place.calls > MARKED_CALLS or not isinstance(tensors, torch.Tensor):
            return
        metadata = getattr(tensors.grad_fn, "metadata", None)
        if isinstance(metadata, dict) and _MARK not in metadata:
            metadata[_MARK] = _Alive(place)

    def _check(self, place: Backward, tensors: Any) -> torch.Tensor | None:
        """What every pass is asked: a finite value, and a graph."""
        loss = tensors if isinstance(tensors, torch.Tensor) else None
        if loss is None and isinstance(tensors, list | tuple) and tensors and isinstance(tensors[0], torch.Tensor):
            loss = tensors[0]
        if loss is None or loss.numel() != 1:
            return None
        self._value(place, loss)
        if loss.grad_fn is None:
            place.leaf += 1
        return loss

    def _value(self, place: Backward, loss: torch.Tensor) -> None:
        watch = self.watch
        step = watch.steps
        if loss.device.type == "cpu" or watch.find_nan:
            value = loss.item()
            self._keep(place, step, value)
            if not math.isfinite(value) and self.examine is not None:
                self.examine(loss, place)
        else:
            watch.numbers.later((loss.detach(),), lambda values: self._keep(place, step, values[0]))

    def _keep(self, place: Backward, step: int, value: float) -> None:
        if not math.isfinite(value):
            place.nonfinite += 1
        elif not self.watch.light:
            return
        self.watch.record.add("objective", place.key, (place.key,), step, array("f", (value,)))

    def _walk(self, place: Backward, loss: torch.Tensor) -> None:
        """Follow the graph to its leaves."""
        began = time.perf_counter()
        reached, size = leaves_of(loss)
        if len(place.sizes) < MAX_SIZES:
            place.sizes.append(size)
        if reached is not None:
            place.walked += 1
            count = 0
            if self.watch.record.full(Parameter, MAX_PARAMETERS):
                return
            for tensor in reached:
                thing = self._modules.parameter(tensor, plain=type(tensor) is torch.Tensor)
                thing.reached += 1
                if not thing.optimizers:
                    self._note_by_hand(tensor)
                    if thing.reached == 1:
                        self._modules.compare_with_initialisation(thing, tensor)
                    self._modules.compare_with_before(thing, tensor)
                if place.key not in thing.reached_by and len(thing.reached_by) < 16:
                    thing.reached_by.append(place.key)
                count += 1
                self.watch.record.touch(thing)
                if not thing.name:
                    self._name_plain(tensor, thing)
            place.parameters = count
            if place.calls <= PAIRS_FIRST:
                self._look_for_pairs(place, loss)
        self.watch.spent += time.perf_counter() - began

    def _note_by_hand(self, tensor: torch.Tensor) -> None:
        """Nothing but the script itself can move this one."""
        if len(self._hand) < MAX_BY_HAND and not self.watch.steps and tensor.device.type == "cpu":
            self._hand[id(tensor)] = (weakref.ref(tensor), float(tensor.detach().sum()))

    def _moved_by_hand(self, place: Backward) -> None:
        """Has the script made a step since the last backward pass, and left its gradients there?"""
        if place.by_hand >= DENSE_CALLS:
            self._hand.clear()
        moved = left = False
        for key, (reference, before) in list(self._hand.items()):
            tensor = reference()
            if tensor is None:
                del self._hand[key]
                continue
            now = float(tensor.detach().sum())
            self._hand[key] = (reference, now)
            if now != before:
                moved = True
                left = left or (tensor.grad is not None and bool(tensor.grad.any()))
        place.by_hand += moved
        place.uncleared += moved and left

    def _look_for_pairs(self, place: Backward, loss: torch.Tensor) -> None:
        """Between network and loss, is every prediction compared with every target?"""
        place.compared += 1
        if not has_pairs(loss):
            return
        place.pairs += 1
        if place.pairs == 1:
            found = rerun.all_pairs(self.watch, place.line)
            if found is not None:
                place.pairs_operation, place.pairs_line, place.pairs_shapes = found

    def _name_plain(self, tensor: torch.Tensor, thing: Any) -> None:
        """A tensor that no module registers: perhaps some module holds it as a plain attribute."""
        for _, root in self._modules.roots():
            for reference, known in list(root.things.values()):
                layer = reference()
                for name, value in list(vars(layer).items()) if layer is not None else ():
                    if value is tensor:
                        thing.name, thing.plain = f"{known.name}.{name}", True
                        thing.module, thing.line = known.key, known.line
                        assert layer is not None
                        thing.line = self._modules.assigned_at(layer, name) or known.line
                        return


class _Alive:
    """Lives in a node of a graph."""

    __slots__ = ("place",)

    def __init__(self, place: Backward) -> None:
        self.place = place
        place.alive += 1
        place.most_alive = max(place.most_alive, place.alive)

    def __del__(self) -> None:
        self.place.alive -= 1


_MARK = "nnaudit"


def leaves_of(loss: torch.Tensor) -> tuple[list[torch.Tensor] | None, int]:
    """The leaf tensors to which gradients of ``loss`` flow, None where the graph is too large; and its nodes."""
    if loss.grad_fn is None:
        return [], 0
    seen = {loss.grad_fn}
    queue = [loss.grad_fn]
    found: dict[int, torch.Tensor] = {}
    while queue:
        node = queue.pop()
        variable = getattr(node, "variable", None)
        if isinstance(variable, torch.Tensor):
            found[id(variable)] = variable
        for inner, _ in node.next_functions:
            if inner is not None and inner not in seen:
                seen.add(inner)
                queue.append(inner)
        if len(seen) > MAX_NODES:
            return None, len(seen)
    return list(found.values()), len(seen)


_ELEMENTWISE = frozenset(
    f"{name}Backward{number}"
    for name in "Pow Abs Sqrt Mean Sum Add Sub Rsub Mul Div Neg Log Clamp ClampMin ToCopy Square Relu Log1P".split()
    for number in range(3)
)
"""What turns a table of differences into a loss: nothing here tells rows from columns."""
_MEETS = ("SubBackward0", "RsubBackward1", "MulBackward0")
"""Where a prediction meets a target in a loss of one's own."""


def has_pairs(loss: torch.Tensor) -> bool:
    """Whether a column (or row) with a graph becomes a square table there, by something without one."""
    queue = [loss.grad_fn]
    seen = set(queue)
    while queue and len(seen) < 100:
        node = queue.pop()
        if node is None or node.name() not in _ELEMENTWISE:
            continue
        inner = [n for n, _ in node.next_functions if n is not None]
        if node.name() in _MEETS and len(inner) == 1:
            table, side = _shape_after(node), _shape_after(inner[0])
            if len(table) == 2 and table[0] == table[1] > 1 and side in ((table[0], 1), (table[0],)):
                return True
        for n in inner:
            if n not in seen:
                seen.add(n)
                queue.append(n)
    return False


def _shape_after(node: Any) -> tuple[int, ...]:
    """The shape of what an operation made; () where torch does not say."""
    made = getattr(node, "_input_metadata", None)
    return tuple(made[0].shape) if made else ()
