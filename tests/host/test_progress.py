"""What is said while a run goes on and after it."""

import importlib
import re

import pytest
import torch

progress = importlib.import_module("imprint_pack.nodes._host.progress")
messages = importlib.import_module("imprint_pack.nodes._host.messages")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (99, "99 s"), (120, "2 min")],
)
def test_durations_have_two_digits(seconds, words):
    assert progress.duration(seconds) == words


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        ((1, 1, 1, 0.5), "1 model evaluation in 1 call, 0.5 s"),
        ((64, 64, 1, 12), "64 model evaluations in 64 calls, 12 s"),
        ((64, 4, 16, 2), "64 model evaluations in 4 calls of up to 16 steps, 2.0 s"),
    ],
)
def test_a_cost_is_one_line(cost, words):
    assert str(progress.Cost(*cost)) == words


def test_a_curve_falls_with_its_values_by_their_logarithm():
    assert progress.curve([1, 0.1, 0.01]) == "\u2588\u2584\u2581"
    assert progress.curve([2.0]) == "\u2581"
    assert len(progress.curve([1.0, 0.0] * 50)) == 24


def test_progress_speaks_seldom_and_names_the_time_left(monkeypatch):
    clock, said, forwarded = [100.0], [], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(progress, "show", said.append)
    run = progress.Progress(100, lambda *step: forwarded.append(step))
    x = torch.zeros(1)
    for done in range(1, 101):
        clock[0] += 0.125
        run(done, x, x, lambda: "error 1")
    assert [step[0] for step in forwarded] == list(range(100))
    assert len(said) == 24
    assert said[0] == "Step 4 of 100, 12 s left, error 1"


def test_evaluations_count_rows_of_all_calls(node, demo, caplog):
    caplog.set_level("INFO")
    both = {"samples": demo.latent["samples"].repeat(2, 1, 1, 1)}
    settings = {"steps": 10, "skip_steps": 4, "cfg": 1.0, "batch_timesteps": 4}
    (maps,) = node("EFDDPMInvert", **demo.source, latent_image=both, **settings)
    node("InvertedSampler", **demo.source, noise_maps=maps, cfg=1.0)
    inverted, sampled = (line for line in caplog.messages if "evaluations" in line)
    assert re.search(r"Inverted: 12 model evaluations in 2 calls of up to 4 steps, ", inverted)
    assert re.search(r"Sampled: 12 model evaluations in 6 calls, \S+ s\. An exact recon", sampled)


def test_an_edit_at_the_same_cfg_is_called_one(node, demo, caplog):
    caplog.set_level("INFO")
    settings = {"steps": 10, "skip_steps": 4, "cfg": 2.0}
    (maps,) = node("EFDDPMInvert", **demo.source, latent_image=demo.latent, **settings)
    node("InvertedSampler", **demo.target, noise_maps=maps, cfg=2.0)
    assert "An edit: the result is not the picture of the noise maps." in caplog.text


def test_what_is_said_is_kept_once():
    messages.said()
    messages.tell("one")
    messages.warn("two")
    messages.show("three")
    assert messages.said() == {"imprint_said": ["one", "two"], "imprint_warnings": ["two"]}
    assert messages.said() == {"imprint_said": [], "imprint_warnings": []}
