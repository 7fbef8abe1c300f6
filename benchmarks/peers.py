"""Runs a script under another tool, for ``benchmarks/trace.py``: ``python peers.py TOOL SCRIPT ARGS...``."""

from __future__ import annotations

import gc
import runpy
import sys
from typing import Any

import torch


def anomaly(model: Any) -> None:
    """The mode of torch itself, which the script would switch on before training."""
    torch.autograd.set_detect_anomaly(True)


def torch_audit(model: Any) -> None:
    """Version 0.3: audits patched into the model and its optimizer, here every tenth step (its default is 1000)."""
    from torch_audit import autopatch

    optimizer = next(o for o in gc.get_objects() if isinstance(o, torch.optim.Optimizer))
    autopatch(model, optimizer=optimizer, every_n_steps=10, fail_level="FATAL")


def wandb_watch(model: Any) -> None:
    """Histograms of parameters and gradients, logged every tenth step, written to a local folder."""
    import wandb
    from torch.optim.optimizer import register_optimizer_step_post_hook

    run = wandb.init(mode="offline")
    run.watch(model, log="all", log_freq=10)

    def log(optimizer: Any, args: Any, kwargs: Any) -> None:
        run.log({"step": 1})

    register_optimizer_step_post_hook(log)


TOOLS = {"anomaly": anomaly, "torch-audit": torch_audit, "wandb-watch": wandb_watch}


def main() -> None:
    """Switch the tool on when the script calls ``model.train()``, then let it run."""
    tool, script = sys.argv[1], sys.argv[2]
    train = torch.nn.Module.train
    begun: list[bool] = []

    def first(model: Any, mode: bool = True) -> Any:
        outermost = not begun
        begun.append(True)
        result = train(model, mode)
        if outermost:
            TOOLS[tool](model)
        return result

    torch.nn.Module.train = first  # type: ignore[method-assign]
    sys.argv = sys.argv[2:]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
