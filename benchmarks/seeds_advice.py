"""Seeds for the detectors of data, preprocessing, gradients and runs, and for those that only advise.

As in seeds.py each mistake was chosen by reading the script, and is the kind that people make in it.
"""

from __future__ import annotations

from operators import Operator, both, delete, insert, replace, undecorate, under, unwrap
from seeds import (
    ATTENTION,
    CIFAR,
    CIFAR100,
    DGL,
    EXAMPLES,
    GAN,
    MORVAN,
    NANOGPT,
    NLP,
    SERIES,
    UNET,
    VISION,
    YUNJEY,
    Seed,
)
from seeds_catalogue import CONVOLUTIONAL, DCGAN, FEEDFORWARD, LANGUAGE, MNIST, RESIDUAL, RESNET

VAE, RESOLUTION = f"{EXAMPLES}/vae/main.py", f"{EXAMPLES}/super_resolution"
WORDS, IMAGENET = f"{EXAMPLES}/word_language_model/main.py", f"{EXAMPLES}/imagenet/main.py"
CIFAR_MAIN = f"{CIFAR}/main.py"
CAPTIONS = f"{YUNJEY}/03-advanced/image_captioning/train.py"
STYLE = f"{YUNJEY}/03-advanced/neural_style_transfer/main.py"
FORECAST = f"{SERIES}/exp/exp_long_term_forecasting.py"
ANOMALY = f"{SERIES}/data_provider/data_loader.py"
LAYERS = f"{VISION.removesuffix('classification')}object_detection/yolov3_spp/build_utils/layers.py"


def data() -> list[Seed]:
    """Inputs, labels and splits."""
    apart = "inputs and targets permuted apart"
    return [
        Seed(
            "NN102",
            f"{NLP}/2-1.TextCNN/TextCNN.py",
            both(
                insert("inputs = inputs[torch.randperm(len(inputs))]", after="targets = torch"),
                insert("targets = targets[torch.randperm(len(targets))]", after="inputs = inputs[torch"),
            ),
            apart,
        ),
        Seed(
            "NN102",
            f"{MORVAN}/305_batch_train.py",
            insert("x, y = x[torch.randperm(10)], y[torch.randperm(10)]", after="y = torch.linspace"),
            apart,
        ),
        Seed(
            "NN105",
            f"{UNET}/utils/data_loading.py",
            replace("img.transpose((2, 0, 1))", "img.reshape(3, img.shape[0], img.shape[1])"),
            "reshape instead of transpose",
        ),
        Seed(
            "NN105",
            f"{UNET}/utils/data_loading.py",
            replace("(newW, newH)", "(newH, newW)", within="resize"),
            "height and width exchanged",
        ),
        Seed(
            "NN105",
            f"{RESOLUTION}/super_resolve.py",
            both(
                replace("y.size[1]", "y.size[0]", within="view"),
                replace("y.size[0]", "y.size[1]", within="view", nth=1),
            ),
            "height and width exchanged",
        ),
        Seed("NN112", FEEDFORWARD, replace("100", "30000", within="batch_size ="), "half the data in a batch"),
        Seed("NN112", CONVOLUTIONAL, replace("100", "30000", within="batch_size ="), "half the data in a batch"),
        Seed(
            "NN113",
            CONVOLUTIONAL,
            replace(
                "shuffle=True",
                "shuffle=True, collate_fn=lambda batch: (torch.stack(sorted((x for x, _ in batch), key=torch.mean)), "
                "torch.tensor([y for _, y in batch]))",
            ),
            "images sorted without their labels",
        ),
        Seed(
            "NN114",
            f"{RESOLUTION}/dataset.py",
            both(
                insert("import numpy", after="from PIL"),
                insert("self.rng = numpy.random.default_rng(0)", after="self.input_transform = input_transform"),
                insert("input = input.rotate(self.rng.uniform(-5, 5))", after="target = input.copy()"),
            ),
            "every worker starts from the same generator",
        ),
        *(
            Seed("NN116", f"{SERIES}/exp/{file}.py", replace("vali_loss", "test_loss", within="early_stopping("), what)
            for file, what in (
                ("exp_long_term_forecasting", "stopped by the test loss"),
                ("exp_imputation", "stopped by the test loss"),
                ("exp_anomaly_detection", "stopped by the test loss"),
            )
        ),
        Seed("NN116", WORDS, replace("val_data", "test_data", within="val_loss = evaluate"), "kept by the test loss"),
        Seed(
            "NN117",
            f"{DGL}/eeg-gcnn/main.py",
            both(
                delete("heldout_test_window_indices = "),
                replace(
                    '_DATASET_INDEX.index[_DATASET_INDEX["patient_ID"].astype("str").isin(train_and_val_subjects)]'
                    ".tolist()",
                    "None",
                    within="train_window_indices =",
                ),
                replace(
                    "train_window_indices",
                    "train_window_indices, heldout_test_window_indices",
                    within="train_window_indices = None",
                ),
                replace(
                    "None",
                    "train_test_split(_DATASET_INDEX.index.tolist(), test_size=0.3, random_state=42)",
                    within="heldout_test_window_indices = None",
                ),
            ),
            "windows split, not patients",
        ),
    ]


def preprocessing() -> list[Seed]:
    """Statistics, pretrained networks and augmentation."""
    halves = both(
        replace("(0.485, 0.456, 0.406)", "(0.5, 0.5, 0.5)"), replace("(0.229, 0.224, 0.225)", "(0.5, 0.5, 0.5)")
    )
    return [
        *(
            Seed(
                "NN202",
                ANOMALY,
                replace("self.scaler.transform(test_data)", "self.scaler.fit_transform(test_data)", within=within),
                f"scaler fitted again on test data, {where}",
            )
            for within, where in (("self.test = ", "second class"), ("test_data = ", "fourth class"))
        ),
        Seed("NN206", CAPTIONS, halves, "statistics of another kind"),
        Seed("NN206", STYLE, halves, "statistics of another kind"),
        Seed(
            "NN206",
            RESNET,
            both(
                *(
                    replace(old, "[0.5, 0.5, 0.5]", nth=nth)
                    for old, nth in (
                        ("[0.485, 0.456, 0.406]", 0),
                        ("[0.229, 0.224, 0.225]", 0),
                        ("[0.485, 0.456, 0.406]", 0),
                        ("[0.229, 0.224, 0.225]", 0),
                    )
                )
            ),
            "statistics of another kind",
        ),
        Seed(
            "NN208",
            CIFAR_MAIN,
            replace("transforms.RandomCrop(32, padding=4)", "transforms.RandomResizedCrop(32, scale=(0.01, 1.0))"),
            "crops of a hundredth",
        ),
        Seed(
            "NN208",
            CIFAR_MAIN,
            replace(
                "transforms.ToTensor()", "transforms.ColorJitter(brightness=1.0, contrast=1.0), transforms.ToTensor()"
            ),
            "brightness down to black",
        ),
    ]


def losses() -> list[Seed]:
    """What reaches a loss, and what is measured beside it."""
    return [
        Seed(
            "NN307", f"{MORVAN}/301_regression.py", replace("y", "y.squeeze(1)", within="loss_func("), "(N, 1) and (N,)"
        ),
        Seed(
            "NN307",
            f"{MORVAN}/405_DQN_Reinforcement_learning.py",
            replace("q_next.max(1)[0].view(BATCH_SIZE, 1)", "q_next.max(1)[0]"),
            "view(N, 1) left out",
        ),
        Seed(
            "NN311",
            f"{UNET}/utils/dice_score.py",
            replace("(input * target)", "(target * target)"),
            "the prediction left out of the overlap",
        ),
        Seed(
            "NN311",
            VAE,
            replace(
                "F.binary_cross_entropy(recon_x, x.view(-1, 784), reduction='sum')", "(x - x.view_as(x)).abs().sum()"
            ),
            "the input held against itself",
        ),
        Seed(
            "NN314",
            MNIST,
            both(
                delete("pred = output.argmax"),
                delete("correct"),
                insert("print('Test set: average loss', test_loss)", after="test_loss /= "),
            ),
            "accuracy left out",
        ),
        Seed("NN316", f"{ATTENTION}/train.py", replace("ignore_index=trg_pad_idx", ""), "padding not ignored"),
    ]


def models() -> list[Seed]:
    """Freezing, shapes, own gradients and initialisation."""
    init = "init.orthogonal_(self.conv{}.weight, init.calculate_gain('relu'))"
    zeros = both(*(replace(init.format(n), f"init.constant_(self.conv{n}.weight, 0.1)") for n in (1, 2, 3)))
    return [
        Seed(
            "NN403",
            RESNET,
            insert("for param in net.parameters():\n    param.require_grad = False", after="net.load_state_dict("),
            "requires_grad misspelt",
        ),
        Seed("NN409", f"{UNET}/train.py", replace("masks_pred.squeeze(1)", "masks_pred.squeeze()"), "squeeze()"),
        Seed("NN409", f"{MORVAN}/401_CNN.py", replace("output", "output.squeeze()", within="loss_func("), "squeeze()"),
        Seed(
            "NN410",
            LAYERS,
            replace(
                "grad_output * (sx * (1 + x * (1 - sx)))", "(grad_output * (sx * (1 + x * (1 - sx))), grad_output * sx)"
            ),
            "one gradient too many",
        ),
        *_everywhere(
            "NN413",
            "forward() called by name",
            (MNIST, replace("model(data)", "model.forward(data)")),
            (FEEDFORWARD, replace("model(images)", "model.forward(images)")),
            (RESNET, replace("net(images.to(device))", "net.forward(images.to(device))")),
        ),
        Seed("NN416", f"{RESOLUTION}/model.py", zeros, "constant weights"),
        Seed(
            "NN416",
            f"{VISION}/Test2_alexnet/model.py",
            both(
                replace(
                    "nn.init.kaiming_normal_(m.weight, mode='fan_out', nonlinearity='relu')",
                    "nn.init.constant_(m.weight, 0.01)",
                ),
                replace("nn.init.normal_(m.weight, 0, 0.01)", "nn.init.constant_(m.weight, 0.01)"),
            ),
            "constant weights",
        ),
        Seed("NN418", MNIST, replace("0.5", "0.9", within="nn.Dropout"), "dropout of 0.9"),
        Seed("NN418", CIFAR_MAIN, replace("5e-4", "0.5", within="weight_decay"), "weight decay of 0.5"),
    ]


def loops() -> list[Seed]:
    """Graphs, accumulation, states and checkpoints."""
    no_grad, kept = "no_grad() taken away", "training under no_grad()"
    return [
        *_everywhere(
            "NN503",
            no_grad,
            *((path, unwrap("torch.no_grad()")) for path in (MNIST, CIFAR_MAIN, CONVOLUTIONAL, RESIDUAL, RESNET)),
            (f"{RESOLUTION}/main.py", unwrap("torch.no_grad()")),
            (f"{UNET}/evaluate.py", undecorate("torch.inference_mode()")),
            (f"{CIFAR100}/train.py", undecorate("torch.no_grad()")),
        ),
        *_everywhere(
            "NN504",
            kept,
            (MNIST, under("torch.no_grad()", "output = model(data)")),
            (FEEDFORWARD, under("torch.no_grad()", "outputs = model(images)")),
            (CIFAR_MAIN, under("torch.no_grad()", "outputs = net(inputs)")),
            (f"{CIFAR100}/train.py", under("torch.no_grad()", "outputs = net(images)")),
        ),
        Seed("NN510", f"{NANOGPT}/train.py", delete("loss = loss / gradient_accumulation_steps"), "not divided"),
        Seed(
            "NN515",
            RESNET,
            both(
                delete("torch.save(net.state_dict()"),
                insert("best_weights = net.state_dict()", after="best_acc = val_accurate"),
                replace("print('Finished Training')", "net.load_state_dict(best_weights)"),
            ),
            "best weights kept by reference",
        ),
        Seed("NN520", IMAGENET, delete("optimizer.load_state_dict("), "optimizer not restored"),
        Seed("NN520", f"{NANOGPT}/train.py", delete("optimizer.load_state_dict("), "optimizer not restored"),
        *_everywhere(
            "NN519",
            "the two steps exchanged",
            *(
                (f"{GAN}/{name}/{name}.py", _exchanged("optimizer_D", "optimizer_G"))
                for name in ("gan", "dcgan", "lsgan")
            ),
            (DCGAN, _exchanged("optimizerD", "optimizerG")),
        ),
        Seed(
            "NN518",
            LANGUAGE,
            both(
                replace("detach(states)", "states"),
                replace("loss.backward()", "loss.backward(retain_graph=True)"),
            ),
            "not detached, graphs retained",
        ),
    ]


def optimization() -> list[Seed]:
    """Steps, activations, reproducibility and files."""
    return [
        Seed("NN603", LANGUAGE, delete("clip_grad_norm_"), "not clipped"),
        Seed("NN603", WORDS, delete("torch.nn.utils.clip_grad_norm_"), "not clipped"),
        Seed(
            "NN604",
            f"{VISION}/Test2_alexnet/model.py",
            both(*(replace("nn.ReLU(inplace=True)", "nn.Sigmoid()") for _ in range(7))),
            "eight layers of sigmoids",
        ),
        Seed("NN605", CIFAR_MAIN, replace("momentum=0.9", ""), "no momentum"),
        Seed(
            "NN605",
            FEEDFORWARD,
            replace("lr=learning_rate", "lr=learning_rate, weight_decay=1e-2", within="Adam("),
            "weight decay in Adam",
        ),
        *_everywhere(
            "NN804",
            "no seed",
            *((path, delete("torch.manual_seed")) for path in (MNIST, VAE, f"{RESOLUTION}/main.py", WORDS)),
        ),
        *_everywhere(
            "NN805",
            "weights_only=False",
            (
                f"{VISION}/Test5_resnet/predict.py",
                replace("map_location=device", "map_location=device, weights_only=False", within="torch.load"),
            ),
            (
                CIFAR_MAIN,
                replace(
                    "torch.load('./checkpoint/ckpt.pth')", "torch.load('./checkpoint/ckpt.pth', weights_only=False)"
                ),
            ),
            (
                f"{UNET}/train.py",
                replace("map_location=device", "map_location=device, weights_only=False", within="torch.load"),
            ),
        ),
        Seed(
            "NN806",
            IMAGENET,
            both(delete("top1.all_reduce()"), delete("top5.all_reduce()")),
            "each process counts for itself",
        ),
    ]


def _exchanged(first: str, second: str) -> Operator:
    """Each of two optimizers steps where the other should."""
    return both(
        replace(f"{first}.step()", "optimizer.step()"),
        replace(f"{second}.step()", f"{first}.step()"),
        replace("optimizer.step()", f"{second}.step()"),
    )


def _everywhere(rule: str, what: str, *places: tuple[str, Operator]) -> list[Seed]:
    return [Seed(rule, path, operator, what) for path, operator in places]


ADVICE: tuple[Seed, ...] = (
    *data(),
    *preprocessing(),
    *losses(),
    *models(),
    *loops(),
    *optimization(),
)
