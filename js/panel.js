// @ts-check
// What the panels of nodes share: a DOM widget, and what the node sent when it ran.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

/** A file in a folder of the host, as `ui` outputs name it.
 * @typedef {{filename: string, subfolder: string, type: string}} StoredFile */

/** @returns {string} */
export function url(/** @type {StoredFile} */ { filename, subfolder, type }) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
}

/** An element with a class, inside of another one.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {Element} parent @param {K} tag @param {string} [name] @returns {HTMLElementTagNameMap[K]} */
export function inside(parent, tag, name = "") {
  const element = document.createElement(tag);
  element.className = name;
  parent.append(element);
  return element;
}

/** Puts an element on a node. Neither the workflow nor the prompt gets a value of it.
 * @param {any} node @param {HTMLElement} element @param {number} height the least, in pixels */
export function addPanel(node, element, height) {
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => height };
  const widget = node.addDOMWidget("imprint_panel", "imprint_panel", element, options);
  widget.serialize = false;
  return widget;
}

/** Styles of a panel, once for the page. */
export function addStyle(/** @type {string} */ text) {
  inside(document.head, "style").textContent = text;
}

/** The node of an output: "7", or "<subgraph>:7" inside of a subgraph. */
function find(/** @type {string} */ locator) {
  const parts = locator.split(":");
  const id = parts.pop();
  const graph = parts.length ? app.graph.rootGraph.subgraphs.get(parts[0]) : app.graph.rootGraph;
  return graph?.getNodeById(id);
}

/** Gives all nodes of a kind a panel. `build` returns a function that gets each output under `key`,
 * of cached runs too and again when a tab comes back.
 * @param {string} name @param {string} kind @param {string} key
 * @param {(node: any) => (data: any) => void} build */
export function registerPanels(name, kind, key, build) {
  /** @type {WeakMap<object, (data: any) => void>} */
  const panels = new WeakMap();
  const receive = (/** @type {any} */ node, /** @type {any} */ output) => {
    if (output?.[key]) panels.get(node)?.(output[key]);
  };
  app.registerExtension({
    name,
    nodeCreated(/** @type {any} */ node) {
      if (node.comfyClass !== kind) return;
      panels.set(node, build(node));
      const { onExecuted } = node;
      node.onExecuted = function (/** @type {any} */ output) {
        onExecuted?.call(this, output);
        receive(this, output);
      };
    },
    onNodeOutputsUpdated(/** @type {Record<string, any>} */ outputs) {
      for (const [locator, output] of Object.entries(outputs)) receive(find(locator), output);
    },
  });
}
