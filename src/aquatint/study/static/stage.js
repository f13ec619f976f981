// Three pictures on a grid of device pixels: one pixel of a picture is one pixel of the screen, never resampled.
//
// A canvas is as large as the part of its picture that is to be seen, so there is nothing to scale or clip. All positions
// are computed in device pixels and written in CSS pixels.

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
    const box = this.element.getBoundingClientRect();
    const { naturalWidth: width, naturalHeight: height } = this.images.left;
    // The stage from the first whole device pixel in it, with room for margins and captions.
    const left = Math.ceil(box.left * ratio);
    const top = Math.ceil((box.top + CAPTION) * ratio);
    const right = Math.floor(box.right * ratio);
    const bottom = Math.floor((box.bottom - GAP / 2) * ratio);
    const gap = Math.round(GAP * ratio);
    const columnWidth = (count) => Math.floor((right - left - (count > 1 ? gap * (count + 1) : 0)) / count);
    const layouts = Object.keys(COLUMNS).filter((one) => COLUMNS[one] <= COLUMNS[this.wanted]);
    this.layout = layouts.find((one) => columnWidth(COLUMNS[one]) >= ENOUGH * width) ?? "flip-with-reference";
    const cells = COLUMNS[this.layout];
    const places = PLACES[this.layout];
    this.shownWidth = Math.max(1, Math.min(width, columnWidth(cells)));
    this.shownHeight = Math.max(1, Math.min(height, bottom - top));
    const total = cells * this.shownWidth + (cells - 1) * gap;
    const x0 = left + Math.floor((right - left - total) / 2);
    const y0 = top + Math.floor((bottom - top - this.shownHeight) / 2);
    for (const side of SIDES) {
      const pane = this.panes[side];
      const canvas = pane.querySelector("canvas");
      pane.style.left = `${(x0 + places[side] * (this.shownWidth + gap)) / ratio - box.left}px`;
      pane.style.top = `${y0 / ratio - box.top}px`;
      canvas.width = this.shownWidth;
      canvas.height = this.shownHeight;
      canvas.style.width = `${this.shownWidth / ratio}px`;
      canvas.style.height = `${this.shownHeight / ratio}px`;
    }
    this.offset ??= { x: Math.floor((width - this.shownWidth) / 2), y: Math.floor((height - this.shownHeight) / 2) };
    this.element.classList.toggle("movable", this.shownWidth < width || this.shownHeight < height);
    this.element.dataset.shown = this.layout;
    this.draw();
    this.reveal();
  }

  draw() {
    const { naturalWidth, naturalHeight } = this.images.left;
    const clamp = (value, most) => Math.max(0, Math.min(most, Math.round(value)));
    this.offset = {
      x: clamp(this.offset.x, naturalWidth - this.shownWidth),
      y: clamp(this.offset.y, naturalHeight - this.shownHeight),
    };
    for (const side of SIDES) {
      const context = this.panes[side].querySelector("canvas").getContext("2d", { alpha: false });
      context.imageSmoothingEnabled = false;
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
