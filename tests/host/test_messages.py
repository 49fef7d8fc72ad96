"""What the browser is told while a prompt runs."""

import asyncio

import aiohttp

PROMPT = {
    "model": {"class_type": "ImprintLoadDemoModel", "inputs": {"prediction": "v"}},
    "text": {
        "class_type": "CLIPTextEncode",
        "inputs": {"clip": ["model", 1], "text": "a shiny circle"},
    },
    "show": {"class_type": "PreviewAny", "inputs": {"source": ["text", 0]}},
}


def events(server, prompt: dict) -> list[dict]:
    """Everything that the server sends to one browser, from its prompt to the end of the run."""

    async def listen() -> list[dict]:
        found = []
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{server.url}/ws?clientId=browser") as socket,
        ):
            asked = {"prompt": prompt, "client_id": "browser"}
            await asyncio.to_thread(server.post, "/prompt", asked)
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    found.append(message.json())
                    if found[-1]["type"] in ("execution_success", "execution_error"):
                        return found
        raise RuntimeError("The server hung up.")

    return asyncio.run(asyncio.wait_for(listen(), 120))


def test_a_warning_reaches_the_browser_with_its_node(server):
    said = [event["data"] for event in events(server, PROMPT) if "imprint" in event["type"]]
    assert [event["node"] for event in said] == ["text"]
    assert "ignores words it does not know: shiny" in said[0]["text"]


def edit(steps: int, skip: int) -> dict:
    """The demo picture inverted under its prompt."""
    wired = {"model": ["model", 0], "positive": ["text", 0], "negative": ["text", 0]}
    invert = {"latent_image": ["encode", 0], "steps": steps, "skip_steps": skip, "cfg": 1.0}
    invert |= {"seed": 0, "scheduler": "ddim_uniform"}
    nodes = {
        "model": ("ImprintLoadDemoModel", {"prediction": "v"}),
        "image": (
            "ImprintDemoImage",
            {"shape": "circle", "colour": "red", "ground": "grass", "variation": 1},
        ),
        "text": ("CLIPTextEncode", {"clip": ["model", 1], "text": "a red circle on grass"}),
        "encode": ("VAEEncode", {"pixels": ["image", 0], "vae": ["model", 2]}),
        "invert": ("ImprintEFDDPMInvert", {**wired, **invert}),
        "look": ("ImprintInspectNoiseMaps", {"noise_maps": ["invert", 0]}),
    }
    return {key: {"class_type": kind, "inputs": given} for key, (kind, given) in nodes.items()}


def said_by(server, node: str, prompt: dict) -> dict:
    """What the browser learns of a node at its end."""
    ends = [event["data"] for event in events(server, prompt) if event["type"] == "executed"]
    return next(end["output"] for end in ends if end["node"] == node)


def test_a_cached_node_says_what_it_said_when_it_ran(server):
    prompt = edit(steps=10, skip=8)
    fresh = said_by(server, "invert", prompt)
    (warning,) = fresh["imprint_warnings"]
    assert warning.startswith("8 of 10 steps are skipped")
    assert fresh["imprint_said"][0] == warning
    assert fresh["imprint_said"][1].startswith("Inverted: 2 model evaluations in 1 call")
    assert said_by(server, "invert", prompt) == fresh


def test_an_error_takes_its_words_with_it(server):
    """The warnings of a node that failed are not those of its next run."""
    wrong = edit(steps=10, skip=9)
    wrong["invert"]["inputs"] |= {"noise_shift": 100, "path": "native"}
    assert events(server, wrong)[-1]["type"] == "execution_error"
    assert not said_by(server, "invert", edit(steps=10, skip=5))["imprint_warnings"]
