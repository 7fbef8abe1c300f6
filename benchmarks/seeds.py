"""Which mistake is seeded into which clean script, chosen by reading the code, so that each is truly a fault.

Paths are relative to the corpus of benchmarks/corpus.py. ``reported`` names the file that the finding
belongs to when it is not the mutated one.
"""

from __future__ import annotations

from dataclasses import dataclass

from operators import Operator, delete, move, replace, wrap


@dataclass(frozen=True)
class Seed:
    """One mutation."""

    rule: str
    path: str
    operator: Operator
    what: str
    reported: str | None = None


EXAMPLES = "git/pytorch+examples"
YUNJEY = "git/yunjey+pytorch-tutorial/tutorials"
MORVAN = "git/MorvanZhou+PyTorch-Tutorial/tutorial-contents"
BEGINNER = "git/L1aoXingyu+pytorch-beginner"
CIFAR = "git/kuangliu+pytorch-cifar"
CIFAR100 = "git/weiaicunzai+pytorch-cifar100"
NLP = "git/graykode+nlp-tutorial"
UNET = "git/milesial+Pytorch-UNet"
GCN = "git/tkipf+pygcn/pygcn"
ATTENTION = "git/jadore801120+attention-is-all-you-need-pytorch"
TEXT = "git/649453932+Chinese-Text-Classification-Pytorch"
VISION = "git/WZMIAOMIAO+deep-learning-for-image-processing/pytorch_classification"
GEOMETRIC = "git/pyg-team+pytorch_geometric/examples"
DGL = "git/dmlc+dgl/examples/pytorch"
GAN = "git/eriklindernoren+PyTorch-GAN/implementations"
SERIES = "git/thuml+Time-Series-Library"
MINGPT = "git/karpathy+minGPT"
NANOGPT = "git/karpathy+nanoGPT"
OPACUS = "sdist/opacus-1.6.0"


def _each(rule: str, operator: Operator, what: str, *paths: str) -> list[Seed]:
    return [Seed(rule, path, operator, what) for path in paths]


def missing_zero_grad() -> list[Seed]:
    """Delete the only zero_grad() of a training loop."""
    return [
        *_each(
            "NN505",
            delete("optimizer.zero_grad("),
            "zero_grad() deleted",
            f"{EXAMPLES}/mnist/main.py",
            f"{EXAMPLES}/imagenet/main.py",
            f"{EXAMPLES}/vae/main.py",
            f"{EXAMPLES}/super_resolution/main.py",
            f"{EXAMPLES}/siamese_network/main.py",
            f"{EXAMPLES}/gcn/main.py",
            f"{CIFAR}/main.py",
            f"{CIFAR100}/train.py",
            f"{YUNJEY}/01-basics/feedforward_neural_network/main.py",
            f"{YUNJEY}/02-intermediate/deep_residual_network/main.py",
            f"{YUNJEY}/02-intermediate/language_model/main.py",
            f"{GCN}/train.py",
            f"{MORVAN}/401_CNN.py",
            f"{UNET}/train.py",
            f"{VISION}/Test5_resnet/train.py",
            f"{NLP}/2-1.TextCNN/TextCNN.py",
            f"{NLP}/5-2.BERT/BERT.py",
            f"{ATTENTION}/train.py",
            f"{GEOMETRIC}/gcn.py",
            f"{DGL}/gcmc/train.py",
            f"{NANOGPT}/train.py",
        ),
        Seed("NN505", f"{SERIES}/exp/exp_classification.py", delete("model_optim.zero_grad("), "zero_grad() deleted"),
        Seed("NN505", f"{TEXT}/train_eval.py", delete("model.zero_grad("), "zero_grad() deleted"),
        Seed("NN505", f"{MINGPT}/mingpt/trainer.py", delete("model.zero_grad("), "zero_grad() deleted"),
        Seed("NN505", f"{MORVAN}/504_batch_normalization.py", delete("opt.zero_grad("), "zero_grad() deleted"),
    ]


def missing_eval_mode() -> list[Seed]:
    """Delete eval() of a model with dropout or batch normalization before its evaluation."""
    model, net = delete("model.eval()"), delete("net.eval()")
    what = "eval() deleted"
    return [
        *_each(
            "NN501",
            model,
            what,
            f"{EXAMPLES}/mnist/main.py",
            f"{EXAMPLES}/mnist_rnn/main.py",
            f"{EXAMPLES}/gcn/main.py",
            f"{EXAMPLES}/gat/main.py",
            f"{EXAMPLES}/siamese_network/main.py",
            f"{EXAMPLES}/word_language_model/main.py",
            f"{YUNJEY}/02-intermediate/deep_residual_network/main.py",
            f"{YUNJEY}/02-intermediate/convolutional_neural_network/main.py",
            f"{ATTENTION}/train.py",
            f"{GCN}/train.py",
            f"{GEOMETRIC}/gcn.py",
            f"{GEOMETRIC}/ogbn_train.py",
        ),
        *_each(
            "NN501",
            net,
            what,
            f"{CIFAR}/main.py",
            f"{CIFAR100}/train.py",
            f"{VISION}/Test2_alexnet/train.py",
            f"{VISION}/Test5_resnet/train.py",
            f"{VISION}/Test6_mobilenet/train.py",
            f"{UNET}/evaluate.py",
        ),
        Seed("NN501", f"{MORVAN}/503_dropout.py", delete("net_dropped.eval()"), what),
        Seed("NN501", f"{EXAMPLES}/mnist_hogwild/train.py", model, what),
    ]


def missing_train_mode() -> list[Seed]:
    """Delete train() where the epoch loop evaluates in evaluation mode."""
    what = "train() deleted"
    return [
        *_each(
            "NN502",
            delete("model.train()"),
            what,
            f"{EXAMPLES}/mnist/main.py",
            f"{EXAMPLES}/mnist_rnn/main.py",
            f"{EXAMPLES}/siamese_network/main.py",
            f"{EXAMPLES}/word_language_model/main.py",
            f"{ATTENTION}/train.py",
            f"{GEOMETRIC}/gcn.py",
        ),
        *_each(
            "NN502",
            delete("net.train()"),
            what,
            f"{CIFAR}/main.py",
            f"{CIFAR100}/train.py",
            f"{VISION}/Test2_alexnet/train.py",
            f"{VISION}/Test3_vggnet/train.py",
            f"{VISION}/Test6_mobilenet/train.py",
        ),
        Seed("NN502", f"{GCN}/train.py", delete("model.train()"), what),
        Seed("NN502", f"{EXAMPLES}/gcn/main.py", delete("model.train()"), what),
    ]


def clipping_order() -> list[Seed]:
    """Move the clip behind the optimizer's step, or before backward."""
    late, early = "clip moved after step()", "clip moved before backward()"
    clip, step = "clip_grad_norm", "optimizer.step()"
    after = move(clip, after=step)
    before = move(clip, before="loss.backward()")
    scripts = [
        f"{YUNJEY}/02-intermediate/language_model/main.py",
        f"{BEGINNER}/07-Language Model/language model.py",
        f"{GEOMETRIC}/rgcn_link_pred.py",
        f"{GEOMETRIC}/llm/relbench_gretriever.py",
        f"{DGL}/rgcn/link.py",
        f"{DGL}/gcmc/train.py",
        f"{DGL}/graphsaint/train_sampling.py",
        f"{DGL}/hgt/train_acm.py",
        f"{DGL}/dtgrnn/train.py",
        f"{MINGPT}/mingpt/trainer.py",
    ]
    return [
        *_each("NN508", after, late, *scripts),
        *_each("NN508", before, early, *scripts),
        Seed("NN508", f"{SERIES}/exp/exp_classification.py", move(clip, after="model_optim.step()"), late),
        Seed("NN508", f"{UNET}/train.py", move(clip, after="grad_scaler.step(optimizer)"), late),
        Seed("NN508", f"{UNET}/train.py", move(clip, before="grad_scaler.unscale_("), "clip moved before unscale_()"),
    ]


def cross_entropy_on_probabilities() -> list[Seed]:
    """Put a softmax between the model and cross entropy: at the loss, or in the model."""
    at_loss, in_model = "softmax put around the loss's input", "softmax put at the end of the model"

    def loss(expression: str, within: str) -> Operator:
        return wrap(expression, "torch.softmax({}, dim=1)", within=within)

    criterion = loss("outputs", "loss = criterion(outputs")
    return [
        *_each(
            "NN302",
            criterion,
            at_loss,
            f"{YUNJEY}/01-basics/feedforward_neural_network/main.py",
            f"{YUNJEY}/01-basics/logistic_regression/main.py",
            f"{YUNJEY}/02-intermediate/language_model/main.py",
            f"{CIFAR}/main.py",
        ),
        Seed("NN302", f"{CIFAR100}/train.py", loss("outputs", "loss = loss_function(outputs"), at_loss),
        Seed("NN302", f"{MORVAN}/402_RNN_classifier.py", loss("output", "loss = loss_func(output"), at_loss),
        Seed(
            "NN302",
            f"{BEGINNER}/04-Convolutional Neural Network/convolution_network.py",
            loss("out", "loss = criterion(out"),
            at_loss,
        ),
        Seed("NN302", f"{TEXT}/train_eval.py", loss("outputs", "loss = F.cross_entropy(outputs"), at_loss),
        Seed("NN302", f"{VISION}/Test5_resnet/train.py", loss("logits", "loss = loss_function(logits"), at_loss),
        Seed("NN302", f"{GEOMETRIC}/linkx.py", loss("out[mask]", "loss = F.cross_entropy("), at_loss),
        Seed(
            "NN302",
            f"{YUNJEY}/02-intermediate/deep_residual_network/main.py",
            replace("self.fc(out)", "self.fc(out).softmax(dim=1)"),
            in_model,
        ),
        Seed(
            "NN302",
            f"{YUNJEY}/02-intermediate/convolutional_neural_network/main.py",
            replace("self.fc(out)", "torch.softmax(self.fc(out), dim=1)"),
            in_model,
        ),
        Seed(
            "NN302",
            f"{YUNJEY}/02-intermediate/bidirectional_recurrent_neural_network/main.py",
            replace("self.fc(out[:, -1, :])", "self.fc(out[:, -1, :]).softmax(-1)"),
            in_model,
        ),
        Seed("NN302", f"{MORVAN}/502_GPU.py", replace("self.out(x)", "F.softmax(self.out(x), dim=1)"), in_model),
        Seed(
            "NN302",
            f"{NLP}/2-1.TextCNN/TextCNN.py",
            wrap("model", "torch.softmax({}, dim=1)", within="return model"),
            in_model,
        ),
        Seed(
            "NN302",
            f"{NLP}/3-2.TextLSTM/TextLSTM.py",
            wrap("model", "nn.functional.softmax({}, dim=-1)", within="return model"),
            in_model,
        ),
        Seed(
            "NN302",
            f"{NLP}/1-1.NNLM/NNLM.py",
            wrap("output", "nn.Softmax(dim=1)({})", within="return output"),
            in_model,
        ),
        Seed(
            "NN302",
            f"{VISION}/Test2_alexnet/model.py",
            replace("self.classifier(x)", "torch.softmax(self.classifier(x), dim=1)"),
            in_model,
            f"{VISION}/Test2_alexnet/train.py",
        ),
        Seed(
            "NN302",
            f"{VISION}/Test6_mobilenet/model_v2.py",
            replace("self.classifier(x)", "self.classifier(x).softmax(dim=1)"),
            in_model,
            f"{VISION}/Test6_mobilenet/train.py",
        ),
        Seed(
            "NN302",
            f"{VISION}/Test1_official_demo/model.py",
            replace("self.fc3(x)", "F.softmax(self.fc3(x), dim=1)"),
            in_model,
            f"{VISION}/Test1_official_demo/train.py",
        ),
    ]


def nll_without_log_softmax() -> list[Seed]:
    """Take the log_softmax away that the negative log likelihood needs."""
    what = "log_softmax dropped"

    def drop(call: str, kept: str) -> Operator:
        return replace(call, kept)

    x1 = drop("F.log_softmax(x, dim=1)", "x")
    return [
        Seed("NN301", f"{EXAMPLES}/mnist/main.py", x1, what),
        Seed("NN301", f"{EXAMPLES}/mnist_rnn/main.py", drop("F.log_softmax(output, dim=1)", "output"), what),
        Seed("NN301", f"{EXAMPLES}/gcn/main.py", x1, what),
        Seed("NN301", f"{EXAMPLES}/gat/main.py", x1, what),
        Seed("NN301", f"{EXAMPLES}/mnist_hogwild/main.py", x1, what, f"{EXAMPLES}/mnist_hogwild/train.py"),
        Seed(
            "NN301",
            f"{EXAMPLES}/word_language_model/model.py",
            drop("F.log_softmax(decoded, dim=1)", "decoded"),
            what,
            f"{EXAMPLES}/word_language_model/main.py",
        ),
        Seed("NN301", f"{GEOMETRIC}/graph_unet.py", x1, what),
        Seed(
            "NN301",
            f"{GEOMETRIC}/rgat.py",
            drop("F.log_softmax(x, dim=-1)", "F.softmax(x, dim=-1)"),
            "log_softmax turned into softmax",
        ),
        Seed(
            "NN301",
            f"{GEOMETRIC}/gcn2_cora.py",
            drop("x.log_softmax(dim=-1)", "x.softmax(dim=-1)"),
            "log_softmax turned into softmax",
        ),
        Seed("NN301", f"{GEOMETRIC}/mnist_nn_conv.py", drop("F.log_softmax(self.fc2(x), dim=1)", "self.fc2(x)"), what),
        Seed(
            "NN301",
            f"{GEOMETRIC}/tagcn.py",
            drop("F.log_softmax(x, dim=1)", "F.softmax(x, dim=1)"),
            "log_softmax turned into softmax",
        ),
        Seed("NN301", f"{GEOMETRIC}/dgcnn_classification.py", drop("F.log_softmax(out, dim=1)", "out"), what),
    ]


def bce_with_logits_on_probabilities() -> list[Seed]:
    """Put a sigmoid between the model and the loss that applies one itself."""
    what = "sigmoid put around the loss's input"

    def loss(expression: str, within: str) -> Operator:
        return wrap(expression, "torch.sigmoid({})", within=within)

    called = "model(data.x, data.edge_index)"
    return [
        Seed("NN304", f"{GEOMETRIC}/film.py", loss(called, "loss = criterion("), what),
        Seed("NN304", f"{GEOMETRIC}/gcn2_ppi.py", loss("model(data.x, data.adj_t)", "loss = criterion("), what),
        Seed("NN304", f"{GEOMETRIC}/cluster_gcn_ppi.py", loss(called, "loss = loss_op("), what),
        Seed("NN304", f"{GEOMETRIC}/geniepath.py", loss(called, "loss = loss_op("), what),
        Seed("NN304", f"{GEOMETRIC}/ppi.py", loss(called, "loss = loss_op("), what),
        Seed("NN304", f"{GEOMETRIC}/link_pred.py", loss("out", "loss = criterion(out"), what),
        Seed("NN304", f"{GEOMETRIC}/seal_link_pred.py", loss("out.view(-1)", "loss = criterion("), what),
        Seed(
            "NN304",
            f"{GEOMETRIC}/hetero/recommender_system.py",
            wrap("out", "{}.sigmoid()", within="loss = F.binary_cross_entropy_with_logits("),
            what,
        ),
        Seed("NN304", f"{GEOMETRIC}/egc.py", loss("out", "loss = F.binary_cross_entropy_with_logits("), what),
        Seed(
            "NN304",
            f"{GEOMETRIC}/lcm_aggr_2nd_min.py",
            wrap("out", "F.sigmoid({})", within="loss = F.binary_cross_entropy_with_logits("),
            what,
        ),
        Seed("NN304", f"{DGL}/gat/train_ppi.py", loss("logits", "loss = loss_fcn("), what),
    ]


def unshuffled_training_data() -> list[Seed]:
    """Remove shuffle=True from the training loader."""
    what = "shuffle=True removed"
    yes = replace("shuffle=True", "")
    return _each(
        "NN101",
        yes,
        what,
        f"{YUNJEY}/01-basics/feedforward_neural_network/main.py",
        f"{YUNJEY}/02-intermediate/deep_residual_network/main.py",
        f"{YUNJEY}/03-advanced/variational_autoencoder/main.py",
        f"{YUNJEY}/03-advanced/generative_adversarial_network/main.py",
        f"{CIFAR}/main.py",
        f"{MORVAN}/401_CNN.py",
        f"{MORVAN}/502_GPU.py",
        f"{MORVAN}/404_autoencoder.py",
        f"{BEGINNER}/03-Neural Network/neural_network.py",
        f"{BEGINNER}/08-AutoEncoder/conv_autoencoder.py",
        f"{BEGINNER}/09-Generative Adversarial network/conv_gan.py",
        f"{EXAMPLES}/vae/main.py",
        f"{EXAMPLES}/super_resolution/main.py",
        f"{EXAMPLES}/dcgan/main.py",
        f"{UNET}/train.py",
        f"{VISION}/Test5_resnet/train.py",
        f"{VISION}/Test1_official_demo/train.py",
        f"{VISION}/Test9_efficientNet/train.py",
    )


def unregistered_submodule() -> list[Seed]:
    """Turn a ModuleList into the plain list that it is made of."""
    what = "ModuleList([...]) turned into a list"
    encoders = "[EncoderLayer() for _ in range(n_layers)]"
    decoders = "[DecoderLayer() for _ in range(n_layers)]"

    def plain(items: str, nn: str = "nn.") -> Operator:
        return replace(f"{nn}ModuleList({items})", items)

    return [
        Seed("NN402", f"{NLP}/5-1.Transformer/Transformer.py", plain(encoders), what),
        Seed("NN402", f"{NLP}/5-1.Transformer/Transformer(Greedy_decoder).py", plain(decoders), what),
        Seed("NN402", f"{NLP}/5-2.BERT/BERT.py", plain(encoders), what),
        Seed(
            "NN402",
            f"{NLP}/2-1.TextCNN/TextCNN.py",
            plain("[nn.Conv2d(1, num_filters, (size, embedding_size)) for size in filter_sizes]"),
            what,
        ),
        Seed(
            "NN402",
            f"{SERIES}/models/MSGNet.py",
            plain("[ScaleGraphBlock(configs) for _ in range(configs.e_layers)]"),
            what,
        ),
        Seed("NN402", f"{SERIES}/layers/Conv_Blocks.py", plain("kernels"), "ModuleList(kernels) turned into kernels"),
        Seed(
            "NN402",
            f"{SERIES}/layers/Crossformer_EncDec.py",
            replace("nn.ModuleList()", "[]"),
            "ModuleList() turned into []",
        ),
        Seed("NN402", f"{SERIES}/models/DLinear.py", replace("nn.ModuleList()", "[]"), "ModuleList() turned into []"),
        Seed(
            "NN402",
            f"{EXAMPLES}/distributed/FSDP2/model.py",
            replace("nn.ModuleList()", "[]"),
            "ModuleList() turned into []",
        ),
        Seed(
            "NN402",
            f"{EXAMPLES}/distributed/tensor_parallelism/llama2_model.py",
            replace("torch.nn.ModuleList()", "[]"),
            "ModuleList() turned into []",
        ),
    ]


def parameters_not_optimized() -> list[Seed]:
    """Drop one of several networks from the only optimizer that gets it."""

    def drop(name: str, within: str = "chain(") -> Operator:
        return replace(f"{name}.parameters()", "", within=within)

    return [
        Seed("NN401", f"{GAN}/cyclegan/cyclegan.py", drop("G_BA"), "G_BA dropped from the optimizer"),
        Seed("NN401", f"{GAN}/cyclegan/cyclegan.py", drop("G_AB"), "G_AB dropped from the optimizer"),
        Seed("NN401", f"{GAN}/dualgan/dualgan.py", drop("G_BA"), "G_BA dropped from the optimizer"),
        Seed("NN401", f"{GAN}/discogan/discogan.py", drop("G_AB"), "G_AB dropped from the optimizer"),
        Seed("NN401", f"{GAN}/munit/munit.py", drop("Dec2"), "Dec2 dropped from the optimizer"),
        Seed("NN401", f"{GAN}/unit/unit.py", drop("E1"), "E1 dropped from the optimizer"),
        Seed("NN401", f"{GAN}/aae/aae.py", drop("encoder"), "encoder dropped from the optimizer"),
        Seed("NN401", f"{GAN}/pixelda/pixelda.py", drop("classifier"), "classifier dropped from the optimizer"),
        Seed("NN401", f"{GAN}/cluster_gan/clustergan.py", drop("encoder"), "encoder dropped from the optimizer"),
        Seed(
            "NN401",
            f"{GEOMETRIC}/ar_link_pred.py",
            replace("list(encoder.parameters()) + list(predictor.parameters())", "encoder.parameters()"),
            "predictor dropped from the optimizer",
        ),
    ]


def scheduler_order() -> list[Seed]:
    """Step the scheduler before the optimizer, or never."""
    first, never = "scheduler.step() moved before training", "scheduler.step() deleted"
    drop = delete("scheduler.step()")
    return [
        Seed("NN507", f"{EXAMPLES}/mnist/main.py", move("scheduler.step()", before="train(args"), first),
        Seed("NN507", f"{EXAMPLES}/mnist_rnn/main.py", move("scheduler.step()", before="train(args"), first),
        Seed("NN507", f"{EXAMPLES}/siamese_network/main.py", move("scheduler.step()", before="train(args"), first),
        Seed("NN507", f"{CIFAR}/main.py", move("scheduler.step()", before="train(epoch)"), first),
        Seed("NN507", f"{EXAMPLES}/imagenet/main.py", move("scheduler.step()", before="train(train_loader"), first),
        Seed(
            "NN507", f"{VISION}/Test9_efficientNet/train.py", move("scheduler.step()", before="train_one_epoch("), first
        ),
        Seed(
            "NN507", f"{VISION}/Test7_shufflenet/train.py", move("scheduler.step()", before="train_one_epoch("), first
        ),
        *_each(
            "NN507",
            drop,
            never,
            f"{EXAMPLES}/mnist/main.py",
            f"{EXAMPLES}/siamese_network/main.py",
            f"{CIFAR}/main.py",
            f"{VISION}/Test8_densenet/train.py",
            f"{VISION}/Test10_regnet/train.py",
        ),
    ]


def graph_kept_alive() -> list[Seed]:
    """Sum the loss tensor instead of its number."""
    what = ".item() dropped from the running loss"

    def keep(total: str, nth: int = 0) -> Operator:
        return replace("loss.item()", "loss", within=f"{total} += loss.item()", nth=nth)

    return [
        Seed("NN509", f"{EXAMPLES}/vae/main.py", keep("train_loss"), what),
        Seed("NN509", f"{EXAMPLES}/super_resolution/main.py", keep("epoch_loss"), what),
        Seed("NN509", f"{EXAMPLES}/language_translation/main.py", keep("losses"), what),
        Seed("NN509", f"{EXAMPLES}/word_language_model/main.py", keep("total_loss"), what),
        Seed("NN509", f"{CIFAR}/main.py", keep("train_loss"), what),
        Seed("NN509", f"{BEGINNER}/02-Logistic Regression/Logistic_Regression.py", keep("running_loss"), what),
        Seed("NN509", f"{BEGINNER}/03-Neural Network/neural_network.py", keep("running_loss"), what),
        Seed("NN509", f"{UNET}/train.py", keep("epoch_loss"), what),
        Seed("NN509", f"{ATTENTION}/train.py", keep("total_loss"), what),
        Seed("NN509", f"{VISION}/Test2_alexnet/train.py", keep("running_loss"), what),
        Seed("NN509", f"{VISION}/Test5_resnet/train.py", keep("running_loss"), what),
        Seed("NN509", f"{VISION}/Test1_official_demo/train.py", keep("running_loss"), what),
    ]


def statistics_before_split() -> list[Seed]:
    """Fit the scaler on all rows; the split by borders follows."""
    fit = "self.scaler.fit(train_data.values)"
    return [
        Seed(
            "NN201",
            f"{SERIES}/data_provider/data_loader.py",
            replace("train_data.values", "df_data.values", within=fit, nth=nth),
            "scaler fitted on all rows",
        )
        for nth in range(3)
    ]


def random_evaluation_transform() -> list[Seed]:
    """Give the evaluation data the training transforms."""
    what = "evaluation data given the training transforms"
    dictionary = replace('data_transform["val"]', 'data_transform["train"]')
    return [
        Seed("NN203", f"{CIFAR}/main.py", replace("transform=transform_test", "transform=transform_train"), what),
        Seed(
            "NN203",
            f"{CIFAR100}/utils.py",
            replace(
                "transforms.ToTensor()",
                "transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.ToTensor()])",
                within="transform_test = ",
            ),
            "random crop put into the evaluation transforms",
        ),
        *_each(
            "NN203",
            dictionary,
            what,
            f"{VISION}/Test2_alexnet/train.py",
            f"{VISION}/Test5_resnet/train.py",
            f"{VISION}/Test6_mobilenet/train.py",
            f"{VISION}/Test9_efficientNet/train.py",
            f"{VISION}/vision_transformer/train.py",
            f"{VISION}/ConvNeXt/train.py",
        ),
    ]


SEEDS: tuple[Seed, ...] = (
    *unshuffled_training_data(),
    *statistics_before_split(),
    *random_evaluation_transform(),
    *nll_without_log_softmax(),
    *cross_entropy_on_probabilities(),
    *bce_with_logits_on_probabilities(),
    *parameters_not_optimized(),
    *unregistered_submodule(),
    *missing_eval_mode(),
    *missing_train_mode(),
    *missing_zero_grad(),
    *scheduler_order(),
    *clipping_order(),
    *graph_kept_alive(),
)
