// @ts-check
// Shows errors and warnings of the nodes as toasts with their own sentence; a node that warned wears
// a badge until it runs again.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { isOurs, nodeAt } from "./nodes.js";

const WARNING_LIFE = 15_000; // ms
const LONGEST = 600; // characters; errors from deep inside can hold whole tensors
const DEMO_WARNS = "CLIPTextEncode"; // in it the demo model's CLIP says which words it does not know
const BADGE = { text: "\u26a0 warning", fgColor: "#1c1400", bgColor: "#f0b429" };

// Where the host's own box about a failed run is open, toasts would lie on it.
const BESIDE_HOST = "body:has([data-testid='error-overlay']) .p-toast-top-right { margin-top: 150px }";

/** @type {any[]} */
let errors = [];
/** @type {Map<string, any>} */
const warnings = new Map();

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

/** Shows a warning for a while; the same one again takes its own place. */
function showWarning(/** @type {any} */ { node: id, text: detail }) {
  const node = nodeAt(id);
  mark(node, true);
  const key = `${id} ${detail}`;
  if (warnings.has(key)) app.extensionManager.toast.remove(warnings.get(key));
  const severity = /** @type {const} */ ("warn");
  const toast = { severity, summary: node?.title ?? "Imprint", detail, life: WARNING_LIFE };
  warnings.set(key, toast);
  app.extensionManager.toast.add(toast);
}

/** @type {WeakSet<any>} */
const warned = new WeakSet();

/** Gives a node its badge, empty at first: Nodes 2.0 does not see a later one. */
function addBadge(/** @type {any} */ node) {
  node.badges.push(() => {
    // Nodes 2.0 draws a badge anew when what it read has changed: here the list of widgets.
    const warns = node.widgets?.length >= 0 && warned.has(node);
    return new /** @type {any} */ (globalThis).LGraphBadge(warns ? BADGE : { text: "" });
  });
}

/** Shows the badge of a node, or hides it. */
function mark(/** @type {any} */ node, /** @type {boolean} */ warns) {
  if (!node || warned.has(node) === warns) return;
  warned[warns ? "add" : "delete"](node);
  node.widgets?.push({ name: "", type: "hidden", options: {} });
  node.widgets?.pop();
  node.setDirtyCanvas(true, true);
}

app.registerExtension({
  name: "Imprint.Messages",
  nodeCreated(/** @type {any} */ node) {
    if (isOurs(node.comfyClass) || node.comfyClass === DEMO_WARNS) addBadge(node);
  },
  setup() {
    document.head.append(Object.assign(document.createElement("style"), { textContent: BESIDE_HOST }));
    api.addEventListener("execution_start", removeErrors);
    api.addEventListener("execution_error", (/** @type {any} */ { detail }) => showError(detail));
    api.addEventListener("executing", (/** @type {any} */ { detail }) => detail && mark(nodeAt(detail), false));
    api.addEventListener("imprint.warning", (/** @type {any} */ { detail }) => showWarning(detail));
    api.addEventListener("executed", (/** @type {any} */ { detail }) => {
      const said = detail.output?.imprint_warnings;
      if (said) mark(nodeAt(detail.node), said.length > 0);
    });
  },
});
