// @ts-check
// Shows errors and warnings of the nodes as toasts with their own sentence; a node that warned wears
// a badge until it runs again.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { isOurs, nodeAt } from "./nodes.js";

const WARNING_LIFE = 15_000; // ms
const LONGEST = 600; // characters; errors from deep inside can hold whole tensors
const BADGE = { text: "\u26a0 warning", fgColor: "#1c1400", bgColor: "#f0b429" };

/** @type {object[]} */
let errors = [];

/** Shows an error until it is closed or the next run begins. */
function showError(/** @type {any} */ { node_id, node_type, exception_type, exception_message }) {
  // In these cases the host says it itself: memory by its own words, the rest in its dialog.
  const inDialog = !app.extensionManager.setting.get("Comfy.RightSidePanel.ShowErrorsTab");
  if (!isOurs(node_type) || inDialog || /OutOfMemory/.test(exception_type)) return;
  const summary = nodeAt(node_id)?.title ?? node_type;
  const detail = exception_message.trim().slice(0, LONGEST);
  const toast = /** @type {const} */ ({ severity: "error", summary, detail });
  errors.push(toast);
  app.extensionManager.toast.add(toast);
}

function removeErrors() {
  errors.forEach((toast) => app.extensionManager.toast.remove(toast));
  errors = [];
}

/** @type {WeakMap<any, () => object>} */
const badges = new WeakMap();
/** @type {WeakSet<any>} */
const warned = new WeakSet();

/** Puts the badge on a node, or takes it off. */
function mark(/** @type {any} */ node, /** @type {boolean} */ warns) {
  if (!node || warned.has(node) === warns) return;
  warned[warns ? "add" : "delete"](node);
  if (!badges.has(node)) {
    // In Nodes 2.0 a badge is drawn anew when what it read has changed: here the list of widgets.
    const draw = () => newBadge(node.widgets?.length >= 0 && warned.has(node));
    badges.set(node, draw);
    node.badges.push(draw);
  }
  node.widgets?.push({ name: "", type: "hidden", options: {} });
  node.widgets?.pop();
  node.setDirtyCanvas(true, true);
}

const newBadge = (/** @type {boolean} */ shown) =>
  new /** @type {any} */ (globalThis).LGraphBadge(shown ? BADGE : { text: "" });

app.registerExtension({
  name: "Imprint.Messages",
  setup() {
    api.addEventListener("execution_start", removeErrors);
    api.addEventListener("execution_error", (/** @type {any} */ { detail }) => showError(detail));
    api.addEventListener("executing", (/** @type {any} */ { detail }) => detail && mark(nodeAt(detail), false));
    api.addEventListener("imprint.warning", (/** @type {any} */ { detail }) => {
      const node = nodeAt(detail.node);
      mark(node, true);
      app.extensionManager.toast.add({ severity: "warn", summary: node?.title ?? "Imprint", detail: detail.text, life: WARNING_LIFE });
    });
    api.addEventListener("executed", (/** @type {any} */ { detail }) => {
      const said = detail.output?.imprint_warnings;
      if (said) mark(nodeAt(detail.node), said.length > 0);
    });
  },
});
