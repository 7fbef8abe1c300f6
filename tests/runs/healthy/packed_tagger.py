"""Tags sequences of different lengths with a bidirectional LSTM over packed batches."""

import argparse
import random

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

PAD, IGNORE, TAGS = 0, -100, 4


class Sentences(Dataset):
    """The tag of a token depends on the token and on the one before it."""

    def __init__(self, count, vocab, seed):
        rng = random.Random(seed)
        self.items = []
        for _ in range(count):
            words = [rng.randrange(1, vocab) for _ in range(rng.randint(4, 14))]
            tags = [(word % 2) * 2 + (before % 2) for word, before in zip(words, [0, *words[:-1]], strict=True)]
            self.items.append((torch.tensor(words), torch.tensor(tags)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def collate(items):
    words, tags = zip(*items, strict=True)
    lengths = torch.tensor([len(w) for w in words])
    return (
        pad_sequence(words, batch_first=True, padding_value=PAD),
        lengths,
        pad_sequence(tags, batch_first=True, padding_value=IGNORE),
    )


class Tagger(nn.Module):
    def __init__(self, vocab, width):
        super().__init__()
        self.embedding = nn.Embedding(vocab, width, padding_idx=PAD)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * width, TAGS)

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.embedding(words), lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.out(hidden)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (480, 24), "m": (2000, 48), "l": (6000, 96)}[args.size]

    loader = DataLoader(Sentences(count, 40, args.seed), batch_size=32, shuffle=True, collate_fn=collate)
    dev_loader = DataLoader(Sentences(100, 40, args.seed + 1000), batch_size=50, collate_fn=collate)
    model = Tagger(40, width)
    criterion = nn.CrossEntropyLoss(ignore_index=IGNORE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(6):
        model.train()
        total = 0.0
        for words, lengths, tags in loader:
            model.zero_grad()
            scores = model(words, lengths)
            loss = criterion(scores.view(-1, TAGS), tags.view(-1))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        model.eval()
        right = seen = 0
        with torch.inference_mode():
            for words, lengths, tags in dev_loader:
                known = tags != IGNORE
                right += (model(words, lengths).argmax(-1) == tags)[known].sum().item()
                seen += known.sum().item()
        print(f"epoch {epoch}: loss {total / len(loader):.4f} dev accuracy {right / seen:.3f}")


if __name__ == "__main__":
    main()
