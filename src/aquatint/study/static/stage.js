// Three pictures on a grid of device pixels: one pixel of a picture is one pixel of the screen, never resampled.
//
// A canvas shows the part of its picture that there is room for, so there is nothing to scale or clip. A browser keeps its
// promise only where both edges of the canvas lie on device pixels and on its own grid for layout, which has 64 steps a
// CSS pixel: sizes and positions are therefore multiples of the least number of CSS pixels that is a whole number of device
// pixels (3 CSS pixels at a ratio of 4/3), and what a canvas has beyond its picture is grey.

export const SIDES = ["left", "reference", "right"];
const CAPTION = 30; // CSS pixels above a picture
const GAP = 16; // between pictures and around them
const ENOUGH = 0.75; // of a picture's width that must be seen; with less room for it, pictures share a place and flip
const COLUMNS = { "side-by-side": 3, flip: 2, "flip-with-reference": 1 };
const PLACES = {
  "side-by-side": { left: 0, reference: 1, right: 2 },
  flip: { left: 1, reference: 0, right: 1 },
  "flip-with-reference": { left: 0, reference: 0, right: 0 },
};

function wholePixels(ratio) {
  for (let unit = 1; unit <= 20; unit += 1) if (Math.abs(unit * ratio - Math.round(unit * ratio)) < 1e-3) return unit;
  return 1;
}

export class Stage {
  constructor(element, layout) {
    this.element = element;
    this.wanted = layout;
    this.layout = layout;
    this.panes = Object.fromEntries(SIDES.map((side) => [side, element.querySelector(`[data-side=${side}]`)]));
    this.images = null;
    this.view = "left";
    this.seen = new Set();
    this.flips = 0;
    this.offset = { x: 0, y: 0 }; // of the window on the pictures, in their pixels
    this.onchange = () => {};
    new ResizeObserver(() => this.arrange()).observe(element);
    this.watchPixelRatio();
    this.addPointer();
  }

  // Takes three images of one size, already decoded, and shows them.
  show(images) {
    this.images = images;
    this.flips = 0;
    this.seen = new Set();
    this.view = "left";
    this.offset = null;
    this.arrange();
  }

  clear() {
    this.images = null;
    for (const pane of Object.values(this.panes)) pane.classList.remove("shown");
  }

  // Pictures in one place, so that one covers another.
  get stacked() {
    return this.layout !== "side-by-side";
  }

  turnTo(view) {
    if (!this.images || !this.stacked || view === this.view) return;
    if (view === "reference" && this.layout === "flip") return; // it is beside
    this.view = view;
    this.flips += 1;
    this.reveal();
  }

  flip() {
    const other = { left: "right", right: "left", reference: this.lastCopy ?? "left" };
    this.turnTo(other[this.view]);
  }

  pan(dx, dy) {
    if (!this.images) return;
    this.offset = { x: this.offset.x + dx, y: this.offset.y + dy };
    this.draw();
  }

  arrange() {
    if (!this.images) return;
    const ratio = window.devicePixelRatio;
    const unit = wholePixels(ratio);
    const down = (length) => Math.floor(length / unit) * unit;
    const up = (length) => Math.ceil(length / unit) * unit;
    const box = this.element.getBoundingClientRect();
    const { naturalWidth, naturalHeight } = this.images.left;
    const [width, height] = [naturalWidth / ratio, naturalHeight / ratio];
    const columnWidth = (count) => (box.width - (count > 1 ? GAP * (count + 1) : 0)) / count;
    const layouts = Object.keys(COLUMNS).filter((one) => COLUMNS[one] <= COLUMNS[this.wanted]);
    this.layout = layouts.find((one) => columnWidth(COLUMNS[one]) >= ENOUGH * width) ?? "flip-with-reference";
    const columns = COLUMNS[this.layout];
    const paneWidth = Math.max(unit, Math.min(up(width), down(columnWidth(columns))));
    const paneHeight = Math.max(unit, Math.min(up(height), down(box.height - CAPTION - GAP / 2)));
    const pitch = up(paneWidth + GAP);
    const x = box.left + (box.width - (columns - 1) * pitch - paneWidth) / 2;
    const y = box.top + CAPTION + (box.height - CAPTION - GAP / 2 - paneHeight) / 2;
    for (const side of SIDES) {
      const pane = this.panes[side];
      const canvas = pane.querySelector("canvas");
      pane.style.left = `${down(Math.max(x, box.left)) + PLACES[this.layout][side] * pitch - box.left}px`;
      pane.style.top = `${up(y) - box.top}px`;
      canvas.style.width = `${paneWidth}px`;
      canvas.style.height = `${paneHeight}px`;
      canvas.width = Math.round(paneWidth * ratio);
      canvas.height = Math.round(paneHeight * ratio);
    }
    this.most = {
      x: Math.max(0, naturalWidth - Math.round(paneWidth * ratio)),
      y: Math.max(0, naturalHeight - Math.round(paneHeight * ratio)),
    };
    this.offset ??= { x: this.most.x / 2, y: this.most.y / 2 };
    this.element.classList.toggle("movable", this.most.x > 0 || this.most.y > 0);
    this.element.dataset.shown = this.layout;
    this.draw();
    this.reveal();
  }

  draw() {
    const clamp = (value, most) => Math.max(0, Math.min(most, Math.round(value)));
    this.offset = { x: clamp(this.offset.x, this.most.x), y: clamp(this.offset.y, this.most.y) };
    for (const side of SIDES) {
      const canvas = this.panes[side].querySelector("canvas");
      const context = canvas.getContext("2d", { alpha: false });
      context.fillStyle = getComputedStyle(document.body).backgroundColor;
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(this.images[side], -this.offset.x, -this.offset.y);
    }
  }

  reveal() {
    const beside = this.layout === "flip" ? "reference" : null;
    if (this.layout === "flip" && this.view === "reference") this.view = this.lastCopy ?? "left";
    for (const side of SIDES) {
      const shown = !this.stacked || side === this.view || side === beside;
      this.panes[side].classList.toggle("shown", shown);
      this.panes[side].setAttribute("aria-hidden", String(!shown));
      if (shown) this.seen.add(side);
    }
    if (this.view !== "reference") this.lastCopy = this.view;
    this.onchange();
  }

  // Moving a window to another screen or zooming changes the size of a device pixel.
  watchPixelRatio() {
    const query = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    query.addEventListener("change", () => { this.arrange(); this.watchPixelRatio(); }, { once: true });
  }

  // A drag moves the pictures, a tap flips them.
  addPointer() {
    const stage = this.element;
    let start = null;
    stage.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button !== 0 || !this.images) return;
      start = { x: event.clientX, y: event.clientY, offset: this.offset, dragged: false };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => {
      if (!start || !event.isPrimary || !this.images) return;
      const dx = event.clientX - start.x;
      const dy = event.clientY - start.y;
      if (!start.dragged && Math.hypot(dx, dy) < 8) return;
      start.dragged = true;
      stage.classList.add("moving");
      const ratio = window.devicePixelRatio;
      this.offset = { x: start.offset.x - dx * ratio, y: start.offset.y - dy * ratio };
      this.draw();
    });
    const end = (event) => {
      if (!start || !event.isPrimary) return;
      if (!start.dragged && event.type === "pointerup") this.flip();
      start = null;
      stage.classList.remove("moving");
    };
    stage.addEventListener("pointerup", end);
    stage.addEventListener("pointercancel", end);
  }
}
