// @ts-check
// Inspect Noise Maps as a viewer: x, denoised and z of one step, and curves over all steps. Without
// it, the node shows its picture of plots and strips.

import { addPanel, addStyle, inside, registerPanels, url } from "./panel.js";

const ROWS = /** @type {const} */ (["x", "denoised", "z"]);
const MEANINGS = {
  x: "the noisy latent before the step",
  denoised: "the picture that the model saw in it",
  z: "the noise map of the step",
};
const HEIGHT = 400;

/** What the node sends for each image of the batch; curves have null where a step has no value.
 * @typedef {{variance: (number | null)[], correlation?: (number | null)[], expected?: (number | null)[]}} Curves
 * @typedef {{steps: number[], sigmas: number[], columns: number, tile: [number, number],
 *   sheets: Record<"x" | "denoised" | "z", import("./panel.js").StoredFile>, curves: Curves}} Item */

// What changes with the step has a size of its own, so that a change lays out nothing around it.
addStyle(`
.imprint-viewer { display: flex; flex-direction: column; gap: 6px; overflow: hidden; box-sizing: border-box; padding: 4px;
  color: var(--input-text); font: 12px/1.4 sans-serif; outline-offset: -2px; border-radius: 6px; user-select: none; }
.imprint-viewer:focus-visible { outline: 2px solid var(--input-text); }
.imprint-viewer .pictures { display: flex; gap: 6px; flex: 1; min-height: 100px; }
.imprint-viewer figure { display: flex; flex-direction: column; flex: 1; margin: 0; min-width: 0; text-align: center; }
.imprint-viewer canvas { flex: 1; min-height: 0; width: 100%; object-fit: contain; image-rendering: pixelated; }
.imprint-viewer .controls { display: flex; gap: 8px; align-items: center; height: 24px; contain: strict; }
.imprint-viewer input { flex: 1; min-width: 60px; accent-color: #4c9be8; }
.imprint-viewer select { color: inherit; background: var(--comfy-input-bg); border: 1px solid var(--border-color); border-radius: 4px; }
.imprint-viewer output { min-width: 13em; text-align: right; font-variant-numeric: tabular-nums; }
.imprint-viewer .curves { display: flex; gap: 10px; }
.imprint-viewer .curve { flex: 1; min-width: 0; }
.imprint-viewer .words { display: flex; justify-content: space-between; gap: 6px; height: 18px; contain: strict;
  white-space: nowrap; font-variant-numeric: tabular-nums; }
.imprint-viewer .plot { position: relative; height: 84px; background: var(--comfy-input-bg); border: 1px solid var(--border-color);
  border-radius: 4px; overflow: hidden; cursor: ew-resize; touch-action: none; }
.imprint-viewer svg { width: 100%; height: 100%; display: block; }
.imprint-viewer path { fill: none; stroke: #4c9be8; stroke-width: 2; vector-effect: non-scaling-stroke; }
.imprint-viewer .expected { stroke: #d9772b; stroke-dasharray: 2 3; }
.imprint-viewer .white { stroke: currentColor; opacity: 0.5; stroke-dasharray: 6 4; stroke-width: 1; }
.imprint-viewer .cursor { position: absolute; inset: 0; border-left: 1.5px solid var(--input-text); will-change: transform; }
.imprint-viewer .note { color: var(--descrip-text); }
.imprint-viewer [hidden], .imprint-viewer .note:empty { display: none; }
`);

const words = (/** @type {number | null | undefined} */ value) => (value == null ? "–" : value.toPrecision(3));

/** A plot of curves over the steps, with a cursor; `pick` is called with a place in 0..1. */
class Plot {
  /** @param {Element} parent @param {string} title @param {(place: number) => void} pick */
  constructor(parent, title, pick) {
    this.root = inside(parent, "div", "curve");
    const line = inside(this.root, "div", "words");
    inside(line, "span").textContent = title;
    this.value = inside(line, "span", "note");
    const plot = inside(this.root, "div", "plot");
    this.curves = inside(plot, "div");
    this.curves.style.height = "100%";
    this.cursor = inside(plot, "div", "cursor");
    const move = (/** @type {PointerEvent} */ event) => {
      const { left, width } = plot.getBoundingClientRect();
      pick((event.clientX - left) / width);
    };
    plot.addEventListener("pointerdown", (event) => {
      plot.setPointerCapture(event.pointerId);
      move(event);
    });
    plot.addEventListener("pointermove", (event) => plot.hasPointerCapture(event.pointerId) && move(event));
  }

  /** @param {Record<string, (number | null)[]>} curves by their class @param {number} white the value of white noise
   * @param {[number, number] | undefined} range of the values; without one, theirs on a logarithmic scale */
  draw(curves, white, range) {
    const scale = (/** @type {number} */ value) => (range ? value : Math.log10(Math.max(value, 1e-12)));
    const values = [white, ...Object.values(curves).flat().filter((value) => value != null)].map(scale);
    const [low, high] = range ?? [Math.min(...values), Math.max(...values)];
    const height = (/** @type {number} */ value) => 95 - (90 * (scale(value) - low)) / (high - low || 1);
    const paths = Object.entries(curves).map(([name, curve]) => {
      const points = curve.map((value, i) => {
        const move = i === 0 || curve[i - 1] == null ? "M" : "L";
        return value == null ? "" : `${move}${(100 * (i + 0.5)) / curve.length} ${height(value)}`;
      });
      return `<path class="${name}" d="${points.join("")}"/>`;
    });
    paths.unshift(`<path class="white" d="M0 ${height(white)}H100"/>`);
    this.curves.innerHTML = `<svg viewBox="0 0 100 100" preserveAspectRatio="none">${paths.join("")}</svg>`;
  }
}

class Viewer {
  /** @type {Item[]} */
  items = [];
  /** @type {Record<string, HTMLImageElement>} sheets of the shown image, once they were asked for */
  sheets = {};
  index = 0;
  visible = false;

  constructor(/** @type {any} */ node) {
    this.node = node;
    this.root = document.createElement("div");
    this.root.className = "imprint-viewer";
    this.root.tabIndex = 0;
    const pictures = inside(this.root, "div", "pictures");
    this.canvases = ROWS.map((name) => {
      const figure = inside(pictures, "figure");
      const canvas = inside(figure, "canvas");
      canvas.title = MEANINGS[name];
      inside(figure, "figcaption").textContent = name;
      return canvas;
    });
    const controls = inside(this.root, "div", "controls");
    this.chooser = inside(controls, "select");
    this.slider = inside(controls, "input");
    this.slider.type = "range";
    this.slider.min = "0";
    this.slider.ariaLabel = "step";
    this.label = inside(controls, "output");
    const curves = inside(this.root, "div", "curves");
    const pick = (/** @type {number} */ place) => this.move(Math.floor(place * this.count));
    this.variance = new Plot(curves, "variance", pick);
    this.correlation = new Plot(curves, "correlation with the next map", pick);
    this.note = inside(this.root, "div", "note");
    this.listen();
    new IntersectionObserver((entries) => {
      this.visible = entries[entries.length - 1].isIntersecting; // the newest
      this.load();
    }).observe(this.root);
    this.receive([]);
  }

  listen() {
    this.slider.addEventListener("input", () => this.move(Number(this.slider.value)));
    this.chooser.addEventListener("change", () => {
      this.node.properties.imprint_image = Number(this.chooser.value);
      this.open();
    });
    this.root.addEventListener("pointerdown", (event) => {
      if (event.target === this.slider || event.target === this.chooser) return;
      this.root.focus({ preventScroll: true });
    });
    this.root.addEventListener("keydown", (event) => {
      const places = { ArrowLeft: this.index - 1, ArrowRight: this.index + 1, Home: 0, End: this.count - 1 };
      const place = places[/** @type {keyof typeof places} */ (event.key)];
      if (place === undefined || event.target === this.chooser) return;
      event.preventDefault();
      event.stopPropagation();
      this.move(place);
    });
  }

  get item() {
    return this.items[this.node.properties.imprint_image] ?? this.items[0];
  }

  get count() {
    return this.item?.steps.length ?? 0;
  }

  /** Shows what a run sent. */
  receive(/** @type {Item[]} */ items) {
    this.items = items;
    const options = items.map((_, i) => new Option(`image ${i + 1} of ${items.length}`, String(i)));
    this.chooser.replaceChildren(...options);
    this.chooser.hidden = items.length < 2;
    for (const part of [this.slider, this.label, this.variance.root]) part.hidden = !items.length;
    this.open();
  }

  /** Shows the chosen image at the chosen step. */
  open() {
    const { item } = this;
    this.sheets = {};
    this.correlation.root.hidden = !item?.curves.correlation;
    this.note.textContent = item ? "" : "Run the workflow to look at the steps.";
    if (!item) return;
    if (!item.curves.correlation) this.note.textContent = "These steps add no noise: their maps are residuals.";
    this.chooser.value = String(this.items.indexOf(item));
    this.slider.max = String(this.count - 1);
    const { variance, expected, correlation } = item.curves;
    this.variance.draw({ variance, ...(expected && { expected }) }, 1, undefined);
    if (correlation) this.correlation.draw({ correlation }, 0, [-1, 1]);
    for (const canvas of this.canvases) [canvas.width, canvas.height] = item.tile;
    const wanted = this.node.properties.imprint_step ?? item.steps[this.count >> 1];
    this.show(item.steps.reduce((best, step, i) => (Math.abs(step - wanted) < Math.abs(item.steps[best] - wanted) ? i : best), 0));
    this.load();
  }

  /** Asks for the pictures, once the node is on the screen. */
  load() {
    const { item } = this;
    if (!this.visible || !item || Object.keys(this.sheets).length) return;
    for (const name of ROWS) {
      const sheet = new Image();
      sheet.onload = () => this.sheets[name] === sheet && this.draw();
      sheet.onerror = () => (this.note.textContent = "The pictures of this run are gone. Run the workflow again.");
      sheet.src = url(item.sheets[name]);
      this.sheets[name] = sheet;
    }
  }

  /** Goes to a place in the list of steps, which the workflow then keeps. */
  move(/** @type {number} */ index) {
    if (!this.count) return;
    this.show(Math.min(Math.max(index, 0), this.count - 1));
    this.node.properties.imprint_step = this.item.steps[this.index];
  }

  show(/** @type {number} */ index) {
    const { steps, sigmas, curves } = this.item;
    this.index = index;
    this.slider.value = String(index);
    this.label.textContent = `step ${steps[index]} of ${steps[this.count - 1]}, σ ${words(sigmas[index])}`;
    const expected = curves.expected ? `, expected ${words(curves.expected[index])}` : "";
    this.variance.value.textContent = `${words(curves.variance[index])}${expected}`;
    this.correlation.value.textContent = words(curves.correlation?.[index]);
    const place = `translateX(${(100 * (index + 0.5)) / this.count}%)`;
    for (const plot of [this.variance, this.correlation]) plot.cursor.style.transform = place;
    this.draw();
  }

  draw() {
    const { columns, tile } = this.item;
    const [width, height] = tile;
    const left = (this.index % columns) * width;
    const top = Math.floor(this.index / columns) * height;
    ROWS.forEach((name, i) => {
      const sheet = this.sheets[name];
      if (!sheet?.complete || !sheet.naturalWidth) return;
      this.canvases[i].getContext("2d")?.drawImage(sheet, left, top, width, height, 0, 0, width, height);
    });
  }
}

registerPanels("Imprint.NoiseMapViewer", "ImprintInspectNoiseMaps", "imprint_steps", (node) => {
  const viewer = new Viewer(node);
  addPanel(node, viewer.root, HEIGHT);
  // The viewer takes the place of the picture that the host shows: in Nodes 2.0, and on the canvas.
  node.hideOutputImages = true;
  node.onDrawBackground = () => {};
  node.setSize([Math.max(node.size[0], 600), node.computeSize()[1]]);
  return (items) => viewer.receive(items);
});
