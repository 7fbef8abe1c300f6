"""``with nnaudit.trace() as run:`` in a process of one's own: what it tells, and that nothing of it stays."""

from __future__ import annotations

import copy
import gc
import os
import re
import signal
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import MISTAKE

import nnaudit

torch = pytest.importorskip("torch")
from torch import nn, optim  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.nn.modules import module as module_hooks  # noqa: E402
from torch.optim import lr_scheduler  # noqa: E402
from torch.optim import optimizer as optimizer_hooks  # noqa: E402
from torch.utils import data  # noqa: E402
from torch.utils.data import dataloader  # noqa: E402

from nnaudit.tracer.store import load  # noqa: E402


def make() -> tuple[nn.Module, optim.Optimizer, data.DataLoader[Any]]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    inputs = torch.randn(128, 8)
    loader = data.DataLoader(data.TensorDataset(inputs, (inputs.sum(1) > 0).long()), batch_size=8, shuffle=True)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    return model, optim.SGD(model.parameters(), lr=0.1), loader


def train(model: nn.Module, optimizer: optim.Optimizer, loader: Any, clears: bool = True) -> None:
    for _ in range(2):
        for inputs, labels in loader:
            if clears:
                optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()


# ---------------------------------------------------------------------------- what it tells


def test_findings_of_what_ran_inside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with nnaudit.trace(run_dir=tmp_path / "run") as run:
        train(*make(), clears=False)
        assert [f.code for f in run.findings] == [MISTAKE]  # while it runs
    (finding,) = run.findings
    assert finding.code == MISTAKE
    assert Path(finding.place.filename).name == Path(__file__).name
    assert "loss.backward()" in Path(__file__).read_text().splitlines()[finding.place.location.row - 1]
    assert run.judgement is not None
    assert run.judgement.run.steps == 32
    recorded = load(tmp_path / "run" / "rank0.sqlite")
    assert (recorded.finished, recorded.steps) == (True, 32)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(rf"^nnaudit: step \d+: \S+: {MISTAKE} ", err)
    assert f"record    {tmp_path / 'run'}" in err


def test_a_model_made_before_the_block_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    parts = make()
    train(*parts, clears=False)  # not watched
    with nnaudit.trace(quiet=True) as run:
        train(*parts)
    assert capsys.readouterr() == ("", "")
    assert run.findings == []
    assert run.judgement is not None
    seen = run.judgement.run
    assert seen.steps == 32
    assert [(p.name, p.nonzero > 0) for p in seen.parameters] == [
        (f"model.{name}", True) for name in ("0.weight", "0.bias", "2.weight", "2.bias")
    ]


class Scaled(nn.Linear):
    """A layer of one's own, derived from torch's."""


def test_layers_of_ones_own_are_known_by_the_class_that_they_derive_from() -> None:
    model = nn.Sequential(Scaled(8, 4), nn.ReLU(), nn.Linear(4, 2))
    with nnaudit.trace(quiet=True) as run:
        model(torch.randn(3, 8)).sum().backward()
    assert run.judgement is not None
    seen = [(m.class_name, m.base) for m in run.judgement.run.modules]
    assert seen == [("Sequential", "Sequential"), ("Scaled", "Linear"), ("ReLU", "ReLU"), ("Linear", "Linear")]


def test_nothing_is_written_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with nnaudit.trace(quiet=True):
        train(*make())
    assert list(tmp_path.iterdir()) == []


def test_the_selection_is_that_of_scan() -> None:
    with nnaudit.trace(quiet=True, ignore=[MISTAKE]) as run:
        train(*make(), clears=False)
    assert run.findings == []
    with pytest.raises(ValueError, match="NN999"):
        nnaudit.trace(select=["NN999"])


def test_an_exception_inside_goes_on_and_is_explained() -> None:
    model, optimizer, loader = make()
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(8, 2))
    run = nnaudit.trace(quiet=True)
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught, run:
        train(model, optimizer, loader)
    assert caught.traceback[-1].path.name == "linear.py"
    assert run.judgement is not None
    assert [failure.type for failure in run.judgement.run.failures] == ["RuntimeError"]
    assert "NN407" in [finding.code for finding in run.findings]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_request_to_stop_is_no_failure(stop: type[BaseException]) -> None:
    run = nnaudit.trace(quiet=True)

    def stopped() -> None:
        train(*make())
        raise stop

    with pytest.raises(stop), run:
        stopped()
    assert run.judgement is not None
    assert run.judgement.run.failures == []
    assert run.judgement.run.steps == 32


def test_a_forked_child_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    parts = make()
    with nnaudit.trace() as run:
        train(*parts)
        child = os.fork()
        if child == 0:  # it does not train: the threads of the parent's are not there
            signal.alarm(60)
            try:
                run.__exit__(None, None, None)
                assert run.judgement is None
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        train(*parts)
    assert run.judgement is not None
    assert run.judgement.run.steps == 64
    assert capfd.readouterr().err.count("nnaudit: ") == 1


# ---------------------------------------------------------------------------- nothing of it stays


HOOKS = [
    (owner, name)
    for owner in (module_hooks, optimizer_hooks)
    for name, value in vars(owner).items()
    if name.startswith("_global_") and isinstance(value, dict)
]


def state() -> dict[str, Any]:
    """Everything that could be patched: modules, classes and hook dictionaries of torch, as they are."""
    owners: list[Any] = [
        F,
        torch,
        torch.autograd,
        torch.amp.GradScaler,
        torch.jit,
        torch.nn.utils,
        torch.nn.utils.clip_grad,
        torch.Tensor,
        nn.Module,
        nn.Linear,
        nn.CrossEntropyLoss,
        module_hooks,
        optimizer_hooks.Optimizer,
        optim.SGD,
        lr_scheduler,
        lr_scheduler.LRScheduler,
        lr_scheduler.StepLR,
        data.DataLoader,
        dataloader._BaseDataLoaderIter,
        dataloader._SingleProcessDataLoaderIter,
        sys.modules["multiprocessing.process"].BaseProcess,  # type: ignore[attr-defined]
        os,
        sys,
    ]
    found = {f"{owner!r}.{name}": value for owner in owners for name, value in vars(owner).items()}
    found.update({f"hooks {owner.__name__}.{name}": dict(getattr(owner, name)) for owner, name in HOOKS})
    return found


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    # Torch itself leaves a mark in the table of hooks with keyword arguments; no later hook has the same number.
    ignored = re.compile(r"<module 'sys'.*\.(last_|_|modules|stdout|stderr)|__warningregistry__|hooks_with_kwargs$")
    return [
        key
        for key in before.keys() | after.keys()
        if not ignored.search(key) and (before.get(key) is not after.get(key)) and not _same_dict(key, before, after)
    ]


def _same_dict(key: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    return key.startswith("hooks ") and before.get(key) == after.get(key)


@pytest.fixture
def trained() -> Iterator[None]:
    """Torch fills some tables at the first use: let it."""
    train(*make())
    return None


def test_everything_patched_is_as_it_was(trained: None) -> None:
    assert len(HOOKS) >= 10
    before = state()
    with nnaudit.trace(quiet=True):
        inside = changed(before, state())
        train(*make())
    assert changed(before, state()) == []
    # The comparison sees what is patched.
    names = {key.rsplit(".", 1)[-1] for key in inside}
    assert {"cross_entropy", "backward", "__iter__", "zero_grad", "__call__", "__init__"} <= names


def test_after_an_exception_too(trained: None) -> None:
    before = state()
    model, optimizer, _ = make()
    with pytest.raises(RuntimeError), nnaudit.trace(quiet=True):
        train(model, optimizer, [(torch.zeros(2, 3), torch.zeros(2))])
    assert changed(before, state()) == []


def attributes(thing: Any) -> dict[str, Any]:
    return {name: copy.copy(value) for name, value in vars(thing).items()}


def test_nothing_is_put_on_the_scripts_own_objects(trained: None) -> None:
    model, optimizer, loader = make()
    things = [*model.modules(), optimizer, loader, loader.dataset]
    before = [attributes(thing) for thing in things]
    parameters = [(vars(p).copy(), p._backward_hooks) for p in model.parameters()]
    with nnaudit.trace(quiet=True):
        train(model, optimizer, loader)
    for thing, old in zip(things, before, strict=True):
        new = vars(thing)
        assert list(new) == list(old)
        for name in old:
            if name not in ("state",):  # of the optimizer: its own
                assert repr(type(new[name])) == repr(type(old[name]))
                if isinstance(new[name], dict):
                    assert list(new[name]) == list(old[name]), name
    assert [(vars(p), p._backward_hooks) for p in model.parameters()] == parameters


def used() -> tuple[list[weakref.ref[Any]], list[weakref.ref[Any]]]:
    """What a step leaves behind, and what a training does, after the last name for it is gone."""
    model, optimizer, loader = make()
    train(model, optimizer, loader)
    inputs, labels = next(iter(loader))
    output = model(inputs)
    loss = F.cross_entropy(output, labels)
    loss.backward()
    optimizer.step()
    lasting = (model, model[0], model[0].weight, optimizer, loader, loader.dataset)
    return [weakref.ref(t) for t in (inputs, labels, output, loss)], [weakref.ref(t) for t in lasting]


def alive(references: list[weakref.ref[Any]]) -> list[Any]:
    gc.collect()
    return [reference() for reference in references if reference() is not None]


def test_batches_and_losses_are_not_kept_alive() -> None:
    with nnaudit.trace(quiet=True):
        passing, _ = used()
        assert alive(passing) == []


def test_models_are_not_kept_alive() -> None:
    """A script that deletes a model counts on its memory."""
    with nnaudit.trace(quiet=True):
        _, lasting = used()
        assert alive(lasting) == []


def test_nothing_is_kept_alive_afterwards() -> None:
    with nnaudit.trace(quiet=True) as run:
        passing, lasting = used()
    assert run.judgement is not None
    assert alive(passing + lasting) == []


def test_tracers_do_not_pile_up() -> None:
    from nnaudit.tracer.attach import Tracer

    def count() -> int:
        gc.collect()
        return sum(type(thing) is Tracer for thing in gc.get_objects())

    before = count()
    for _ in range(3):
        with nnaudit.trace(quiet=True):
            train(*make())
    assert count() <= before


def test_one_inside_the_other(trained: None) -> None:
    before = state()
    with nnaudit.trace(quiet=True) as outer:
        train(*make())
        with nnaudit.trace(quiet=True) as inner:
            train(*make(), clears=False)
        train(*make())
    assert changed(before, state()) == []
    assert inner.judgement is not None
    assert outer.judgement is not None
    assert (inner.judgement.run.steps, outer.judgement.run.steps) == (32, 96)
    assert MISTAKE in [finding.code for finding in inner.findings]
    assert sum(loader.batches for loader in outer.judgement.run.loaders) == 96
    assert sum(backward.calls for backward in outer.judgement.run.backwards) == 96


def test_one_after_the_other_on_the_same_objects() -> None:
    parts = make()
    runs = []
    for _ in range(2):
        with nnaudit.trace(quiet=True) as run:
            train(*parts)
        assert run.judgement is not None
        runs.append(run.judgement.run)
    assert [run.steps for run in runs] == [32, 32]
    assert runs[0].things.keys() == runs[1].things.keys()
    assert [len(run.parameters) for run in runs] == [4, 4]
