"""Gradients through the host's network: what they cost, and that nothing of them is left behind."""

import importlib
import math

import comfy.model_management as mm
import pytest
import torch
from imprint_pack.benchmarks.tiny_families import FAMILIES
from tiny_models import counting

STEPS = 8


@pytest.fixture
def gradients():
    return importlib.import_module("imprint_pack.nodes._host.gradients")


@pytest.mark.parametrize("family", ["SD 1.5", "SDXL"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_models_learn_what_float32_learns(null_text, family, dtype):
    settings = {"method": "null_text", "method.inner_steps": 5}
    exact, *_ = null_text.of_family(family, **settings)
    half, *_ = null_text.of_family(family, dtype, **settings)
    start = FAMILIES[family].prompt(2)[0][0]
    moved, expected = (maps.uncond[0] - start for maps in (half, exact))
    assert half.uncond.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(moved.flatten(), expected.flatten(), dim=0)
    assert cosine > 0.8  # Adam's first updates are signs, which small errors can turn


@pytest.mark.parametrize("asked", ["all", "self-attention"])
def test_attention_override_without_a_derivative_is_left_out(null_text, demo, asked):
    def override(function, q, k, *args, **kwargs):
        """As kernels that are fast, but for inference only."""
        if asked == "self-attention" and q.shape[1] != k.shape[1]:
            return function(q, k, *args, **kwargs)
        with torch.no_grad():
            return function(q, k, *args, **kwargs)

    model = demo.model.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = override
    maps, *_ = null_text.optimize(model=model)
    assert maps.uncond.equal(null_text.fast[0].uncond)


def test_attention_override_with_a_derivative_is_kept(null_text, demo):
    model = demo.model.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = (
        lambda function, q, *args, **kwargs: function(2 * q, *args, **kwargs)
    )
    maps, *_ = null_text.optimize(model=model)
    assert not maps.uncond.equal(null_text.fast[0].uncond)


def test_fast_costs_three_evaluations_and_a_backward_pass_per_step(null_text, demo):
    counted = counting(demo.model)
    null_text.optimize()
    counted.remove()
    # The prompt once, the embedding before and after its only update; the last steps have two.
    assert counted.rows == [1] * (3 * STEPS + 2)


def test_recomputed_activations_give_the_same_null_text(null_text, gradients, monkeypatch):
    monkeypatch.setattr(gradients, "_memory_is_short", lambda *args: True)
    original, asked = gradients._recordable, []
    monkeypatch.setattr(
        gradients, "_recordable", lambda network, r: asked.append(r) or original(network, r)
    )
    recomputed, *_ = null_text.optimize()
    assert asked == [True]
    assert (null_text.fast[0].uncond - recomputed.uncond).abs().max() < 1e-5


def test_out_of_memory_in_the_backward_pass_starts_again_with_recomputation(
    null_text, demo, caplog
):
    caplog.set_level("INFO")

    def fail(count):
        if count == 9:
            raise torch.OutOfMemoryError("backward")

    counted = counting(demo.model, fail)
    maps, *_ = null_text.optimize()
    counted.remove()
    assert (null_text.fast[0].uncond - maps.uncond).abs().max() < 1e-5
    assert "Memory is short: activations are computed twice, which is slower." in caplog.text


def test_a_changed_activation_is_not_taken_for_a_later_one_at_its_address(gradients):
    """As ControlNets and FreeU change activations; so many that addresses come again."""

    def part(weight, scale):
        activation = torch.exp(scale * weight)
        out = activation.sum()
        activation.mul_(0)
        return out

    scales = [i / 200 for i in range(200)]
    expected = sum(scale * math.exp(scale) for scale in scales)
    for size in range(1000, 1010):
        with torch.inference_mode(False), torch.enable_grad(), gradients._changeable_activations():
            weight = torch.ones(size, requires_grad=True, dtype=torch.float64)
            (slope,) = torch.autograd.grad(sum(part(weight, scale) for scale in scales), weight)
        assert (slope - expected).abs().max() < 1e-9 * expected


class TestLeavesTheModelAlone:
    """Whatever ends the run, the next stock run has the same bits and autograd is off."""

    @pytest.fixture(autouse=True)
    def _unchanged(self, demo, null_text):
        network = demo.model.model.diffusion_model
        before, tables = null_text.stock(demo.model), dict(network.named_parameters())
        yield
        assert dict(network.named_parameters()).keys() == tables.keys()
        assert all(p is tables[name] for name, p in network.named_parameters())
        assert not any("forward" in vars(module) for module in network.modules())
        assert not mm.in_training
        assert null_text.stock(demo.model).equal(before)
        assert not any(getattr(module, "weight_function", None) for module in network.modules())
        assert torch.is_inference_mode_enabled()

    @pytest.mark.parametrize("short", [False, True])
    def test_after_success(self, null_text, gradients, monkeypatch, short):
        monkeypatch.setattr(gradients, "_memory_is_short", lambda *args: short)
        null_text.optimize()

    @pytest.mark.parametrize("short", [False, True])
    def test_after_an_error(self, demo, null_text, gradients, monkeypatch, short):
        monkeypatch.setattr(gradients, "_memory_is_short", lambda *args: short)

        def fail(count):
            if count == 9:
                raise RuntimeError("broken layer")

        counted = counting(demo.model, fail)
        with pytest.raises(RuntimeError, match="broken layer"):
            null_text.optimize()
        counted.remove()

    def test_after_an_interrupt_within_one_evaluation(self, demo, null_text):
        counted = counting(
            demo.model, lambda count: count == 9 and mm.interrupt_current_processing(True)
        )
        with pytest.raises(mm.InterruptProcessingException):
            null_text.optimize()
        counted.remove()
        assert len(counted.rows) == 9
