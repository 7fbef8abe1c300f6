"""Transcribes made-up signals with a GRU and connectionist temporal classification."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

BLANK, SYMBOLS, DIM = 0, 6, 8


class Signals(Dataset):
    def __init__(self, count, sounds):
        self.items = []
        for _ in range(count):
            text = torch.randint(1, SYMBOLS, (int(torch.randint(2, 5, ())),))
            frames = [sounds[s].expand(int(torch.randint(3, 6, ())), DIM) for s in text]
            signal = torch.cat([f for frame in frames for f in (frame, torch.zeros(1, DIM))])
            self.items.append((signal + 0.3 * torch.randn_like(signal), text))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def collate(items):
    signals, texts = zip(*items, strict=True)
    return (
        nn.utils.rnn.pad_sequence(signals),
        torch.cat(texts),
        torch.tensor([len(s) for s in signals]),
        torch.tensor([len(t) for t in texts]),
    )


class Recogniser(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.rnn = nn.GRU(DIM, width, bidirectional=True)
        self.fc = nn.Linear(2 * width, SYMBOLS)

    def forward(self, signal):
        return self.fc(self.rnn(signal)[0]).log_softmax(2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (400, 24), "m": (1600, 48), "l": (2400, 64)}[args.size]
    loader = DataLoader(Signals(count, torch.randn(SYMBOLS, DIM)), batch_size=16, shuffle=True, collate_fn=collate)
    model = Recogniser(width)
    criterion = nn.CTCLoss(blank=BLANK)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(5):
        model.train()
        total = 0.0
        for signals, texts, signal_lengths, text_lengths in loader:
            optimizer.zero_grad()
            loss = criterion(model(signals), texts, signal_lengths, text_lengths)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: ctc {total / len(loader):.4f}")


if __name__ == "__main__":
    main()
