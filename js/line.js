// @ts-check
// The place under a node for what it says while it runs and afterwards, with the live preview beside
// it. Its height is reserved, so that a node that speaks does not grow over its neighbours.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { isOurs, nodeAt } from "./nodes.js";

// The host puts progress text into the widget of this name, and adds a growing one where none is.
const NAME = "$$node-text-preview";
const HEIGHT = 52, MARGIN = 4; // px: three lines of text
const WIDE = 150; // px: from this height on the preview gets a row of its own

/** Whether nodes of this definition keep what they said; most output nodes have own displays. */
const speaks = (/** @type {any} */ definition) =>
  isOurs(definition?.name) &&
  (definition.output_node ? definition.name === "ImprintSaveNoiseMaps" : definition.has_intermediate_output);

const style = (/** @type {HTMLElement} */ element, /** @type {Partial<CSSStyleDeclaration>} */ values) =>
  Object.assign(element.style, values);

/** Adds the place to a node. */
function addLine(/** @type {any} */ node) {
  const root = document.createElement("div");
  const picture = document.createElement("img");
  const text = document.createElement("div");
  style(root, { display: "flex", gap: "6px", contain: "size", minHeight: `${HEIGHT}px` });
  style(picture, { display: "none", objectFit: "contain", imageRendering: "auto", minHeight: "0", maxWidth: "100%" });
  style(text, {
    flex: "1", overflowY: "auto", whiteSpace: "pre-line", overflowWrap: "anywhere",
    font: "11px/16px sans-serif", color: "var(--descrip-text, #999)", padding: "2px 6px",
  });
  root.append(picture, text);
  root.className = "imprint-line";
  const say = (/** @type {string} */ words) => {
    text.textContent = words;
    root.title = words;
  };
  const widget = node.addDOMWidget(NAME, "imprint_line", root, {
    serialize: false, hideOnZoom: false, margin: MARGIN,
    getMinHeight: () => HEIGHT + 2 * MARGIN,
    getValue: () => text.textContent ?? "",
    setValue: say,
  });
  widget.serialize = false;
  node.imprintPreview = (/** @type {Blob | undefined} */ blob) => {
    URL.revokeObjectURL(picture.src);
    if (blob) picture.src = URL.createObjectURL(blob);
    const stacked = root.clientHeight > WIDE;
    style(root, { flexDirection: stacked ? "column-reverse" : "row" });
    style(picture, { display: blob ? "block" : "none", height: stacked ? "auto" : "100%", flex: stacked ? "1" : "none" });
    style(text, { flex: stacked ? "none" : "1" });
  };
}

/** Whether the open workflow is shown as an app. */
function inApp() {
  const { activeMode, initialMode } = app.extensionManager.workflow.activeWorkflow ?? {};
  return (activeMode ?? initialMode) === "app";
}

// Before the host listens, so that a preview that has a place of its own here goes no further; an app
// has no nodes to show it in, and leaves it to the host.
api.addEventListener("b_preview_with_metadata", (/** @type {any} */ event) => {
  const node = nodeAt(event.detail.displayNodeId);
  if (!node?.imprintPreview || inApp()) return;
  event.stopImmediatePropagation();
  node.imprintPreview(event.detail.blob);
});

/** Shows these lines under a node, and no preview. */
function showLines(/** @type {any} */ node, /** @type {string[]} */ lines) {
  if (!node?.imprintPreview) return;
  node.imprintPreview();
  // Newer front ends take the widget away when a run fails.
  const line = node.widgets.find((/** @type {any} */ widget) => widget.name === NAME);
  if (line) line.value = lines.join("\n");
}

app.registerExtension({
  name: "Imprint.Line",
  nodeCreated(/** @type {any} */ node) {
    if (speaks(node.constructor.nodeData)) addLine(node);
  },
  setup() {
    const listen = (/** @type {any} */ kind, /** @type {(detail: any) => void} */ heard) =>
      api.addEventListener(kind, (/** @type {any} */ { detail }) => heard(detail));
    listen("executing", (id) => id && showLines(nodeAt(id), []));
    // Of a fresh run and of a cached one alike.
    listen("executed", ({ node, output }) => output?.imprint_said && showLines(nodeAt(node), output.imprint_said));
    listen("execution_error", ({ node_id }) => showLines(nodeAt(node_id), []));
    listen("execution_interrupted", ({ node_id }) => showLines(nodeAt(node_id), []));
  },
});
