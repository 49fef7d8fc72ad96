// @ts-check
// Finds nodes by the ids that the server uses.

import { app } from "../../scripts/app.js";

/** What the ids of this pack's nodes begin with. */
const OURS = "Imprint";

/** Whether a node's type belongs to this pack. */
export const isOurs = (/** @type {string | undefined} */ type) => !!type?.startsWith(OURS);

/**
 * The node that the server calls so, also inside of subgraphs ("12:5"), or nothing.
 * @param {string | number} path
 * @returns {any}
 */
export function nodeAt(path) {
  let graph = /** @type {any} */ (app).rootGraph;
  let node;
  for (const id of String(path).split(":")) {
    node = graph?.getNodeById(Number(id));
    graph = node?.subgraph;
  }
  return node;
}
