"""Tracing changes nothing: weights, buffers, optimizer states, random generators and output are equal to the last bit.

Plain against plain is shown first: a script that is not deterministic by itself would prove nothing.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")

SCRIPTS = sorted((Path(__file__).parent / "runs" / "equal").glob("*.py"))


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Where two saved states differ."""
    if type(a) is not type(b):
        return [f"{path}: {type(a).__name__} and {type(b).__name__}"]
    if isinstance(a, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape
        return [] if same and torch.equal(_bytes(a), _bytes(b)) else [path]
    if isinstance(a, np.ndarray):
        return [] if a.dtype == b.dtype and a.tobytes() == b.tobytes() else [path]
    if isinstance(a, dict):
        if list(a) != list(b):
            return [f"{path}: keys"]
        return [d for key in a for d in differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return [f"{path}: length"]
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{path}/{i}")]
    return [] if a == b or (a != a and b != b) else [path]


def _bytes(tensor: Any) -> Any:
    return tensor.detach().contiguous().flatten().view(torch.uint8)


def run(script: Path, folder: Path, *launcher: str) -> tuple[bytes, bytes, Any]:
    """Standard output, standard error, and the state that the script saved."""
    out = folder / "state.pt"
    command = [sys.executable, *launcher, str(script), "--seed", "0", "--out", str(out)]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    state = torch.load(out, weights_only=False)
    out.unlink()
    return done.stdout, done.stderr, state


def test_there_are_enough_scripts() -> None:
    assert len(SCRIPTS) >= 10


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_equal(script: Path, tmp_path: Path) -> None:
    plain, _, state = run(script, tmp_path)
    again, _, same_state = run(script, tmp_path)
    assert plain == again
    assert differences(state, same_state) == []
    traced, errors, traced_state = run(script, tmp_path, "-m", "nnaudit", "trace", "--exit-zero")
    assert b"optimizer steps" in errors, "it was watched"
    assert b"warning" not in errors.lower()
    assert traced == plain
    assert differences(state, traced_state) == []
    # Only the places and orders of experiments differ with the budget: a short one breaks some of them off.
    probing = ("-m", "nnaudit", "trace", "--exit-zero", "--probe", "all", "--probe-budget", "8")
    probed, errors, probed_state = run(script, tmp_path, *probing)
    assert b"tried" in errors, "experiments were made"
    assert probed == plain
    assert differences(state, probed_state) == []
