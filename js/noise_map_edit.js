// @ts-check
// A picture to drag for the shift of Noise Map Edit. Without it, x and y are typed.

import { addPanel, addStyle, inside, registerPanels, url } from "./panel.js";

const HEIGHT = 230;
const SIDE = 256;
/** What a picture is taken for until a run has shown it: width, height and latent cell in pixels. */
const UNKNOWN = [512, 512, 8];

/** What the node sends.
 * @typedef {{file: import("./panel.js").StoredFile, size: [number, number], cell: number}} Picture */

addStyle(`
.imprint-shift { display: flex; flex-direction: column; gap: 4px; overflow: hidden; box-sizing: border-box; padding: 4px;
  color: var(--descrip-text); font: 12px/1.4 sans-serif; outline-offset: -2px; border-radius: 6px; user-select: none; }
.imprint-shift:focus-visible { outline: 2px solid var(--input-text); }
.imprint-shift canvas { flex: 1; min-height: 0; width: 100%; object-fit: contain; cursor: move; touch-action: none; }
.imprint-shift .words { text-align: center; color: var(--input-text); font-variant-numeric: tabular-nums; }
`);

class ShiftPad {
  /** @type {HTMLImageElement | undefined} */
  picture;
  /** @type {any} */
  widget;
  hooked = new WeakSet();

  constructor(/** @type {any} */ node) {
    this.node = node;
    this.root = document.createElement("div");
    this.root.className = "imprint-shift";
    this.root.tabIndex = 0;
    this.root.title = "Drag to shift the picture, or use the arrow keys.";
    this.canvas = inside(this.root, "canvas");
    this.words = inside(this.root, "div", "words");
    this.listenToPointer();
    this.root.addEventListener("keydown", (event) => {
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const way = ways[/** @type {keyof typeof ways} */ (event.key)];
      if (!way) return;
      event.preventDefault();
      event.stopPropagation();
      this.move(this.value("x") + way[0] * this.cell, this.value("y") + way[1] * this.cell);
    });
    const { onConfigure } = node;
    node.onConfigure = (/** @type {any[]} */ ...args) => {
      onConfigure?.apply(node, args);
      this.follow();
    };
    this.hook("operation", () => this.follow());
    this.follow();
  }

  listenToPointer() {
    /** @type {{left: number, top: number, x: number, y: number} | undefined} */
    let start;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.root.focus({ preventScroll: true });
      start = { left: event.clientX, top: event.clientY, x: this.value("x"), y: this.value("y") };
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!start || !this.canvas.hasPointerCapture(event.pointerId)) return;
      const { width, height } = this.canvas.getBoundingClientRect();
      const pixels = Math.max(this.size[0] / width, this.size[1] / height); // as object-fit: contain does
      this.move(start.x + (event.clientX - start.left) * pixels, start.y + (event.clientY - start.top) * pixels);
    });
  }

  get size() {
    return (this.node.properties.imprint_picture ?? UNKNOWN).slice(0, 2);
  }

  get cell() {
    return (this.node.properties.imprint_picture ?? UNKNOWN)[2];
  }

  find(/** @type {string} */ name) {
    return this.node.widgets.find((/** @type {any} */ widget) => widget.name === name);
  }

  value(/** @type {string} */ name) {
    return this.find(`operation.${name}`)?.value;
  }

  /** Calls `act` after each change of a widget by the user. */
  hook(/** @type {string} */ name, /** @type {() => void} */ act) {
    const widget = this.find(name);
    if (!widget || this.hooked.has(widget)) return;
    this.hooked.add(widget);
    const { callback } = widget;
    widget.callback = function (/** @type {any[]} */ ...args) {
      const answer = callback?.apply(this, args);
      act();
      return answer;
    };
  }

  /** Is there while the operation is shift, and gone with it. */
  follow() {
    const wanted = this.find("operation")?.value === "shift";
    if (wanted && !this.widget) {
      this.widget = addPanel(this.node, this.root, HEIGHT);
      this.node.setSize([this.node.size[0], Math.max(this.node.size[1], this.node.computeSize()[1])]);
    } else if (!wanted && this.widget) {
      this.widget.onRemove?.();
      this.node.widgets.splice(this.node.widgets.indexOf(this.widget), 1);
      this.widget = undefined;
      this.node.setSize([this.node.size[0], this.node.computeSize()[1]]);
    }
    for (const name of ["x", "y", "fill"]) this.hook(`operation.${name}`, () => this.draw());
    if (wanted) this.draw();
  }

  /** Sets the shift to whole latent cells near these pixels, so that some of the picture stays. */
  move(/** @type {number} */ x, /** @type {number} */ y) {
    [x, y].forEach((pixels, i) => {
      const most = Math.max(Math.ceil(this.size[i] / this.cell) - 1, 0);
      const cells = Math.min(Math.max(Math.round(pixels / this.cell), -most), most);
      const widget = this.find(`operation.${"xy"[i]}`);
      widget.value = cells * this.cell;
      widget.callback?.(widget.value);
    });
    this.node.setDirtyCanvas(true, true);
  }

  /** Shows the picture of a run. */
  receive(/** @type {Picture[]} */ [{ file, size, cell }]) {
    this.node.properties.imprint_picture = [...size, cell];
    const picture = new Image();
    picture.onload = () => {
      this.picture = picture;
      this.draw();
    };
    picture.src = url(file);
  }

  draw() {
    const [x, y] = [this.value("x"), this.value("y")];
    const scale = SIDE / Math.max(...this.size);
    const [width, height] = this.size.map((/** @type {number} */ side) => side * scale);
    Object.assign(this.canvas, { width, height });
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    drawGrid(context, width, height);
    const fill = this.value("fill");
    const around = fill === "resample" || !this.picture ? [0] : [-1, 0, 1];
    for (const column of around) {
      for (const row of around) {
        context.save();
        context.translate(x * scale + column * width, y * scale + row * height);
        if (fill === "reflect") mirror(context, width * Math.abs(column), height * Math.abs(row));
        this.drawPicture(context, width, height);
        context.restore();
      }
    }
    this.words.textContent = `${arrow("→", "←", x)} ${arrow("↓", "↑", y)} pixels`;
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height */
  drawPicture(context, width, height) {
    if (this.picture) {
      context.imageSmoothingEnabled = this.picture.naturalWidth > 48;
      context.drawImage(this.picture, 0, 0, width, height);
    } else {
      context.fillStyle = "#4c9be855";
      context.fillRect(0, 0, width, height);
      context.strokeStyle = "#4c9be8";
      context.strokeRect(0, 0, width, height);
    }
  }
}

const arrow = (/** @type {string} */ ahead, /** @type {string} */ back, /** @type {number} */ value) =>
  `${value < 0 ? back : ahead} ${Math.abs(value)}`;

/** Mirrors what is drawn next along each side that is not 0. */
function mirror(/** @type {CanvasRenderingContext2D} */ context, /** @type {number} */ width, /** @type {number} */ height) {
  context.translate(width, height);
  context.scale(width ? -1 : 1, height ? -1 : 1);
}

function drawGrid(/** @type {CanvasRenderingContext2D} */ context, /** @type {number} */ width, /** @type {number} */ height) {
  context.strokeStyle = "#8888";
  context.beginPath();
  for (let place = 0; place <= SIDE; place += SIDE / 8) {
    context.moveTo(place, 0);
    context.lineTo(place, height);
    context.moveTo(0, place);
    context.lineTo(width, place);
  }
  context.stroke();
}

registerPanels("Imprint.NoiseMapEdit", "ImprintNoiseMapEdit", "imprint_picture", (node) => {
  const pad = new ShiftPad(node);
  return (pictures) => pad.receive(pictures);
});
