// @ts-check
// Gives the links and slots of this pack's types a colour of their own.

import { app } from "../../scripts/app.js";

const COLOURS = { NOISE_MAPS: "#e0704f", ATTENTION_CONTROL: "#4fb3a5" };

/** The host's palettes forget types that they do not know. */
function paint() {
  for (const [type, colour] of Object.entries(COLOURS)) {
    app.canvas.default_connection_color_byType[type] = colour;
    /** @type {any} */ (globalThis).LGraphCanvas.link_type_colors[type] = colour;
    document.documentElement.style.setProperty(`--color-datatype-${type}`, colour); // Nodes 2.0
  }
  app.canvas.setDirty(true, true);
}

app.registerExtension({
  name: "Imprint.Colours",
  setup() {
    app.ui.settings.addEventListener("Comfy.ColorPalette.change", () => requestAnimationFrame(paint));
  },
  afterConfigureGraph: paint,
});
