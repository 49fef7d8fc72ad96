"""What attention controls compute on maps, against the papers' formulas written out."""

import pytest
import torch
from imprint_pack.inversion.attention import Layer, Moment, attention_maps, text_maps
from imprint_pack.inversion.cross_guidance import CrossGuidance
from imprint_pack.inversion.injection import MasaCtrl, PlugAndPlay
from imprint_pack.inversion.prompt_to_prompt import BlendWords, PromptToPrompt
from imprint_pack.inversion.word_maps import WordMaps
from torch.nn.functional import scaled_dot_product_attention as attend

GRID, TEXT = (4, 3), 5
CROSS = Layer("cross", 0.5, None, GRID, 12, TEXT)
SELF = Layer("self", 0.7, (1 / 3, 1 / 2), GRID, 12)
JOINT = Layer("joint", 0.7, None, GRID, 12, TEXT)
EARLY, LATE = Moment(0, 10), Moment(9, 10)


def drawn(tokens: int, seed: int, keys: int | None = None) -> list[torch.Tensor]:
    """q, k and v of 2 images and 3 heads."""
    generator = torch.Generator().manual_seed(seed)
    counts = (tokens, keys or tokens, keys or tokens)
    return [torch.randn(2, 3, count, 8, generator=generator) for count in counts]


def rules(**changes) -> PromptToPrompt:
    given = {
        "mapper": torch.eye(TEXT),
        "found": torch.ones(TEXT),
        "weights": torch.ones(TEXT),
        "spans": ((0.0, 0.5),) * TEXT,
        "self_replace": 0.5,
        "self_size": 16,
    }
    return PromptToPrompt(**given | changes)


def used(control, layer, source, target, moment=EARLY):
    kept = control.keep(layer, *source, attend)
    return control.use(layer, moment, kept, target, attend)


def test_text_maps_of_a_joint_layer_are_those_of_its_softmax():
    q, k, _ = drawn(12 + TEXT, 0)
    whole = attention_maps(q, k)[:, :, TEXT:, :TEXT]
    assert (text_maps(JOINT, q, k, attend) - whole).abs().max() <= 1e-6


def test_replaced_words_attend_where_the_sources_do():
    source, target = drawn(12, 1, TEXT), drawn(12, 2, TEXT)
    expected = attention_maps(*source[:2]) @ target[2]
    assert (used(rules(), CROSS, source, target) - expected).abs().max() <= 1e-6


def test_the_formula_of_refinement_and_weights():
    source, target = drawn(12, 1, TEXT), drawn(12, 2, TEXT)
    found, weights = torch.tensor([1, 1, 0, 1, 0.0]), torch.tensor([1, 2, 1, -1, 3.0])
    mapper = torch.rand(TEXT, TEXT, generator=torch.Generator().manual_seed(3))
    before, own = attention_maps(*source[:2]), attention_maps(*target[:2])
    mixed = (before @ mapper * found + own * (1 - found)) * weights
    spans = ((0.0, 0.5), (0.0, 0.5), (0.0, 0.5), (0.5, 1.0), (0.0, 0.5))
    mixed[..., 3] = own[..., 3]  # its time has not come
    control = rules(mapper=mapper, found=found, weights=weights, spans=spans)
    assert (used(control, CROSS, source, target) - mixed @ target[2]).abs().max() <= 1e-5


@pytest.mark.parametrize("layer", [CROSS, JOINT])
def test_no_word_in_its_time_is_plain_attention(layer):
    tokens = 12 + (TEXT if layer is JOINT else 0)
    keys = None if layer is JOINT else TEXT
    source, target = drawn(tokens, 1, keys), drawn(tokens, 2, keys)
    found = used(rules(), layer, source, target, LATE)
    assert (found - attend(*target)).abs().max() <= 1e-5


def test_places_of_a_joint_layer_take_the_sources_share_of_text():
    source, target = drawn(12 + TEXT, 1), drawn(12 + TEXT, 2)
    maps = attention_maps(*target[:2])
    maps[:, :, TEXT:, :TEXT] = attention_maps(*source[:2])[:, :, TEXT:, :TEXT]
    found = used(rules(), JOINT, source, target)
    assert (found - maps @ target[2]).abs().max() <= 1e-5


def test_repeated_prompts_and_tokens_behind_them():
    """The host repeats a prompt beside a longer one; patches append tokens."""
    source, target = drawn(12, 1, TEXT), drawn(12, 2, 2 * TEXT + 4)
    layer = CROSS._replace(text=2 * TEXT)
    kept = rules().keep(CROSS, *source, attend)
    found = rules().use(layer, EARLY, kept, target, attend)
    maps = attention_maps(*target[:2])
    maps[..., : 2 * TEXT] = attention_maps(*source[:2]).repeat(1, 1, 1, 2) / 2
    assert (found - maps @ target[2]).abs().max() <= 1e-5
    repeated = [source[0], *(x.repeat(1, 1, 2, 1) for x in source[1:])]
    assert (rules().keep(layer, *repeated, attend)[0] - kept[0]).abs().max() <= 1e-6


def test_self_attention_is_the_sources_up_to_a_size():
    source, target = drawn(12, 1), drawn(12, 2)
    expected = attend(source[0], source[1], target[2])
    assert used(rules(), SELF, source, target).equal(expected)
    control = rules(self_size=3)
    assert not control.acts(SELF, EARLY)  # 12 places
    assert control.acts(SELF._replace(grid=(3, 3)), EARLY)
    assert not control.acts(SELF._replace(grid=(3, 3)), LATE)
    # Four times the cells of the papers' latents: four times the places.
    assert control.acts(SELF._replace(grid=(6, 6), cells=4 * 64**2), EARLY)
    assert not control.acts(SELF._replace(grid=(6, 7), cells=4 * 64**2), EARLY)


def test_the_source_is_only_asked_where_something_acts():
    control = rules(spans=((0.2, 0.4),) * TEXT, self_replace=0.1)
    active = [control.active(Moment(i, 10), joint=False) for i in range(10)]
    assert active == [True, False, True, True, *[False] * 6]
    assert not control.active(EARLY, joint=True)  # self_replace needs places of their own
    assert not PlugAndPlay(0.5, 0.0).active(EARLY, joint=True)
    assert not MasaCtrl(1.0, 0.5).active(LATE, joint=False)
    assert not MasaCtrl(0.0, 1.0).active(LATE, joint=False)
    assert not CrossGuidance(0.0).active(EARLY, joint=False)


def test_plug_and_play_acts_in_the_decoder():
    control = PlugAndPlay(0.8, 0.5)
    blocks = [(i / 12, (i + 1) / 12) for i in range(12)]  # of Stable Diffusion 1.5
    places = [
        i for i, part in enumerate(blocks) if control.acts(SELF._replace(decoder=part), EARLY)
    ]
    assert places == list(range(4, 12))
    features = SELF._replace(kind="features")
    places = [
        i for i, part in enumerate(blocks) if control.acts(features._replace(decoder=part), EARLY)
    ]
    assert places == [4]
    assert not control.acts(SELF._replace(decoder=None), EARLY)
    assert not control.acts(SELF, Moment(5, 10))
    assert control.acts(features._replace(decoder=blocks[4]), Moment(7, 10))
    source, target = drawn(12, 1), drawn(12, 2)
    assert used(control, SELF, source, target).equal(attend(source[0], source[1], target[2]))


def test_joint_layers_take_the_places_values_only():
    source, target = drawn(12 + TEXT, 1), drawn(12 + TEXT, 2)
    values = torch.cat([target[2][:, :, :TEXT], source[2][:, :, TEXT:]], 2)
    found = used(PlugAndPlay(0.8, 0.5), JOINT, source, target)
    assert found.equal(attend(target[0], target[1], values))


def test_masactrl_looks_at_the_source():
    source, target = drawn(12, 1), drawn(12, 2)
    control = MasaCtrl(0.1, 0.625)
    assert used(control, SELF, source, target).equal(attend(target[0], source[1], source[2]))
    assert control.acts(SELF, EARLY)
    assert not control.acts(SELF._replace(depth=0.6), EARLY)
    assert not control.active(EARLY, joint=False)
    assert control.active(Moment(1, 10), joint=False)


@pytest.mark.parametrize("layer", [SELF, JOINT])
def test_masactrl_keeps_inside_and_outside_apart(layer):
    mask = torch.zeros(1, 1, 4, 3)
    mask[..., :2, :] = 1
    source, target = drawn(12 + layer.text, 1), drawn(12 + layer.text, 2)
    control = MasaCtrl(0.0, 0.0, mask).for_run(torch.zeros(2, 4, 4, 3))
    found = used(control, layer, source, target)
    changed = [x.clone() for x in source]
    for x in changed[1:]:
        x[:, :, layer.text + 6 :] += 1  # what lies outside
    other = used(control, layer, changed, target)
    inside = slice(layer.text, layer.text + 6)
    assert other[:, :, inside].equal(found[:, :, inside])
    assert not other[:, :, layer.text + 6 :].equal(found[:, :, layer.text + 6 :])


def test_guidance_adds_up_what_maps_differ_by():
    source, target = drawn(12, 1, TEXT), drawn(12, 2, TEXT)
    control = CrossGuidance(0.1)
    assert used(control, CROSS, source, target).equal(attend(*target))
    used(control, CROSS, source, target)
    difference = attention_maps(*target[:2]) - attention_maps(*source[:2])
    expected = 2 * difference.square().sum((2, 3)).mean(1).sum()
    assert control.taken_loss() == pytest.approx(expected.item())
    assert control.taken_loss() == 0


def test_words_are_seen_where_they_are_attended_to():
    words = WordMaps([1, 2], 16)
    maps = torch.zeros(1, 3, 12, TEXT)
    maps[:, :, 4, 1] = 0.5
    maps[:, :, 4, 2] = 0.25
    for _ in range(2):
        words.add(CROSS, maps)
    mean = words.mean(GRID)
    assert mean[0, 0, 1, 1] == 0.75
    assert mean.sum() == 0.75
    assert not words.empty().sums
    with pytest.raises(ValueError, match=r"up to 16 x 16 places, .*: raise size, or leave"):
        words.empty().mean(GRID)


def test_an_edit_stays_where_its_words_are_seen():
    seen = torch.zeros(1, 3, 12, TEXT)
    seen[:, :, 0, 1] = 1
    words = BlendWords(WordMaps([1], 16), WordMaps([], 16), 0.3)
    words.source.add(CROSS, seen)
    words.target.add(CROSS, seen)
    x, own = torch.ones(1, 4, *GRID), torch.zeros(1, 4, *GRID)
    assert words.blend(EARLY, x, own).equal(x)  # too early to tell
    blended = words.blend(LATE, x, own)[0, 0]
    assert blended[:2, :2].min() == 1  # with the places around it
    assert blended.sum() == 4
