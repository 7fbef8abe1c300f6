"""Questions about text: which tokenizer made the numbers that a pretrained language model reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import previews
from .knowledge import training, vision
from .values import Data, Obj, Value, alternatives, constant

if TYPE_CHECKING:
    from .program import Program

LOAD = ".from_pretrained"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A model reads what another model's tokenizer wrote."""

    site: Site
    tokenizer: str
    model: str
    words: str
    made: Site
    used: Site


def foreign_tokens(program: Program) -> Iterator[Foreign]:
    """Pretrained models that get the tokens of a tokenizer with another vocabulary."""
    seen: set[Site] = set()
    for model, given, site in _fed(program):
        name = _literal(model)
        tokenizers = {t for value in given for t in _tokenizers(program, value)}
        if name is None or len(tokenizers) != 1:
            continue
        tokenizer = tokenizers.pop()
        other = _literal(tokenizer)
        vocabularies = (vision.vocabulary(name), vision.vocabulary(other or ""))
        made = tokenizer.site if isinstance(tokenizer, Data) else None
        if other is None or None in vocabularies or vocabularies[0] == vocabularies[1] or made is None or made in seen:
            continue
        place = model.site if isinstance(model, (Obj, Data)) else None
        seen.add(made)
        yield Foreign(made, other, name, f"{vocabularies[1]}, not {vocabularies[0]}", place or site, site)


def _fed(program: Program) -> Iterator[tuple[Value, tuple[Value, ...], Site]]:
    for effect, _ in program.effects("forward"):
        yield effect.subject, effect.inputs, effect.site
    for trainer in program.objects:
        if isinstance(trainer.cls, str) and trainer.cls.startswith("transformers.") and trainer.cls.endswith("Trainer"):
            model = trainer.argument("model")
            tokenizer = trainer.argument("tokenizer") or trainer.argument("processing_class")
            if model is not None and tokenizer is not None:
                yield model, (tokenizer,), trainer.site


def _literal(loaded: Value) -> str | None:
    """The literal name under which something was loaded, if it was."""
    if type(loaded) is Obj and isinstance(loaded.cls, str) and loaded.cls.endswith(LOAD):
        name = constant(loaded.argument("0") or loaded.argument("pretrained_model_name_or_path"))
    elif type(loaded) is Data and loaded.op.endswith(LOAD) and loaded.op.startswith("transformers."):
        name = constant(loaded.option("pretrained_model_name_or_path", 0))
    else:
        return None
    return name if isinstance(name, str) else None


def _tokenizers(program: Program, value: Value) -> Iterator[Value]:
    """The tokenizers behind a value, also those that data sets behind a loader use."""
    for item in program.history(value, through_unseen=False):
        if type(item) is Data and "Tokenizer" in item.op and item.op.endswith(LOAD):
            yield item
        elif type(item) is Obj and item.cls == training.LOADER:
            for base in previews.bases(item.argument("dataset") or item):
                sample = program.samples.get(base)
                for inner in program.history(sample, through_unseen=False) if sample is not None else ():
                    for option in alternatives(inner):
                        if type(option) is Data and "Tokenizer" in option.op and option.op.endswith(LOAD):
                            yield option
