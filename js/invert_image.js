// @ts-check
// "Invert this image" in the menu of Load Image: adds and wires all that an edit of it needs.

import { app } from "../../scripts/app.js";

const GAP = 60; // px between nodes; those of Nodes 2.0 are measured after they are drawn
const WIDTH = 320;
const PREVIEW = 380; // px: what the picture grows it to

/** The columns from left to right, each from top to bottom. */
const COLUMNS = [
  { loader: "CheckpointLoaderSimple", encode: "VAEEncode" },
  { shows: "CLIPTextEncode", becomes: "CLIPTextEncode", negative: "CLIPTextEncode" },
  { invert: "ImprintEFDDPMInvert" },
  { sample: "ImprintInvertedSampler", decode: "VAEDecode" },
  { preview: "PreviewImage" },
];
const TITLES = { shows: "What it shows", becomes: "What it should show", negative: "What it should not show" };

/** From, output, to, input. */
const LINKS = [
  ["image", "IMAGE", "encode", "pixels"], ["loader", "VAE", "encode", "vae"],
  ["loader", "CLIP", "shows", "clip"], ["loader", "CLIP", "becomes", "clip"], ["loader", "CLIP", "negative", "clip"],
  ["loader", "MODEL", "invert", "model"], ["shows", "CONDITIONING", "invert", "positive"],
  ["negative", "CONDITIONING", "invert", "negative"], ["encode", "LATENT", "invert", "latent_image"],
  ["loader", "MODEL", "sample", "model"], ["becomes", "CONDITIONING", "sample", "positive"],
  ["negative", "CONDITIONING", "sample", "negative"], ["invert", "NOISE_MAPS", "sample", "noise_maps"],
  ["sample", "LATENT", "decode", "samples"], ["loader", "VAE", "decode", "vae"], ["decode", "IMAGE", "preview", "images"],
];

const outputOf = (/** @type {any} */ node, /** @type {string} */ type) =>
  node.outputs?.findIndex((/** @type {any} */ output) => output.type === type) ?? -1;

/** A node of the graph that gives a model with its CLIP and VAE, if there is one. */
const loaderIn = (/** @type {any} */ graph) =>
  graph.nodes.find((/** @type {any} */ node) => ["MODEL", "CLIP", "VAE"].every((type) => outputOf(node, type) >= 0));

/** Adds all nodes and links beside the image. */
function invertImage(/** @type {any} */ image) {
  const { graph } = image;
  graph.beforeChange();
  const others = [...graph.nodes];
  /** @type {Record<string, any>} */
  const nodes = { image, loader: loaderIn(graph) };
  const columns = COLUMNS.map((column) =>
    Object.entries(column).flatMap(([name, type]) => {
      if (nodes[name]) return [];
      const node = /** @type {any} */ (LiteGraph.createNode(type));
      node.title = /** @type {any} */ (TITLES)[name] ?? node.title;
      graph.add(node);
      node.setSize([Math.max(node.size[0], WIDTH), name === "preview" ? PREVIEW : node.size[1]]);
      nodes[name] = node;
      return [node];
    }),
  );
  for (const [from, type, to, input] of LINKS) nodes[from].connect(outputOf(nodes[from], type), nodes[to], nodes[to].findInputSlot(input));
  place(columns, image, others);
  graph.afterChange();
  // In Nodes 2.0 the sizes are known once the nodes are drawn.
  setTimeout(() => place(columns, image, others), 300);
}

/** Puts the columns to the right of the image, or below everything where there is no room. */
function place(/** @type {any[][]} */ columns, /** @type {any} */ image, /** @type {any[]} */ others) {
  const left = image.pos[0] + image.size[0] + GAP;
  const bottoms = others.map((node) => node.pos[1] + node.size[1]);
  stack(columns, left, image.pos[1]);
  if (columns.flat().some((node) => others.some((other) => overlap(node, other)))) {
    stack(columns, image.pos[0], Math.max(...bottoms) + 2 * GAP);
  }
  app.canvas.setDirty(true, true);
}

function stack(/** @type {any[][]} */ columns, /** @type {number} */ x, /** @type {number} */ top) {
  for (const column of columns) {
    let y = top;
    for (const node of column) {
      node.pos = [x, y];
      y += node.size[1] + GAP + 20; // the title, and badges above it
    }
    x += Math.max(...column.map((node) => node.size[0])) + GAP;
  }
}

function overlap(/** @type {any} */ one, /** @type {any} */ other) {
  const apart = [0, 1].some((side) => one.pos[side] > other.pos[side] + other.size[side] + 30 || other.pos[side] > one.pos[side] + one.size[side] + 30);
  return !apart;
}

app.registerExtension({
  name: "Imprint.InvertImage",
  getNodeMenuItems(/** @type {any} */ node) {
    if (node.comfyClass !== "LoadImage") return [];
    return [{ content: "Invert this image", callback: () => invertImage(node) }];
  },
});
