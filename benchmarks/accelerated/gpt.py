"""Trains a GPT of GPT-2's sizes on a GPU, and says how long a step took and where the CPU waited for the device.

``--size medium`` (355 million parameters, context 1024) is bound by the device; ``--size launch`` (small batches of a
small model) is bound by the CPU that launches kernels, the hardest case for anything that adds Python to a step. Steps
are timed by CUDA events from the 20th on; with ``--profile`` thirty steps run under ``torch.profiler`` and what the
CUDA runtime was asked for is counted. The result is one line of JSON on standard output.
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIZES = {  # layers, width, heads, context, batch
    "small": (12, 768, 12, 1024, 16),
    "medium": (24, 1024, 16, 1024, 8),
    "launch": (12, 256, 4, 64, 4),
}
VOCAB = 50_304
WAITS = (
    "cudaStreamSynchronize",
    "cudaEventSynchronize",
    "cudaDeviceSynchronize",
    "cudaMemcpy",
    "cudaHostAlloc",
    "cudaFree",
)
WARM_UP, PROFILED = 20, 30


class Block(nn.Module):
    """Causal attention and a feed-forward part, each with a norm in front."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        """Add both parts to the residual stream."""
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).reshape(b, t, c))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Token and position embeddings, blocks, tied head."""

    def __init__(self, layers, width, heads, context):
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCAB, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCAB, bias=False)
        self.apply(self.initialise)
        self.head.weight = self.tokens.weight

    def initialise(self, module):
        """Start from small normal weights."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, x):
        """Return logits for the next token at each place."""
        h = self.tokens(x) + self.places(torch.arange(x.size(1), device=x.device))
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))


def main():
    """Train, time, and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="medium")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(0)
    layers, width, heads, context, batch = SIZES[args.size]
    text = torch.randint(VOCAB, (batch * 64, context + 1)).sort(1).values
    loader = DataLoader(TensorDataset(text), batch_size=batch, shuffle=True, pin_memory=args.device == "cuda")
    model = GPT(layers, width, heads, context).to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1)
    model.train()
    step, losses, profiler = 0, [], None
    while step < args.steps:
        for (rows,) in loader:
            if step == WARM_UP:
                torch.cuda.synchronize()
                before, wall = torch.cuda.Event(enable_timing=True), time.perf_counter()
                before.record()
            if args.profile and step == args.steps - PROFILED:
                profiler = torch.profiler.profile()
                profiler.start()
            rows = rows.to(args.device, non_blocking=True)
            with torch.autocast(args.device, torch.bfloat16):
                logits = model(rows[:, :-1])
                loss = F.cross_entropy(logits.reshape(-1, VOCAB), rows[:, 1:].reshape(-1))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.detach())
            step += 1
            if step == args.steps:
                break
    if profiler is not None:
        profiler.stop()
    after = torch.cuda.Event(enable_timing=True)
    after.record()
    torch.cuda.synchronize()
    timed = args.steps - WARM_UP
    result = {
        "steps": timed,
        "device_ms": before.elapsed_time(after) / timed,
        "wall_ms": 1000 * (time.perf_counter() - wall) / timed,
        "loss": torch.stack(losses).double().sum().item(),
        "peak_mb": torch.cuda.max_memory_allocated() / 2**20,
    }
    if profiler is not None:
        counted = {event.key: event.count for event in profiler.key_averages()}
        result["waits"] = {name: count for name, count in counted.items() if name.startswith(WAITS)}
        result["kernels"] = counted.get("cudaLaunchKernel", 0)
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main()
