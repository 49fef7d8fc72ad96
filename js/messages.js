// @ts-check
// Shows warnings of the nodes as toasts, under the title of the node that they are about.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "Imprint.Messages",
  setup() {
    api.addEventListener("imprint.warning", (/** @type {any} */ { detail }) => {
      const node = app.graph.getNodeById(detail.node);
      app.extensionManager.toast.add({ severity: "warn", summary: node?.title ?? "Imprint", detail: detail.text, life: 15000 });
    });
  },
});
