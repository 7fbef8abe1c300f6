"""Rebuild the corpus of real training code that the other benchmarks read: ``python benchmarks/corpus.py DIR``.

Two parts, both pinned: source distributions from the package index (through ``pip download``) and
public repositories of hand-written training scripts (through ``git fetch`` of one commit). Nothing of
it is installed, imported or kept in this repository; only Python sources and project settings are unpacked.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

SDISTS: tuple[tuple[str, str], ...] = (
    ("accelerate", "1.15.0"),
    ("botorch", "0.3.0"),
    ("captum", "0.9.0"),
    ("fairseq", "0.12.2"),
    ("gluonts", "0.17.0"),
    ("kornia", "0.9.0"),
    ("lightly", "1.6.0"),
    ("opacus", "1.6.0"),
    ("pykeen", "1.11.1"),
    ("pytorch-forecasting", "1.8.0"),
    ("pytorch-lightning", "2.6.6"),
    ("pytorch-metric-learning", "2.9.0"),
    ("recbole", "1.2.1"),
    ("segmentation-models-pytorch", "0.6.0"),
    ("sentence-transformers", "6.2.0"),
    ("skorch", "1.4.0"),
    ("speechbrain", "1.1.2"),
    ("timm", "1.0.31"),
    ("torch-geometric", "2.8.1"),
    ("torchio", "1.2.1"),
    ("transformers", "5.23.0"),
    ("ultralytics", "8.4.190"),
)

REPOSITORIES: dict[str, str] = {
    "649453932/Chinese-Text-Classification-Pytorch": "6cb26819af7b646275aff8a4693676f2849e67f6",
    "KaiyangZhou/deep-person-reid": "f8cd150fdf77e8d9e1ed143b7f308c2c609ded50",
    "L1aoXingyu/pytorch-beginner": "a57dd7ea35c9965a41f4963dee62d38884f92a65",
    "Lightning-AI/pytorch-lightning": "7f0c3436cd3f6ad3753125672024fc415cbcb414",
    "MorvanZhou/PyTorch-Tutorial": "dbe154a9e56635e51c6b0c2ccea8ae36cfb585a7",
    "WZMIAOMIAO/deep-learning-for-image-processing": "2ecf2eea2b97777bb18fe9ff458292fde5a92b7e",
    "ZhugeKongan/torch-template-for-deep-learning": "82978f454c7f2662d0eb972b5a4a1e5d5961b232",
    "adambielski/siamese-triplet": "0c719f9e8f59fa386e8c59d10b2ddde9fac46276",
    "bearpaw/pytorch-classification": "24f1c456f48c78133088c4eefd182ca9e6199b03",
    "bentrevett/pytorch-sentiment-analysis": "329f654b2cfaed22fee432569ebd7a2674584f79",
    "charlesq34/pointnet": "2618f72bc1a0fd21b074096e748016960d44ef55",
    "clcarwin/focal_loss_pytorch": "e11e75bad957aecf641db6998a1016204722c1bb",
    "dmlc/dgl": "3d16000b4170fa741ed9e9667f22ba84d3493026",
    "eriklindernoren/PyTorch-GAN": "36d3c77e5ff20ebe0aeefd322326a134a279b93e",
    "facebookresearch/fairseq": "3d262bb25690e4eb2e7d3c1309b1e9c406ca4b99",
    "graykode/nlp-tutorial": "d05e31ec81d56d70c1db89b99ab07e948f7ebc11",
    "huggingface/accelerate": "16cb6eb80dd9aa8b4df1a63ef57863e455d53b83",
    "huggingface/pytorch-image-models": "aa4b5850c1543fa488abf260f18390eda46cf85d",
    "hysts/pytorch_image_classification": "993089a3a08b1955914641fa6e88b5ecbbf638af",
    "jadore801120/attention-is-all-you-need-pytorch": "132907dd272e2cc92e3c10e6c4e783a87ff8893d",
    "jfzhang95/pytorch-deeplab-xception": "9135e104a7a51ea9effa9c6676a2fcffe6a6a2e6",
    "karpathy/minGPT": "37baab71b9abea1b76ab957409a1cc2fbfba8a26",
    "karpathy/nanoGPT": "3adf61e154c3fe3fca428ad6bc3818b27a3b8291",
    "kuangliu/pytorch-cifar": "49b7aa97b0c12fe0d4054e670403a16b6b834ddd",
    "meetps/pytorch-semseg": "801fb200547caa5b0d91b8dde56b837da029f746",
    "meta-pytorch/torchtune": "bd2a0fc7c31430972728494fa01aaeeb0ebf1ba1",
    "milesial/Pytorch-UNet": "21d7850f2af30a9695bbeea75f3136aa538cfc4a",
    "mlfoundations/open_clip": "89fb801f1e6087880e951fc8354b8a2077b79c6d",
    "moskomule/senet.pytorch": "8cb2669fec6fa344481726f9199aa611f08c3fbd",
    "pyg-team/pytorch_geometric": "5c6461b2305ad068a6d61165b3c55852a11aaa41",
    "pytorch/examples": "77f55b912142e11fcfdf5b530231fb9c52f181e8",
    "pytorch/opacus": "4d0ebc84613d214fbfd37fbfd1390e3747a625ce",
    "qubvel-org/segmentation_models.pytorch": "5006616357631a48c7c8e11977cf5abb00803590",
    "rasbt/deeplearning-models": "18e046926551378cd691fd871dda0f21dcd272ab",
    "sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning": "cc9c7e2f4017938d414178d3781fed8dbe442852",
    "spro/practical-pytorch": "c520c52e68e945d88fff563dba1c028b6ec0197b",
    "thuml/Time-Series-Library": "4e938a1767106324dd753b2a44832bf870a0252e",
    "tkipf/pygcn": "1600b5b748b3976413d1e307540ccc62605b4d6d",
    "ufoym/imbalanced-dataset-sampler": "01cb129677348824a20905baea112d501e3bf642",
    "victoresque/pytorch-template": "41dc06f6f8f3f38c6ed49f01ff7d89cd5688adc4",
    "weiaicunzai/pytorch-cifar100": "11d8418f415b261e4ae3cb1ffe20d06ec95b98e4",
    "xiaobaicxy/text-classification-BiLSTM-Attention-pytorch": "45cca1a56ee29cd53a1ba2c4f77deeee213a335e",
    "xinntao/BasicSR": "d21eac885b6de90a7adef7cc59e937dbdbb200b1",
    "yanx27/Pointnet_Pointnet2_pytorch": "eb64fe0b4c24055559cea26299cb485dcb43d8dd",
    "yunjey/pytorch-tutorial": "0500d3df5a2a8080ccfccbc00aca0eacc21818db",
    "zhulf0804/PointPillars": "620e6b0d07e4cb37b7b0114f26b934e8be92a0ba",
}

KEPT_SUFFIXES = (".py", ".ipynb", ".toml", ".cfg")


def main() -> int:
    """Fetch what is missing; the exit status is 1 when something could not be had."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the corpus goes; give one outside this repository")
    parser.add_argument("--only", choices=("sdist", "git"), help="one part only")
    parser.add_argument("--git-base", default="https://github.com", help="where OWNER/NAME is cloned from")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    if options.only != "git":
        failed += [f"{name}=={version}" for name, version in SDISTS if not fetch_sdist(folder, name, version)]
    if options.only != "sdist":
        failed += [
            name for name, commit in REPOSITORIES.items() if not fetch_commit(folder, name, commit, options.git_base)
        ]
    print(f"{len(tree_roots(folder))} trees in {folder}")
    for name in failed:
        print(f"not fetched: {name} (run the command again, or see the message above)", file=sys.stderr)
    return 1 if failed else 0


def tree_roots(folder: Path) -> list[Path]:
    """The project roots of a corpus, sorted by name."""
    return sorted(root for part in ("sdist", "git") for root in (folder / part).glob("*") if root.is_dir())


def fetch_sdist(folder: Path, name: str, version: str) -> bool:
    """Download one source distribution and unpack its Python files to ``sdist/NAME-VERSION``."""
    target = folder / "sdist" / f"{name}-{version}"
    if target.is_dir():
        return True
    archives = folder / "archives"
    if _archive(archives, name, version) is None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "--dest", str(archives), f"{name}=={version}"], check=False)
    archive = _archive(archives, name, version)
    if archive is None:
        return False
    unpack(archive, target)
    return True


def fetch_commit(folder: Path, name: str, commit: str, base: str) -> bool:
    """Fetch one commit of a repository and unpack its Python files to ``git/OWNER+NAME``."""
    target = folder / "git" / name.replace("/", "+")
    if target.is_dir():
        return True
    clone = folder / "archives" / (name.replace("/", "+") + ".git")
    git = ["git", "-C", str(clone)]
    clone.mkdir(parents=True, exist_ok=True)
    archive = clone / "tree.tar"
    steps: Iterable[list[str]] = (
        [*git, "init", "--quiet", "--bare"],
        [*git, "fetch", "--quiet", "--depth", "1", f"{base}/{name}.git", commit],
        [*git, "archive", "--prefix", "tree/", "--output", str(archive), commit],
    )
    if any(subprocess.run(step, check=False).returncode for step in steps):
        return False
    unpack(archive, target)
    archive.unlink()
    return True


def unpack(archive: Path, target: Path) -> None:
    """Unpack the kept files of an archive, without its top folder, and never outside ``target``."""
    partial = target.with_name(target.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, inner = member.name.partition("/")
            if member.isfile() and inner.endswith(KEPT_SUFFIXES):
                member.name = inner
                tar.extract(member, partial, filter="data")
    partial.rename(target)


def _archive(archives: Path, name: str, version: str) -> Path | None:
    """The downloaded archive of a package, whichever way its name is spelt."""
    spellings = {name.replace("-", "_"), name}
    return next((path for s in spellings for path in archives.glob(f"{s}-{version}.tar.gz")), None)


if __name__ == "__main__":
    raise SystemExit(main())
