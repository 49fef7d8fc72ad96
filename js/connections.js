// @ts-check
// Offers the likely nodes first, by their names, where a link of this pack's types is dropped on the
// canvas.

import { app } from "../../scripts/app.js";

/** For each type, the nodes that take it and the nodes that give it. */
const NODES = {
  NOISE_MAPS: {
    from: ["InvertedSampler", "NoiseMapEdit", "NullTextOptimize", "InspectNoiseMaps", "SaveNoiseMaps", "NoiseMapsToLatent", "AttentionMap", "InvertedSamplerCustom"],
    to: ["EFDDPMInvert", "DDIMInvert", "LoadNoiseMaps", "NoiseMapEdit", "NullTextOptimize", "RecordDDPM", "EFDDPMInvertCustom", "DDIMInvertCustom"],
  },
  ATTENTION_CONTROL: {
    from: ["InvertedSampler", "InvertedSamplerCustom"],
    to: ["PromptToPrompt", "PlugAndPlay", "MasaCtrl", "Pix2PixZero"],
  },
};

/** What the host's menu shows for these nodes, and how it makes one of them. */
function entries(/** @type {string[]} */ names) {
  const { registered_node_types: types } = LiteGraph;
  const ids = names.map((name) => `Imprint${name}`).filter((id) => types[id]);
  return [...ids.map((id) => ({ node: id, title: types[id].title })), "Reroute"];
}

function offer() {
  for (const [type, { from, to }] of Object.entries(NODES)) {
    LiteGraph.slot_types_default_out[type] = entries(from);
    LiteGraph.slot_types_default_in[type] = entries(to);
  }
}

app.registerExtension({
  name: "Imprint.Connections",
  setup() {
    offer();
    // The host fills its lists anew when their length is set.
    app.ui.settings.addEventListener("Comfy.NodeSuggestions.number.change", () => requestAnimationFrame(offer));
  },
  // ... and when node definitions are loaded again.
  refreshComboInNodes: offer,
});
