"""A forked child that cannot touch the script: its memory is a copy, and what it writes goes nowhere.

Fork is the one copy that is complete: closures that train the original, hooks that append to the user's lists,
weights that cannot be copied, all of it belongs to the child, and training in it leaves the parent as it was, to the
last bit. What a fork still shares is taken away first: descriptors that can be written lead to the null device,
those that are read get a position of their own. The child ends without any clean-up, and with it whatever it started.

Where a fork is not safe, nothing runs: :func:`obstacle` says why.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import torch

Send = Callable[[Any], None]
_ACCESS = 3
"""Mask of the access mode in a descriptor's flags (``O_ACCMODE``)."""


class Answer(NamedTuple):
    """What a child sent, and how it ended: ``""`` well, else ``time``, ``memory`` or ``crash``."""

    messages: list[Any]
    end: str


def obstacle(tensors: Iterable[torch.Tensor] = ()) -> str:
    """Why a child cannot be used: ``no-fork``, ``accelerator``, ``distributed`` or ``shared-memory``; "" if it can."""
    if not hasattr(os, "fork"):
        return "no-fork"
    if torch.cuda.is_initialized():
        return "accelerator"
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return "distributed"  # what the child sent would reach the other ranks
    if any(tensor.device.type == "cpu" and tensor.is_shared() for tensor in tensors):
        return "shared-memory"
    return ""


def in_child(work: Callable[[Send], None], seconds: float) -> Answer:
    """Run ``work`` in a forked child for at most so many seconds; it hands over what it learns with ``send``."""
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        _live(work, source, target)
    os.close(target)
    try:
        data, in_time = _read(source, time.monotonic() + seconds)
    finally:
        os.close(source)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    messages = [json.loads(line) for line in data.split(b"\n")[:-1]]
    if messages and messages[-1] == _END:
        return Answer(messages[:-1], "")
    if not in_time:
        return Answer(messages, "time")
    killed = signal.Signals(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
    return Answer(messages, "memory" if killed is signal.SIGKILL else "crash")


_END = "end"


def _read(source: int, until: float) -> tuple[bytes, bool]:
    """All that comes, and whether the other side closed in time."""
    data = b""
    while (left := until - time.monotonic()) > 0 and select.select([source], [], [], left)[0]:
        part = os.read(source, 1 << 16)
        if not part:
            return data, True
        data += part
    return data, False


def _live(work: Callable[[Send], None], source: int, target: int) -> None:
    """All of the child's life."""
    try:
        os.setpgid(0, 0)
        os.close(source)
        sys.settrace(None)
        _cut_off(target)
        _expendable()
        torch.set_num_threads(1)  # the pools of threads have stayed with the parent
        logging.disable(logging.CRITICAL)

        def send(message: Any) -> None:
            os.write(target, json.dumps(message).encode() + b"\n")

        work(send)
        send(_END)
    finally:
        os._exit(0)


def _cut_off(keep: int) -> None:
    """Nothing that the child writes may reach a file, a socket or the terminal; what it reads is read on its own."""
    import fcntl  # not on every system

    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in _descriptors():
        if descriptor in (keep, nothing):
            continue
        with suppress(OSError):
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & _ACCESS != os.O_RDONLY or descriptor == 0:
                os.dup2(nothing, descriptor)
            elif stat.S_ISREG(os.fstat(descriptor).st_mode):
                _reopen(descriptor)


def _descriptors() -> list[int]:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError, ValueError):
            return [int(name) for name in os.listdir(folder)]
    return list(range(256))


def _reopen(descriptor: int) -> None:
    """A descriptor that is inherited shares its position with the parent's."""
    own = os.open(f"/dev/fd/{descriptor}", os.O_RDONLY)
    os.lseek(own, os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
    os.dup2(own, descriptor)
    os.close(own)


def _expendable() -> None:
    """Where memory runs out, the system takes the child and not the training."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as stream:
        stream.write("1000")
