"""``nnaudit.probe`` and the assertions: what they find, and that they leave everything as it was."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nnaudit

torch = pytest.importorskip("torch")
import numpy as np  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from nnaudit.tracer.isolation import in_child, obstacle  # noqa: E402


class Plain(nn.Module):
    """Two layers; ``cut`` detaches the first, ``mixed`` runs a softmax along the samples."""

    def __init__(self, *, cut: bool = False, mixed: bool = False, fixed: int = 0) -> None:
        super().__init__()
        self.body = nn.Linear(6, 32)
        self.head = nn.Linear(32, 3)
        self.cut, self.mixed, self.fixed = cut, mixed, fixed

    def forward(self, x: Any) -> Any:
        h = torch.relu(self.body(x))
        if self.cut:
            h = h.detach()
        if self.mixed:
            h = torch.softmax(h, dim=0)
        if self.fixed:
            h = h.view(self.fixed, 32)
        return self.head(h)


@pytest.fixture
def batch() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(16, 6, generator=generator)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 1).long()


Assertion = Callable[..., None]
HEALTHY: list[Assertion] = [
    nnaudit.assert_connected,
    nnaudit.assert_no_crosstalk,
    nnaudit.assert_shapes_flow,
    nnaudit.assert_loss_at_chance,
    nnaudit.assert_overfits,
]


@pytest.mark.parametrize("assertion", HEALTHY, ids=lambda f: f.__name__)
def test_a_healthy_model_passes(assertion: Assertion, batch: tuple[Any, Any]) -> None:
    torch.manual_seed(0)
    assertion(Plain(), batch, F.cross_entropy)


@pytest.mark.parametrize(
    ("assertion", "model", "words"),
    [
        (nnaudit.assert_connected, Plain(cut=True), r"model\.body\.bias.*detach"),
        (nnaudit.assert_no_crosstalk, Plain(mixed=True), "softmax"),
        (nnaudit.assert_shapes_flow, Plain(fixed=16), "15 samples fail"),
        (nnaudit.assert_overfits, nn.Sequential(nn.Linear(6, 3), nn.Softmax(1), nn.Hardtanh(0.3, 0.4)), "by heart"),
    ],
    ids=["connected", "crosstalk", "shapes", "overfits"],
)
def test_a_faulty_model_is_found(assertion: Assertion, model: Any, words: str, batch: tuple[Any, Any]) -> None:
    with pytest.raises(AssertionError, match=words) as caught:
        assertion(model, batch, F.cross_entropy)
    assert not isinstance(caught.value, nnaudit.Inconclusive)


class Cube(torch.autograd.Function):
    """x³ with a derivative that lacks a factor."""

    factor = 1.0

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        (x,) = ctx.saved_tensors
        return gradient * Cube.factor * x**2


def test_gradients_by_formula_are_checked(batch: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(6, 3)

    def loss(output: Any, target: Any) -> Any:
        return F.cross_entropy(Cube.apply(output), target)

    with pytest.raises(AssertionError, match="Cube"):
        nnaudit.assert_gradients_correct(model, batch, loss)
    monkeypatch.setattr(Cube, "factor", 3.0)
    nnaudit.assert_gradients_correct(model, batch, loss)


def test_what_cannot_be_tried_is_inconclusive(batch: tuple[Any, Any]) -> None:
    with pytest.raises(nnaudit.Inconclusive, match="autograd function"):
        nnaudit.assert_gradients_correct(nn.Linear(6, 3), batch, F.cross_entropy)


def test_unknown_names_are_refused(batch: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="there are: connectivity"):
        nnaudit.probe(nn.Linear(6, 3), batch, F.cross_entropy, experiments=["nonsense"])


def test_everything_stays_as_it_was(batch: tuple[Any, Any], tmp_path: Path) -> None:
    """Hooks that fill lists, closures that hold the model, weights under a parametrisation, files, generators."""
    torch.manual_seed(0)
    seen: list[Any] = []
    log = (tmp_path / "log.txt").open("w")
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 16)), nn.BatchNorm1d(16), nn.Linear(16, 3))
    model.register_forward_hook(lambda module, args, output: seen.append(output))
    model.extra = torch.ones(3, requires_grad=True) * 2  # not a leaf: deepcopy would refuse

    def loss(output: Any, target: Any) -> Any:
        log.write("evaluated\n")
        log.flush()
        return F.cross_entropy(output * model.extra + 0 * model[2].weight.sum(), target)

    before = {k: v.clone() for k, v in model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    probed = nnaudit.probe(model, batch, loss)
    assert [p.name for p in probed.run.probes if not p.reason] != []
    log.close()
    assert seen == []
    assert (tmp_path / "log.txt").read_text() == ""
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[2] == random.getstate()
    assert np.array_equal(states[1], np.random.get_state()[1])


def test_weights_that_processes_share_are_not_touched(batch: tuple[Any, Any]) -> None:
    model = nn.Linear(6, 3).share_memory()
    assert obstacle(model.parameters()) == "shared-memory"
    probed = nnaudit.probe(model, batch, F.cross_entropy)
    assert {p.reason for p in probed.run.probes} == {"shared-memory"}


class Hanging(nn.Module):
    """Never comes back from its second call."""

    def __init__(self, harm: Callable[[], Any]) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.harm = harm

    def forward(self, x: Any) -> Any:
        self.harm()
        return self.layer(x)


def _hang() -> None:
    time.sleep(600)


def _die() -> None:
    os._exit(3)


def _raise() -> None:
    raise RuntimeError("no")


def _memory() -> None:
    torch.empty(1 << 50)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(_hang, "time"), (_die, "crash"), (_raise, "failed"), (_memory, "memory")],
    ids=["hang", "exit", "exception", "memory"],
)
def test_what_goes_wrong_in_the_child_is_a_reason(harm: Callable[[], Any], reason: str, batch: tuple[Any, Any]) -> None:
    began = time.monotonic()
    probed = nnaudit.probe(Hanging(harm), batch, F.cross_entropy, experiments=["crosstalk", "shapes"], seconds=3)
    assert {p.reason for p in probed.run.probes} == {reason}
    assert time.monotonic() - began < 60


def test_what_a_child_starts_ends_with_it(tmp_path: Path) -> None:
    def work(send: Callable[[Any], None]) -> None:
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        send(child)

    answer = in_child(work, 10)
    assert answer.end == ""
    deadline = time.monotonic() + 10
    while Path(f"/proc/{answer.messages[0]}").exists() and time.monotonic() < deadline:
        if "Z" in Path(f"/proc/{answer.messages[0]}/stat").read_text().split()[2]:
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{answer.messages[0]}").exists()


def test_a_child_reads_files_at_a_place_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(100)))
    with path.open("rb", buffering=0) as stream:
        stream.seek(10)
        answer = in_child(lambda send: send(list(stream.read(5))), 10)
        assert answer.messages == [[10, 11, 12, 13, 14]]
        assert stream.tell() == 10


def test_on_an_accelerator_a_copy_is_tried(monkeypatch: pytest.MonkeyPatch, batch: tuple[Any, Any]) -> None:
    """What needs the loss cannot be tried there; the rest is, on a copy without the script's hooks."""
    monkeypatch.setattr("nnaudit.tracer.probes.experiments.obstacle", lambda tensors: "accelerator")
    seen: list[Any] = []
    model = Plain(mixed=True)
    model.register_forward_hook(lambda module, args, output: seen.append(output))
    with nnaudit.trace(quiet=True, probes=["crosstalk", "overfit"]) as run:
        F.cross_entropy(model(batch[0]), batch[1]).backward()
    assert len(seen) == 1
    assert run.judgement is not None
    made = run.judgement.run
    assert [(p.name, p.reason) for p in made.probes] == [("crosstalk", ""), ("overfit", "accelerator")]
    assert [mix.operation for mix in made.mixes] == ["softmax"]
    assert all(p.grad is not None for p in model.parameters())


def test_a_model_that_cannot_be_copied_is_left_alone(monkeypatch: pytest.MonkeyPatch, batch: tuple[Any, Any]) -> None:
    monkeypatch.setattr("nnaudit.tracer.probes.experiments.obstacle", lambda tensors: "accelerator")
    model = Plain()
    model.extra = torch.ones(3, requires_grad=True) * 2  # deepcopy refuses tensors that are no leaves
    with nnaudit.trace(quiet=True, probes=["crosstalk"]) as run:
        F.cross_entropy(model(batch[0]), batch[1]).backward()
    assert run.judgement is not None
    [probe] = run.judgement.run.probes
    assert probe.reason == "accelerator"
    assert "no copy could be made" in probe.detail


def test_a_block_that_is_traced_can_be_probed(batch: tuple[Any, Any]) -> None:
    torch.manual_seed(0)
    model = Plain()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with nnaudit.trace(quiet=True, probes=["connectivity", "overfit"]) as run:
        for _ in range(3):
            loss = F.cross_entropy(model(batch[0]), batch[1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert run.judgement is not None
    assert {p.reason for p in run.judgement.run.probes} == {""}
    assert all(fit.best < 0.5 * fit.constant for fit in run.judgement.run.fits)
    with pytest.raises(ValueError, match="is no experiment"):
        nnaudit.trace(probes=["nonsense"])
