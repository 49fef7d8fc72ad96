// @ts-check
// An upload button for Load Noise Maps; without it, files are copied into the input folder by hand.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const FOLDER = "noise_maps";

/** Uploads a file into the input folder; returns the name by which the list knows it. */
async function upload(/** @type {File} */ file) {
  const body = new FormData();
  body.append("image", file);
  body.append("type", "input");
  body.append("subfolder", FOLDER);
  const answer = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!answer.ok) throw new Error(`${file.name} was not uploaded: ${answer.status} ${answer.statusText}`);
  const { name, subfolder } = await answer.json();
  return subfolder ? `${subfolder}/${name}` : name;
}

/**
 * Lets the user pick a file; resolves to nothing where the dialog is cancelled.
 * @returns {Promise<File | undefined>}
 */
function pick() {
  return new Promise((resolve) => {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = ".safetensors";
    input.onchange = () => resolve(input.files?.[0]);
    input.oncancel = () => resolve(undefined);
    input.click();
  });
}

app.registerExtension({
  name: "Imprint.LoadNoiseMaps",
  nodeCreated(node) {
    const list = node.widgets?.find((widget) => widget.name === "noise_maps_file");
    if (node.comfyClass !== "ImprintLoadNoiseMaps" || !list) return;
    const names = /** @type {string[]} */ (list.options.values);
    const choose = async () => {
      try {
        const file = await pick();
        if (!file) return;
        const name = await upload(file);
        if (!names.includes(name)) names.push(name);
        list.value = name;
        node.setDirtyCanvas(true, true);
      } catch (error) {
        app.extensionManager.toast.add({ severity: "error", summary: "Load Noise Maps", detail: String(error) });
      }
    };
    node.addWidget("button", "choose file to upload", "", choose, { serialize: false });
  },
});
