"""NN206: a pretrained model gets inputs of another kind than it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import pipelines, tokens
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class PretrainedPreprocessing(Rule):
    """Pretrained weights are fed with images or tokens prepared for some other model.

    ## What it is

    The weights of torchvision's models were trained on RGB images within 0..1 that were normalised by ImageNet's mean
    (0.485, 0.456, 0.406) and deviation (0.229, 0.224, 0.225). Here they get images normalised by other constants, not
    normalised at all, or with the channels in OpenCV's order (BGR). Or a language model reads the tokens of another
    model's tokenizer: the numbers are valid, and mean other words.

    ## Why it hurts training

    The first layers are filters for the inputs that they know. On shifted or scaled images, or with red and blue
    exchanged, their responses are wrong, and a frozen backbone passes that on; fine-tuning spends its first epochs on
    undoing it and ends lower, worst with little data. With a foreign vocabulary nothing of the pretraining is left but
    the cost: each token stands for some other word.

    ## How it is told apart from code that only looks alike

    - Models without weights (`weights=None`) can be fed with any calibrated images.
    - Statistics of the own data that are close to ImageNet's are fine.
    - Detectors of torchvision normalise by themselves, and models for video have other constants: not judged.
    - `weights.transforms()`, timm's `create_transform` and the processors of transformers fit their model.
    - Several models share a vocabulary (BERT and DistilBERT, RoBERTa and DistilRoBERTa): that is no mismatch.
      Names that are not known here, and names that are not literal, are not judged.

    ## What to do

    ```python
    weights = ResNet50_Weights.DEFAULT
    model, transform = resnet50(weights=weights), weights.transforms()

    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModel.from_pretrained(name)              # the same name
    ```
    """

    code = "NN206"
    name = "pretrained-preprocessing"
    points = (14,)
    severity = Severity.WARNING
    triggers = ("pretrained", "weights", "from_pretrained", "models")

    bad = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, models, transforms

            transform = transforms.Compose(
                [
                    transforms.Resize((224, 224)),
                    transforms.ToTensor(),
                    transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # <-- NN206
                ]
            )
            loader = DataLoader(datasets.ImageFolder("pets", transform), batch_size=32, shuffle=True)
            model = models.resnet50(pretrained=True)
            for parameter in model.parameters():
                parameter.requires_grad = False
            model.fc = nn.Linear(2048, 37)
            optimizer = torch.optim.Adam(model.fc.parameters(), lr=1e-3)
            for epoch in range(5):
                for images, labels in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(images), labels).backward()
                    optimizer.step()
            """,
            why="A frozen backbone of ImageNet with means of 0.5; a flat script.",
        ),
        Example(
            """
            # file: data.py
            import cv2
            from torch.utils.data import Dataset
            from torchvision import transforms


            class Plates(Dataset):
                def __init__(self, table):
                    self.table = table
                    self.transform = transforms.Compose(
                        [
                            transforms.ToTensor(),
                            transforms.Resize((224, 224)),
                            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),  # <-- NN206
                        ]
                    )

                def __len__(self):
                    return len(self.table)

                def __getitem__(self, index):
                    path, label = self.table[index]
                    return self.transform(cv2.imread(path)), label
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import EfficientNet_B0_Weights, efficientnet_b0

            from data import Plates


            def main():
                loader = DataLoader(Plates(torch.load("plates.pt")), batch_size=32, shuffle=True)
                model = efficientnet_b0(weights=EfficientNet_B0_Weights.DEFAULT)
                model.classifier[1] = nn.Linear(1280, 12)
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
                for epoch in range(10):
                    for images, labels in loader:
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(model(images), labels).backward()
                        optimizer.step()


            main()
            """,
            why="OpenCV reads blue, green, red, and nothing turns the channels around.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, Dataset
            from transformers import BertModel, BertTokenizer


            class Reviews(Dataset):
                def __init__(self, texts, labels):
                    self.tokenizer = BertTokenizer.from_pretrained("bert-base-uncased")  # <-- NN206
                    self.texts, self.labels = texts, labels

                def __len__(self):
                    return len(self.texts)

                def __getitem__(self, index):
                    encoded = self.tokenizer(
                        self.texts[index], padding="max_length", truncation=True, max_length=128, return_tensors="pt"
                    )
                    return encoded["input_ids"][0], encoded["attention_mask"][0], self.labels[index]


            class Sentiment(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.bert = BertModel.from_pretrained("bert-base-cased")
                    self.head = nn.Linear(768, 2)

                def forward(self, ids, mask):
                    return self.head(self.bert(input_ids=ids, attention_mask=mask).pooler_output)


            class Trainer:
                def __init__(self, texts, labels):
                    self.loader = DataLoader(Reviews(texts, labels), batch_size=16, shuffle=True)
                    self.model = Sentiment()
                    self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-5)

                def fit(self):
                    for ids, mask, labels in self.loader:
                        self.optimizer.zero_grad()
                        nn.functional.cross_entropy(self.model(ids, mask), labels).backward()
                        self.optimizer.step()


            Trainer(*torch.load("reviews.pt")).fit()
            """,
            why="The tokens of the uncased vocabulary go into the cased model, through a data set.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import transforms
            from torchvision.datasets import StanfordCars
            from torchvision.models import ResNet18_Weights, resnet18


            def finetune(root):
                pixels = transforms.Compose(
                    [
                        transforms.RandomResizedCrop(224),
                        transforms.ToTensor(),  # <-- NN206
                    ]
                )
                loader = DataLoader(StanfordCars(root, transform=pixels), batch_size=64, shuffle=True)
                model = resnet18(weights=ResNet18_Weights.IMAGENET1K_V1)
                model.fc = nn.Linear(512, 196)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
                for images, labels in loader:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(images), labels).backward()
                    optimizer.step()
                return model


            finetune("cars")
            """,
            why="Scaled to 0..1, but not normalised.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, models, transforms


            class Classifier(nn.Module):
                def __init__(self, classes):
                    super().__init__()
                    backbone = models.resnet50(weights="IMAGENET1K_V2")
                    self.features = nn.Sequential(*list(backbone.children())[:-1])
                    self.head = nn.Linear(backbone.fc.in_features, classes)

                def forward(self, images):
                    with torch.no_grad():
                        features = self.features(images)
                    return self.head(features.flatten(1))


            transform = transforms.Compose(
                [
                    transforms.Resize((224, 224)),
                    transforms.ToTensor(),
                    transforms.Normalize([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),  # <-- NN206
                ]
            )
            loader = DataLoader(datasets.ImageFolder("birds/train", transform), batch_size=32, shuffle=True)
            model = Classifier(200)
            optimizer = torch.optim.Adam(model.head.parameters(), lr=1e-3)
            for images, labels in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
            """,
            why="The pretrained layers are the children of a model, in a module of the project.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms
            from torchvision.models import ResNet50_Weights, resnet50

            weights = ResNet50_Weights.DEFAULT
            half = transforms.Compose(
                [transforms.Resize((64, 64)), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
            )
            pretrained, fresh = resnet50(weights=weights), resnet50(weights=None, num_classes=37)
            pretrained.fc = nn.Linear(2048, 37)
            for model, transform in ((pretrained, weights.transforms()), (fresh, half)):
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
                for images, labels in DataLoader(datasets.OxfordIIITPet("d", transform=transform), 32, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(images), labels).backward()
                    optimizer.step()
            """,
            why="The transforms of the weights; other constants only for a model without weights.",
        ),
        Example(
            """
            # file: data.py
            import cv2
            from torch.utils.data import Dataset
            from torchvision import transforms

            finish = transforms.Compose(
                [transforms.ToTensor(), transforms.Normalize([0.475, 0.451, 0.41], [0.23, 0.23, 0.23])]
            )


            class Plates(Dataset):
                def __init__(self, table, by_slice):
                    self.table = table
                    self.by_slice = by_slice

                def __len__(self):
                    return len(self.table)

                def __getitem__(self, index):
                    path, label = self.table[index]
                    image = cv2.imread(path)
                    if label < 0:
                        return finish(cv2.merge([cv2.imread(path, cv2.IMREAD_GRAYSCALE)] * 3)), 0
                    if self.by_slice:
                        image = image[:, :, ::-1].copy()
                    else:
                        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                    return finish(image), label
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import convnext_tiny

            from data import Plates

            model = convnext_tiny(weights="DEFAULT")
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
            for by_slice in (True, False):
                loader = DataLoader(Plates(torch.load("plates.pt"), by_slice), batch_size=16, shuffle=True)
                for images, labels in loader:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(images), labels).backward()
                    optimizer.step()
            """,
            why="The channels are turned, in two ways; the own statistics are close to ImageNet's.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from transformers import AutoModelForSequenceClassification, AutoTokenizer, RobertaTokenizer


            class Distilled(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")
                    self.body = AutoModelForSequenceClassification.from_pretrained("distilbert-base-uncased")

                def forward(self, texts):
                    return self.body(**self.tokenizer(texts, padding=True, return_tensors="pt")).logits


            def train(model, texts, labels):
                optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
                for _ in range(3):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(texts), labels).backward()
                    optimizer.step()


            train(Distilled(), ["good", "bad"], torch.tensor([1, 0]))
            tokenizer = RobertaTokenizer.from_pretrained("roberta-base")
            own = AutoModelForSequenceClassification.from_pretrained("our-team/legal-roberta")
            print(own(**tokenizer("a contract", return_tensors="pt")).logits)
            """,
            why="DistilBERT shares BERT's vocabulary; of a private model nothing is known.",
        ),
        Example(
            """
            import torch
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms
            from torchvision.models.detection import fasterrcnn_resnet50_fpn


            class Detection:
                def __init__(self, root):
                    data = datasets.CocoDetection(root, "instances.json", transform=transforms.ToTensor())
                    self.loader = DataLoader(data, 4, shuffle=True, collate_fn=lambda batch: tuple(zip(*batch)))
                    self.model = fasterrcnn_resnet50_fpn(weights="DEFAULT")
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.005)

                def fit(self):
                    for images, targets in self.loader:
                        self.optimizer.zero_grad()
                        sum(self.model(list(images), list(targets)).values()).backward()
                        self.optimizer.step()


            Detection("coco").fit()
            """,
            why="Detectors of torchvision normalise their images themselves.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, models, transforms


            class Classifier(nn.Module):
                def __init__(self, classes):
                    super().__init__()
                    backbone = models.resnet50(weights="IMAGENET1K_V2")
                    self.stem = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
                    self.features = nn.Sequential(*list(backbone.children())[:-1])
                    self.layers = nn.Sequential(*list(models.resnet18(weights="DEFAULT").children())[4:6])
                    self.head = nn.Linear(backbone.fc.in_features, classes)

                def forward(self, images):
                    with torch.no_grad():
                        features = self.features(self.stem(images))
                    return self.head(features.flatten(1))


            transform = transforms.Compose(
                [
                    transforms.Resize((224, 224)),
                    transforms.ToTensor(),
                    transforms.Normalize([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
                ]
            )
            loader = DataLoader(datasets.ImageFolder("birds/train", transform), batch_size=32, shuffle=True)
            model = Classifier(200)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for images, labels in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
            """,
            why="A layer of its own brings the images to what the pretrained layers expect.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in pipelines.foreign_inputs(program):
            yield self.finding(
                found.site,
                f"The image {found.what}, and enters a model with pretrained weights (made at {{0}}), which expect RGB "
                "images normalised by ImageNet's mean and deviation: what they have learnt does not fit.",
                found.advice,
                evidence=[
                    Hop("the model gets its pretrained weights here", found.model),
                    Hop("the images enter it here", found.used),
                ],
            )
        for tokenized in tokens.foreign_tokens(program):
            yield self.finding(
                tokenized.site,
                f"The tokens of `{tokenized.tokenizer}` are read by `{tokenized.model}` (loaded at {{0}}), which has "
                f"another vocabulary ({tokenized.words}): each number stands for some other word.",
                "Load tokenizer and model by the same name.",
                evidence=[
                    Hop("the model is loaded here", tokenized.made),
                    Hop("it reads the tokens here", tokenized.used),
                ],
            )
