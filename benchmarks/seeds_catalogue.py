"""More seeds: the detectors of losses, models, data and the loop that came after the first fourteen.

As in seeds.py each mistake was chosen by reading the script, and is the kind that people make in it.
"""

from __future__ import annotations

from operators import both, delete, move, replace, wrap
from seeds import BEGINNER, CIFAR, CIFAR100, EXAMPLES, GAN, MINGPT, MORVAN, NLP, VISION, YUNJEY, Seed

MNIST = f"{EXAMPLES}/mnist/main.py"
HOGWILD = f"{EXAMPLES}/mnist_hogwild"
FEEDFORWARD = f"{YUNJEY}/01-basics/feedforward_neural_network/main.py"
LOGISTIC = f"{YUNJEY}/01-basics/logistic_regression/main.py"
CONVOLUTIONAL = f"{YUNJEY}/02-intermediate/convolutional_neural_network/main.py"
RESIDUAL = f"{YUNJEY}/02-intermediate/deep_residual_network/main.py"
RECURRENT = f"{YUNJEY}/02-intermediate/recurrent_neural_network/main.py"
LANGUAGE = f"{YUNJEY}/02-intermediate/language_model/main.py"
RESNET, ALEXNET = f"{VISION}/Test5_resnet/train.py", f"{VISION}/Test2_alexnet/train.py"
DCGAN = f"{EXAMPLES}/dcgan/main.py"
RNN = f"{BEGINNER}/05-Recurrent Neural Network/recurrent_network.py"


def losses() -> list[Seed]:
    """What reaches a loss."""
    no_sigmoid = "sigmoid left out before BCELoss"
    return [
        Seed("NN303", f"{EXAMPLES}/siamese_network/main.py", delete("self.sigmoid(output)"), no_sigmoid),
        Seed("NN303", f"{GAN}/gan/gan.py", replace("nn.Sigmoid()", "nn.Identity()", within="nn.Sigmoid()"), no_sigmoid),
        Seed("NN303", f"{GAN}/dcgan/dcgan.py", replace("nn.Sigmoid()", "nn.Identity()"), no_sigmoid),
        Seed("NN306", FEEDFORWARD, replace("criterion(outputs, labels)", "criterion(labels, outputs)"), "exchanged"),
        Seed(
            "NN306",
            CIFAR100 + "/train.py",
            replace("loss_function(outputs, labels)", "loss_function(labels, outputs)"),
            "exchanged",
        ),
        Seed("NN306", MNIST, replace("F.nll_loss(output, target)", "F.nll_loss(target, output)"), "exchanged"),
        Seed("NN309", MNIST, wrap("F.nll_loss(output, target)", "{}.detach()", within="loss ="), "detach()"),
        Seed(
            "NN309",
            FEEDFORWARD,
            wrap("criterion(outputs, labels)", "torch.tensor({}.item(), requires_grad=True)", within="loss ="),
            "torch.tensor(.item())",
        ),
        Seed(
            "NN309",
            f"{CIFAR}/main.py",
            replace("outputs", "outputs.argmax(1).float()", within="criterion(outputs, targets)"),
            "argmax",
        ),
        Seed("NN312", MNIST, replace("dim=1", "dim=0", within="log_softmax"), "over the batch"),
        Seed("NN312", f"{HOGWILD}/main.py", replace("dim=1", "dim=0", within="log_softmax"), "over the batch"),
        Seed(
            "NN305",
            f"{EXAMPLES}/vae/main.py",
            replace(
                "F.binary_cross_entropy(recon_x, x.view(-1, 784), reduction='sum')",
                "F.kl_div(recon_x, x.view(-1, 784), reduction='sum')",
            ),
            "probabilities into kl_div",
        ),
        Seed("NN315", LOGISTIC, replace("num_classes", "1", within="nn.Linear"), "one score"),
        Seed("NN111", LOGISTIC, replace("10", "9", within="num_classes ="), "nine scores for ten classes"),
        Seed("NN111", FEEDFORWARD, replace("10", "9", within="num_classes ="), "nine scores for ten classes"),
    ]


def models() -> list[Seed]:
    """Layers, their registration and their widths."""
    return [
        Seed("NN411", MNIST, delete("super(Net"), "no super().__init__()"),
        Seed("NN411", FEEDFORWARD, delete("super(NeuralNet"), "no super().__init__()"),
        Seed("NN411", RNN, delete("super(Rnn"), "no super().__init__()"),
        Seed("NN420", f"{HOGWILD}/main.py", replace("training=self.training", ""), "training left out"),
        Seed("NN404", MNIST, delete("self.fc1(x)"), "a layer is skipped"),
        Seed("NN407", MNIST, replace("nn.Linear(128, 10)", "nn.Linear(64, 10)"), "widths do not chain"),
        Seed(
            "NN407",
            FEEDFORWARD,
            replace("nn.Linear(hidden_size, num_classes)", "nn.Linear(hidden_size * 2, num_classes)"),
            "widths do not chain",
        ),
        Seed(
            "NN407", f"{GAN}/gan/gan.py", replace("nn.Linear(512, 256)", "nn.Linear(128, 256)"), "widths do not chain"
        ),
        Seed("NN412", MNIST, replace("self.dropout1(x)", "nn.Linear(12, 12)(x)"), "a layer made in forward"),
        Seed("NN421", RECURRENT, replace("batch_first=True", ""), "batch_first left out"),
        Seed("NN419", CONVOLUTIONAL, replace("100", "1", within="batch_size ="), "batches of one"),
    ]


def loops() -> list[Seed]:
    """Steps, modes, states and checkpoints."""
    return [
        *(
            Seed("NN506", path, delete(f"{name}.step()"), "step() deleted")
            for path, name in (
                (MNIST, "optimizer"),
                (FEEDFORWARD, "optimizer"),
                (f"{CIFAR}/main.py", "optimizer"),
                (f"{CIFAR100}/train.py", "optimizer"),
                (RESNET, "optimizer"),
                (f"{NLP}/2-1.TextCNN/TextCNN.py", "optimizer"),
                (f"{MORVAN}/401_CNN.py", "optimizer"),
            )
        ),
        *(
            Seed("NN506", path, delete("loss.backward()"), "backward() deleted")
            for path in (MNIST, FEEDFORWARD, f"{CIFAR}/main.py", RESNET)
        ),
        *(
            Seed("NN516", path, replace(f"{name}.eval()", f"{name}.eval"), "eval named, not called")
            for path, name in ((MNIST, "model"), (f"{CIFAR}/main.py", "net"), (RESNET, "net"), (CONVOLUTIONAL, "model"))
        ),
        *(
            Seed("NN516", path, replace("optimizer.step()", "optimizer.step"), "step named, not called")
            for path in (MNIST, FEEDFORWARD, f"{CIFAR100}/train.py")
        ),
        *(
            Seed("NN602", path, replace(old, new, within=within), f"Adam with {new}")
            for path, old, new, within in (
                (FEEDFORWARD, "0.001", "1.0", "learning_rate ="),
                (CONVOLUTIONAL, "0.001", "0.5", "learning_rate ="),
                (RESNET, "0.0001", "0.5", "lr=0.0001"),
                (f"{EXAMPLES}/vae/main.py", "lr=1e-3", "lr=1", "optim.Adam"),
            )
        ),
        Seed("NN802", f"{EXAMPLES}/imagenet/main.py", delete("train_sampler.set_epoch"), "set_epoch deleted"),
        Seed(
            "NN702",
            f"{MINGPT}/mingpt/model.py",
            replace(
                "F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)",
                "-torch.log(F.softmax(logits, dim=-1)).mean()",
            ),
            "log(softmax)",
        ),
        Seed(
            "NN517",
            MNIST,
            replace("len(test_loader.dataset)", "len(test_loader)", within="test_loss /="),
            "divided by batches",
        ),
    ]


def data() -> list[Seed]:
    """Pipelines and splits."""
    normal = "transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])"
    return [
        Seed(
            "NN204",
            RESNET,
            replace(normal, "transforms.Normalize([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])", within="data_transform", nth=1),
            "other statistics in evaluation",
        ),
        Seed(
            "NN204",
            ALEXNET,
            replace(
                "transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))",
                "transforms.Normalize((0.1, 0.1, 0.1), (0.2, 0.2, 0.2))",
                within="data_transform",
                nth=1,
            ),
            "other statistics in evaluation",
        ),
        Seed(
            "NN115",
            ALEXNET,
            replace("validate_dataset", "train_dataset", within="validate_loader ="),
            "validated on training data",
        ),
        Seed(
            "NN115",
            RESNET,
            replace("validate_dataset", "train_dataset", within="validate_loader ="),
            "validated on training data",
        ),
        Seed(
            "NN115",
            FEEDFORWARD,
            replace("test_dataset", "train_dataset", within="test_loader ="),
            "tested on training data",
        ),
        Seed(
            "NN207",
            MNIST,
            both(
                replace("transforms.ToTensor()", "transforms.Normalize((0.5,), (0.5,))"),
                replace("transforms.Normalize((0.1307,), (0.3081,))", "transforms.ToTensor()"),
            ),
            "Normalize before ToTensor",
        ),
        Seed(
            "NN103",
            MNIST,
            replace("data", "next(iter(train_loader))[0]", within="data.to(device), target.to(device)"),
            "next(iter(loader)) in the loop",
        ),
    ]


def several_processes() -> list[Seed]:
    """Samplers and wrappers of distributed training."""
    series = f"{EXAMPLES}/distributed/ddp-tutorial-series"
    return [
        Seed("NN801", f"{series}/multigpu.py", replace("sampler=DistributedSampler(dataset)", ""), "no sampler"),
        Seed("NN803", f"{series}/multigpu.py", replace("self.model", "self.model.module", within="output ="), "module"),
        Seed("NN802", f"{series}/multigpu.py", delete("sampler.set_epoch(epoch)"), "set_epoch deleted"),
        Seed("NN802", f"{series}/multigpu_torchrun.py", delete("sampler.set_epoch(epoch)"), "set_epoch deleted"),
    ]


def more() -> list[Seed]:
    """One or two for each of the remaining rules that fit a script of the corpus."""
    heads = ".transpose(1, 2)"
    views = "view(B, T, self.n_head, C // self.n_head)"
    predict = f"{VISION}/Test2_alexnet/predict.py"
    return [
        Seed(
            "NN119", FEEDFORWARD, replace("nn.CrossEntropyLoss()", "nn.BCEWithLogitsLoss()"), "binary loss of classes"
        ),
        Seed("NN119", LOGISTIC, replace("nn.CrossEntropyLoss()", "nn.BCEWithLogitsLoss()"), "binary loss of classes"),
        Seed(
            "NN205",
            FEEDFORWARD,
            both(
                replace("transforms.ToTensor()", "transforms.PILToTensor()", within="train_dataset ="),
                replace("images.reshape(-1, 28*28)", "images.float().reshape(-1, 28*28)"),
            ),
            "images from 0 to 255",
        ),
        Seed(
            "NN210",
            FEEDFORWARD,
            replace("images.reshape(-1, 28*28)", "((images - images.mean()) / images.std()).reshape(-1, 28*28)"),
            "normalised by the batch",
        ),
        Seed(
            "NN408",
            f"{MINGPT}/mingpt/model.py",
            replace(f"k.{views}{heads}", "k.view(B, self.n_head, T, C // self.n_head)"),
            "heads split by view alone",
        ),
        Seed(
            "NN408",
            f"{MINGPT}/mingpt/model.py",
            replace(f"y{heads}.contiguous().view(B, T, C)", "y.contiguous().view(B, T, C)"),
            "heads joined by view alone",
        ),
        Seed("NN513", predict, delete("model.eval()"), "eval() deleted"),
        Seed("NN513", f"{VISION}/Test5_resnet/predict.py", delete("model.eval()"), "eval() deleted"),
        Seed(
            "NN609", RESNET, move("net.fc = nn.Linear(in_channel, 5)", after="optimizer = optim.Adam("), "new head late"
        ),
        Seed("NN703", FEEDFORWARD, replace("self.relu(out)", "torch.sigmoid(out).add_(1)"), "sigmoid edited in place"),
        Seed(
            "NN704",
            "git/milesial+Pytorch-UNet/train.py",
            replace("grad_scaler.scale(loss).backward()", "loss.backward()"),
            "the loss is not scaled",
        ),
        Seed("NN401", RESNET, replace("net.parameters()", "net.fc.parameters()", within="params ="), "only the head"),
    ]


CATALOGUE: tuple[Seed, ...] = (*losses(), *models(), *loops(), *data(), *several_processes(), *more())
