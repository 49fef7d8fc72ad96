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
