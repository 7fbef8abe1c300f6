"""Trains an encoder-decoder transformer with teacher forcing to reverse sequences."""

import argparse
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

PAD, BOS, EOS, FIRST = 0, 1, 2, 3


class Reversals(Dataset):
    def __init__(self, count, vocab, longest):
        self.rows = []
        for _ in range(count):
            length = int(torch.randint(2, longest + 1, ()))
            self.rows.append(torch.randint(FIRST, vocab, (length,)))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        return row, torch.cat([torch.tensor([BOS]), row.flip(0), torch.tensor([EOS])])


def collate(pairs):
    sources, targets = zip(*pairs, strict=True)
    pad = nn.utils.rnn.pad_sequence
    return pad(sources, batch_first=True, padding_value=PAD), pad(targets, batch_first=True, padding_value=PAD)


class Seq2Seq(nn.Module):
    def __init__(self, vocab, width, longest):
        super().__init__()
        self.embed = nn.Embedding(vocab, width, padding_idx=PAD)
        self.places = nn.Parameter(0.02 * torch.randn(longest, width))
        self.transformer = nn.Transformer(
            width, 4, 1, 1, dim_feedforward=2 * width, dropout=0.0, batch_first=True, norm_first=False
        )
        self.project = nn.Linear(width, vocab)
        self.scale = math.sqrt(width)
        with torch.no_grad():
            self.embed.weight.div_(self.scale)

    def locate(self, tokens):
        return self.embed(tokens) * self.scale + self.places[: tokens.size(1)]

    def forward(self, source, target):
        mask = nn.Transformer.generate_square_subsequent_mask(target.size(1), dtype=torch.bool)
        hidden = self.transformer(
            self.locate(source),
            self.locate(target),
            tgt_mask=mask,
            tgt_is_causal=True,
            src_key_padding_mask=source == PAD,
            tgt_key_padding_mask=target == PAD,
            memory_key_padding_mask=source == PAD,
        )
        return self.project(hidden)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width, vocab = {"s": (960, 32, 12), "m": (3200, 64, 20), "l": (4800, 96, 30)}[args.size]
    loader = DataLoader(Reversals(count, vocab, 6), batch_size=32, shuffle=True, collate_fn=collate)
    model = Seq2Seq(vocab, width, longest=10)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=0.05)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 30))
    for epoch in range(6):
        model.train()
        total = 0.0
        for source, target in loader:
            logits = model(source, target[:, :-1])
            loss = criterion(logits.reshape(-1, vocab), target[:, 1:].reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            warmup.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(loader):.4f}")


if __name__ == "__main__":
    main()
