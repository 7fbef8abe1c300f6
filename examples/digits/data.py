"""The digits of scikit-learn: 1,797 images of 8 x 8 pixels, ten classes."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def load_arrays():
    """Standardized pixels and labels, split into training and test part."""
    pixels, labels = load_digits(return_X_y=True)
    pixels = StandardScaler().fit_transform(pixels)
    return train_test_split(pixels, labels, test_size=0.25, shuffle=False)


def as_dataset(pixels, labels) -> TensorDataset:
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8)
    return TensorDataset(images, torch.tensor(labels, dtype=torch.long))


def make_loaders(batch_size: int = 32) -> tuple[DataLoader, DataLoader]:
    """The loader that training reads and the one for the evaluation."""
    train_pixels, test_pixels, train_labels, test_labels = load_arrays()
    train_loader = DataLoader(as_dataset(train_pixels, train_labels), batch_size=batch_size)
    test_loader = DataLoader(as_dataset(test_pixels, test_labels), batch_size=256)
    return train_loader, test_loader
