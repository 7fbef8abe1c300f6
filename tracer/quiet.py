"""Leave no trace: everything that the tracer computes runs in a neutral surrounding, and cannot hurt the script."""

from __future__ import annotations

import random
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch._C import _functorch

_MAIN = threading.main_thread().ident


def blind() -> bool:
    """Whether the tracer must look away: compilation, vmap and its kin, fake tensors, tracing, other threads."""
    return (
        threading.get_ident() != _MAIN
        or torch._C._len_torch_dispatch_stack() > 0
        or _functorch.peek_interpreter_stack() is not None
        or torch._C._get_tracing_state() is not None
    )


@contextmanager
def quiet() -> Iterator[None]:
    """For heavier work: random generators, autocast, gradient mode, determinism and warnings as if nothing ran."""
    torch_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    numpy_state: Any = np.random.get_state()
    python_state = random.getstate()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        if deterministic:
            torch.use_deterministic_algorithms(True, warn_only=True)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        if deterministic:
            torch.use_deterministic_algorithms(True, warn_only=warn_only)
        torch.set_rng_state(torch_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def say(text: str) -> None:
    """One line to the user, on standard error."""
    if sys.stderr is None:  # Python would print to standard output instead
        return
    with suppress(OSError, ValueError):  # nobody may listen any more
        print(f"nnaudit: {text}", file=sys.stderr, flush=True)  # noqa: T201
