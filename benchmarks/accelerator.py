"""What tracing costs on a GPU: ``python benchmarks/accelerator.py [--rounds N] [--sizes medium,launch]``.

``benchmarks/accelerated/gpt.py`` runs plain and traced, interleaved; the numbers are medians of the rounds' ratios of
time a step (CUDA events) and of peak memory, and, from one more pair of runs under ``torch.profiler``, how often the
CPU was made to wait for the device in thirty ordinary steps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parent / "accelerated" / "gpt.py"
STEPS = {"small": 200, "medium": 120, "launch": 500}


def main() -> int:
    """Print a block for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default="medium,launch")
    options = parser.parse_args()
    for size in options.sizes.split(","):
        arguments = ["--size", size, "--steps", str(STEPS[size])]
        pairs = [(run(arguments, False), run(arguments, True)) for _ in range(options.rounds)]
        plain = median(a["device_ms"] for a, _ in pairs)
        print(f"{size}: {STEPS[size]} steps, {options.rounds} rounds, plain {plain:.2f} ms a step")
        for key in ("device_ms", "wall_ms", "peak_mb"):
            ratios = [b[key] / a[key] for a, b in pairs]
            print(f"  {key:<10} {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
        print("  summed loss, plain and traced:", *(f"{a['loss']!r} {b['loss']!r}" for a, b in pairs), flush=True)
        for name, traced in (("plain", False), ("traced", True)):
            seen = run([*arguments, "--profile"], traced)
            print(f"  {name}, 30 steps: {seen['kernels']} launches, waits {seen['waits']}", flush=True)
    return 0


def run(arguments: list[str], traced: bool) -> dict[str, Any]:
    """The result line of one run."""
    with tempfile.TemporaryDirectory(prefix="nnaudit-bench-") as folder:
        trace = ["-m", "nnaudit", "trace", "--exit-zero", "--run-dir", folder] if traced else []
        command = [sys.executable, *trace, str(SCRIPT), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        sys.exit(f"{' '.join(command)} failed ({done.returncode}):\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(lines[0].removeprefix("RESULT "))
    result["stderr"] = done.stderr
    return result


median = statistics.median


if __name__ == "__main__":
    sys.exit(main())
