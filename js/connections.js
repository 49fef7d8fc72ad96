// @ts-check
// Offers the likely nodes first, by their names, where a link of this pack's types is dropped on the
// canvas.

import { app } from "../../scripts/app.js";

const NOISE_MAPS = "NOISE_MAPS";
const FROM = ["InvertedSampler", "NoiseMapEdit", "NullTextOptimize", "InspectNoiseMaps", "SaveNoiseMaps", "NoiseMapsToLatent", "InvertedSamplerCustom"];
const TO = ["EFDDPMInvert", "DDIMInvert", "LoadNoiseMaps", "NoiseMapEdit", "NullTextOptimize", "RecordDDPM", "EFDDPMInvertCustom", "DDIMInvertCustom"];

/** What the host's menu shows for these nodes, and how it makes one of them. */
function entries(/** @type {string[]} */ names) {
  const { registered_node_types: types } = LiteGraph;
  const ids = names.map((name) => `Imprint${name}`).filter((id) => types[id]);
  return [...ids.map((id) => ({ node: id, title: types[id].title })), "Reroute"];
}

function offer() {
  LiteGraph.slot_types_default_out[NOISE_MAPS] = entries(FROM);
  LiteGraph.slot_types_default_in[NOISE_MAPS] = entries(TO);
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
