"""Objectives over layers: proposed pairs, learned regressors, clear errors, and one loop for all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from paring.candidates import compress, rebuild
from paring.core.recipe import Recipe
from paring.distill.attention_transfer import AttentionTransfer
from paring.distill.decoupled import Decoupled
from paring.distill.dist import Dist
from paring.distill.features import Features
from paring.distill.relational import Relational
from paring.distill.response import Response
from paring.distill.self_attention import SelfAttention
from paring.distill.teachers import Teachers
from paring.distill.weighted import Weighted
from paring.errors import LayerError, SettingError, ShapeError, UnknownNameError
from paring.finetune import Finetune
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.stages import matched, stages
from paring.numerics.relations import attention_gap, relative_error
from paring.recipe_io import parse_recipe, to_yaml
from paring.studies.nets import conv_net, mlp
from paring.train import Training, fit
from tests.distill.nets import outputs, seen_of, small_net
from tests.nets import TASKS, dict_task, encoder_task, image_task, vector_task

EVERY = [
    Decoupled(),
    Dist(),
    Weighted((Response(), Features()), (1.0, 0.5)),
    Weighted((Response(), Relational())),
    Teachers(("model", "other"), Response(), (1.0, 3.0)),
]


def plain_images():  # type: ignore[no-untyped-def]
    return image_task(model=small_net())


def test_pairs_are_proposed_by_shape_and_depth() -> None:
    task = replace(image_task(), model=conv_net((8, 16), 32, side=8))
    thin = conv_net((4, 8), 16, side=8)
    pairs = matched(stages(thin.eval(), task), stages(task.model.eval(), task))
    assert pairs == [("relu1", "relu1"), ("relu2", "relu2"), ("pool2", "pool2"), ("dropout", "dropout")]
    assert matched(stages(mlp((64, 12, 4)), task), stages(task.model, task)) == [("relu1", "dropout")]
    assert matched(stages(mlp((64, 12, 4)), task), stages(task.model, task), with_positions=True) == []


def test_blocks_in_a_row_are_paired_one_by_one() -> None:
    task = encoder_task()
    for edit in list(unfuse_all(task.model)):
        edit.apply(task.model)
    pairs = matched(stages(task.model, task), stages(task.model, task))
    assert pairs == [("encoder.layers.0", "encoder.layers.0"), ("encoder.layers.1", "encoder.layers.1")]


def test_features_are_foretold_by_a_regressor_of_the_students_channels() -> None:
    task, student = image_task(), small_net()
    scorer, seen = seen_of(task, student, Features((("conv", "conv2"),)))
    weight, bias = scorer.learned
    assert weight.shape == (8, 5)
    guess = F.conv2d(seen.student_layers["conv"], weight[..., None, None], bias)
    wanted = seen.teacher_layers["conv2"]  # the first batch of calibration is what the scorer sees here
    expected = relative_error(guess, wanted, wanted.square().mean().item())
    assert scorer.loss(seen).item() == pytest.approx(expected.item(), rel=1e-5)


def test_between_equal_widths_the_regressor_starts_as_the_identity() -> None:
    task = image_task()
    scorer, seen = seen_of(task, task.model, Features((("conv1", "conv1"),)))
    assert scorer.loss(seen).item() == pytest.approx(0, abs=1e-10)


def test_attention_is_transferred_between_maps_of_any_width() -> None:
    task, student = image_task(), small_net()
    scorer, seen = seen_of(task, student, AttentionTransfer((("conv", "conv2"),)))
    expected = attention_gap(*(x.flatten(2) for x in (seen.student_layers["conv"], seen.teacher_layers["conv2"])))
    assert scorer.loss(seen).item() == pytest.approx(expected.item(), rel=1e-6)


def test_relations_need_no_equal_shapes() -> None:
    scorer = Relational().bind(small_net(), image_task().model, image_task())
    x = torch.randn(6, 4)
    assert scorer.loss(outputs(x, torch.cat((x, x), 1))).item() == pytest.approx(0, abs=1e-6)
    assert scorer.loss(outputs(x, torch.randn(6, 3))).item() > 0.01


def test_self_attention_of_the_model_with_itself_costs_nothing() -> None:
    task = encoder_task()
    for edit in list(unfuse_all(task.model)):
        edit.apply(task.model)
    scorer, seen = seen_of(task, task.model, SelfAttention())
    assert len(scorer.student_layers) == 3 and scorer.student_layers[0].startswith("encoder.layers.1.")
    assert scorer.loss(seen).item() == pytest.approx(0, abs=1e-6)


def test_the_weighted_sum_is_the_weighted_sum() -> None:
    task, student = image_task(), small_net()
    parts = Response(), Relational()
    single = [seen_of(task, student, part)[0].loss(seen_of(task, student, part)[1]).item() for part in parts]
    scorer, seen = seen_of(task, student, Weighted(parts, (0.5, 3.0)))
    assert scorer.loss(seen).item() == pytest.approx(0.5 * single[0] + 3 * single[1], rel=1e-5)


def test_two_teachers_are_their_mean_softened_answer_up_to_a_constant() -> None:
    task = replace(image_task(), teachers={"other": image_task(seed=5).model})
    student = small_net()
    scorer, seen = seen_of(task, student, Teachers(("model", "other"), Response(temperature=2.0, alpha=1.0)))
    (got,) = torch.autograd.grad(scorer.loss(seen), student.head.weight, retain_graph=True)
    with torch.no_grad():
        softened = [F.softmax(task.predict(m, seen.inputs) / 2, -1) for m in (task.model, task.teachers["other"])]
    mean = sum(softened) / 2
    expected = 4 * F.kl_div(F.log_softmax(seen.student / 2, -1), mean, reduction="batchmean")
    (wanted,) = torch.autograd.grad(expected, student.head.weight)
    assert torch.allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("make", [image_task, vector_task, dict_task, encoder_task], ids=sorted(TASKS, reverse=True))
@pytest.mark.parametrize("objective", EVERY, ids=lambda one: one.name)
def test_every_objective_trains_on_every_net(make, objective) -> None:  # type: ignore[no-untyped-def]
    task = make()
    task = replace(task, teachers={"other": make(seed=7).model})
    candidate = compress(task, Recipe((Finetune(epochs=2, learning_rate=1e-2, objective=objective),)))
    again = compress(task, Recipe((Finetune(epochs=2, learning_rate=1e-2, objective=objective),)))
    assert any(not torch.equal(candidate.state[name], p) for name, p in task.model.named_parameters())
    assert all(torch.equal(candidate.state[name], again.state[name]) for name in candidate.state)
    assert not any(module._forward_hooks for module in task.model.modules())


@pytest.mark.parametrize(
    ("make", "objective"),
    [(plain_images, AttentionTransfer()), (encoder_task, SelfAttention())],
)
def test_looks_inside_pull_a_disturbed_student_back(make, objective) -> None:  # type: ignore[no-untyped-def]
    """The teacher is the model itself; noise on the student's weights is undone by the objective alone."""
    task = make()
    recipe = Recipe((Finetune(epochs=15, learning_rate=3e-3, objective=objective),))
    teacher = rebuild(compress(task, Recipe((Finetune(epochs=1, learning_rate=1e-12, objective=objective),))), task)
    noisy = replace(task, model=_disturbed(teacher), teachers={})
    before = _loss(objective, noisy.model, teacher, task)
    trained = rebuild(compress(replace(noisy, teachers={"clean": teacher}), _from(recipe, objective)), noisy)
    assert _loss(objective, trained, teacher, task) < 0.5 * before


def _from(recipe: Recipe, objective) -> Recipe:  # type: ignore[no-untyped-def]
    return Recipe((replace(recipe.passes[0], objective=Teachers(("clean",), objective)),))  # type: ignore[type-var]


def _disturbed(model):  # type: ignore[no-untyped-def]
    import copy

    noisy = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in noisy.parameters():
            p.add_(0.3 * p.std().nan_to_num(0.1) * torch.randn(p.shape, generator=generator))
    return noisy


def _loss(objective, student, teacher, task) -> float:  # type: ignore[no-untyped-def]
    scorer, seen = seen_of(task, student, objective, teacher)
    return scorer.loss(seen).item()


def test_the_regressors_learn_along() -> None:
    """Nothing but the regressor may move: the student stays, and the error falls."""
    task = image_task()
    student, trainable = small_net(), ()
    objective = Features((("conv", "conv2"),))
    steps = list(fit(student, task, objective, Training(epochs=30, learning_rate=2e-2), trainable))
    first, last = (float(step.text.rpartition(" ")[2]) for step in (steps[0], steps[-1]))
    assert last < 0.7 * first
    assert all(torch.equal(p, q) for p, q in zip(student.parameters(), small_net().parameters(), strict=True))


def test_names_that_do_not_exist_and_shapes_that_do_not_fit() -> None:
    task, student = image_task(), small_net()
    with pytest.raises(UnknownNameError, match="unknown layer 'conv9'; did you mean"):
        Features((("conv9", "conv1"),)).bind(student, task.model, task)
    with pytest.raises(ShapeError, match=r"conv gives .* head .*other positions"):
        Features((("conv", "head"),)).bind(student, task.model, task)
    with pytest.raises(LayerError, match="no attention with query"):
        SelfAttention().bind(student, task.model, task)
    with pytest.raises(LayerError, match="no layers with positions"):
        AttentionTransfer().bind(mlp((64, 12, 4)), task.model, task)
    with pytest.raises(UnknownNameError, match="unknown teacher 'big'"):
        Teachers(("big",), Response()).bind(student, task.model, task)
    with pytest.raises(SettingError, match="1 weights for 2 objectives"):
        Weighted((Response(), Response()), (1.0,))


def test_sums_and_teachers_survive_yaml() -> None:
    objective = Weighted((Response(temperature=2.0), Features((("a", "b"),))), (1.0, 0.1))
    recipe = Recipe((Finetune(objective=Teachers(("model", "big"), objective, (1.0, 2.0))),))
    assert parse_recipe(to_yaml(recipe)) == recipe
    with pytest.raises(UnknownNameError, match=r"objectives\[0\].*did you mean 'distill.dist'"):
        parse_recipe("passes:\n- finetune: {objective: {distill.weighted: {objectives: [{distill.disst: {}}]}}}")
