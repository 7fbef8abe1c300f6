"""Child processes: what trains there is not seen, and the verdict says so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from ..watch import Recorder


class ProcessRecorder(Recorder):
    """Notices processes that are no data loader's workers."""

    def attach(self) -> None:
        """Patch the one method that starts a process."""
        self.patch(BaseProcess, "start", self._started)

    def _started(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def start(process: Any) -> None:
            target = getattr(process, "_target", None)
            if self.on and not str(getattr(target, "__module__", "")).startswith("torch.utils.data"):
                self.watch.note("child processes (multiprocessing): only this process is traced")
            original(process)

        return start
