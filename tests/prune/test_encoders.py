"""Heads, neurons, layers and vocabulary: the cut net equals its silenced twin, in encoders of every make."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

from paring import Recipe, Task, batches, compress, rebuild
from paring.errors import LayerError, NothingToDoError, SettingError
from paring.graph.edits.drop import DropLayer
from paring.graph.edits.heads import PruneHeads
from paring.graph.edits.unfuse import UnfuseAttention
from paring.graph.edits.vocabulary import SliceVocabulary
from paring.measure.metrics import accuracy
from paring.prune.heads import Heads
from paring.prune.layers import Layers
from paring.prune.neurons import Neurons
from paring.prune.vocabulary import Vocabulary
from paring.testing import check_pass
from tests.nets import encoder_task
from tests.passes import run

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24, "num_labels": 3}


def text_task(model: nn.Module, vocabulary: int = 40) -> Task:
    torch.manual_seed(0)
    ids = torch.randint(5, vocabulary, (48, 6))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return _task(model, inputs, ids[:, 0] % 3, {name: value[:2] for name, value in inputs.items()})


def _task(model: nn.Module, inputs: object, labels: Tensor, example: object) -> Task:
    data = batches(inputs, labels, 16)  # type: ignore[arg-type]
    return Task(
        model=model.eval(), example_inputs=example, train=data, calibration=data, validation=data, test=data,  # type: ignore[arg-type]
        loss=F.cross_entropy, metric=accuracy, name=type(model).__name__,
    )  # fmt: skip


def bert() -> Task:
    return text_task(BertForSequenceClassification(BertConfig(vocab_size=40, max_position_embeddings=16, **TINY)))


def roberta() -> Task:
    config = RobertaConfig(vocab_size=40, max_position_embeddings=16, pad_token_id=1, **TINY)
    return text_task(RobertaForSequenceClassification(config))


def distilbert() -> Task:
    config = DistilBertConfig(
        vocab_size=40, max_position_embeddings=16, dim=16, n_layers=2, n_heads=4, hidden_dim=24, num_labels=3
    )
    return text_task(DistilBertForSequenceClassification(config))


def vit() -> Task:
    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_channels=1, **TINY))
    x = torch.randn(48, 1, 8, 8)
    return _task(model, x, x.mean((1, 2, 3)).argsort().argsort() % 3, x[:2])


ENCODERS: dict[str, Callable[[], Task]] = {
    "bert": bert, "roberta": roberta, "distilbert": distilbert, "vit": vit, "pytorch": encoder_task,
}  # fmt: skip


@pytest.fixture(params=ENCODERS, name="task")
def _task_of(request: pytest.FixtureRequest) -> Task:
    torch.manual_seed(0)
    return ENCODERS[request.param]()


def answers(task: Task, model: nn.Module) -> Tensor:
    return torch.cat([task.predict(model, inputs) for inputs, _ in task.validation]).detach()


@pytest.mark.parametrize("step", [Heads(pruning_ratio=0.5), Neurons(pruning_ratio=0.5), Layers(pruning_ratio=0.5)])
def test_the_result_runs_exports_and_agrees_everywhere(task: Task, step: Heads | Neurons | Layers) -> None:
    check_pass(step, task)
    candidate = compress(task, Recipe((step,)))
    before = sum(p.numel() for p in task.model.parameters())
    assert sum(p.numel() for p in rebuild(candidate, task).parameters()) < before


def test_cut_heads_equal_silenced_heads(task: Task) -> None:
    step = Heads(pruning_ratio=0.5, reconstruct=False)
    after, done = run(step, task)
    twin = copy.deepcopy(task.model)
    for edit in done:
        if isinstance(edit, UnfuseAttention):
            twin = edit.apply(twin)
    cuts = [edit for edit in done if isinstance(edit, PruneHeads)]
    assert len(cuts) == 2
    for edit in cuts:
        ((tensor, kept),) = ((tensor, kept) for tensor, dim, kept in edit.slices if dim == 1)
        weight = twin.get_parameter(tensor)
        gone = sorted(set(range(weight.shape[1])) - set(kept))
        assert len(gone) == weight.shape[1] // 2
        with torch.no_grad():
            weight[:, gone] = 0
    assert torch.allclose(answers(task, after), answers(task, twin.eval()), atol=1e-5)


def test_silent_neurons_go_first_and_nothing_changes() -> None:
    task = bert()
    dead = [2, 3, 9, 17, 20, 23]
    with torch.no_grad():
        for layer in task.model.bert.encoder.layer:
            layer.output.dense.weight[:, dead] = 0
            layer.intermediate.dense.weight[dead] *= 0.01
    after, _ = run(Neurons(pruning_ratio=0.25, reconstruct=False, include=("*.intermediate.dense",)), task)
    assert after.bert.encoder.layer[0].intermediate.dense.out_features == 18
    assert torch.allclose(answers(task, after), answers(task, task.model), atol=1e-5)


def loss(task: Task, model: nn.Module) -> float:
    return float(F.cross_entropy(answers(task, model), torch.cat([target for _, target in task.validation])))


def test_by_loss_the_block_goes_whose_absence_costs_least() -> None:
    task = encoder_task()
    after, _ = run(Layers(pruning_ratio=0.5, by="loss"), task)
    skipped = []
    for place in range(2):
        model = UnfuseAttention("encoder").apply(copy.deepcopy(task.model)).eval()
        skipped.append(loss(task, DropLayer(f"encoder.layers.{place}").apply(model)))
    assert loss(task, after) == pytest.approx(min(skipped), abs=1e-6)


def test_the_block_that_does_nothing_goes() -> None:
    task = encoder_task()
    idle = task.model.encoder.layers[1]
    with torch.no_grad():
        for part in (idle.self_attn.out_proj, idle.linear2):
            part.weight.zero_()
            part.bias.zero_()
    after, _ = run(Layers(pruning_ratio=0.5, by="similarity"), task)
    names = [type(layer).__name__ for layer in after.encoder.layers]
    assert names[0] == "PlainEncoderLayer" and names[1] == "Skip"


def test_rows_that_never_occur_go_and_the_map_is_in_the_model() -> None:
    task = encoder_task()  # even tokens only
    after, done = run(Vocabulary(), task)
    (edit,) = (item for item in done if isinstance(item, SliceVocabulary))
    assert edit.kept == tuple(range(0, 24, 2)) and after.embed.weight.shape[0] == 12
    assert torch.equal(answers(task, after), answers(task, task.model))
    odd = torch.full((1, 5), 7)
    assert torch.equal(after(odd), after(torch.zeros(1, 5, dtype=torch.long)))  # what is dropped reads `unknown`


def test_what_is_dropped_may_read_the_row_most_like_it() -> None:
    task = encoder_task()  # even tokens only
    table = task.model.embed.weight
    with torch.no_grad():
        table[::2] += 2 * table.mean(0).abs() + 1  # all point one way, away from row 9
        table[7] = 3 * table[4]
        table[9] = -table[::2].mean(0)
    after, _ = run(Vocabulary(nearest=True), task)
    assert torch.equal(after(torch.full((1, 5), 7)), after(torch.full((1, 5), 4)))
    assert torch.equal(after(torch.full((1, 5), 9)), after(torch.zeros(1, 5, dtype=torch.long)))  # like none: unknown
    assert torch.equal(answers(task, after), answers(task, task.model))


def test_ids_to_keep_stay() -> None:
    after, _ = run(Vocabulary(keep=(1, 3)), encoder_task())
    assert after.embed.weight.shape[0] == 14


def test_what_is_refused() -> None:
    with pytest.raises(SettingError, match="pruning_ratio is 1"):
        Layers(pruning_ratio=1.0)
    with pytest.raises(LayerError, match="would drop all blocks"):
        run(Layers(pruning_ratio=0.9, include=("encoder.layers.0",)), encoder_task())
    with pytest.raises(NothingToDoError, match=r"prune\.heads"):
        run(Heads(include=("nowhere.*",)), bert())
    with pytest.raises(SettingError, match="corpus is empty"):
        Vocabulary(corpus=())
    with pytest.raises(LayerError, match="unknown is 99"):
        run(Vocabulary(unknown=99, include=("embed",)), encoder_task())
