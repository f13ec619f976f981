"use strict";
// A line chart as SVG: axes with round numbers, a series a codec, and the nearest point named under the pointer.

const Chart = (() => {
  const MARGIN = { left: 62, right: 18, top: 16, bottom: 46 };

  function node(name, attributes, parent) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    parent.append(element);
    return element;
  }

  // Round numbers from low to high: of the form 1, 2, 5 times a power of ten, or multiples of one such step.
  function ticks(low, high, log, most) {
    if (log) {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
        for (const digit of [1, 2, 3, 5]) {
          const value = digit * 10 ** power;
          if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
        }
      return found.length <= most + 2 ? found : found.filter(value => /^[1e.0+-]*$/.test(value.toExponential(0)));
    }
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(digit => digit * power).find(value => value >= rough);
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
    return found;
  }

  function text(value) {
    return Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 6, useGrouping: value >= 1e4 });
  }

  // An axis: its range with a margin, and the place of a value between the pixels `from` and `to`.
  function axis(values, log, from, to) {
    const scale = log ? Math.log : value => value, inverse = log ? Math.exp : value => value;
    let low = Math.min(...values.map(scale)), high = Math.max(...values.map(scale));
    const margin = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
    low -= margin;
    high += margin;
    return { low: inverse(low), high: inverse(high), at: value => from + (scale(value) - low) / (high - low) * (to - from) };
  }

  const SHAPES = {  // around 0, 0, by matplotlib's names
    o: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z", s: "M-3.6-3.6h7.2v7.2h-7.2z", D: "M0-5L5,0L0,5L-5,0z", "^": "M0-5L4.6,3.6H-4.6z",
    v: "M0,5L4.6-3.6H-4.6z", P: "M-1.6-4.5h3.2v2.9h2.9v3.2h-2.9v2.9h-3.2v-2.9h-2.9v-3.2h2.9z",
    X: "M-4-2L-2-4L0-2L2-4L4-2L2,0L4,2L2,4L0,2L-2,4L-4,2L-2,0z", p: "M0-5L4.8-1.5L2.9,4H-2.9L-4.8-1.5z",
    "*": "M0-6L1.5-2L5.7-1.9L2.4.8L3.5,4.9L0,2.5L-3.5,4.9L-2.4.8L-5.7-1.9L-1.5-2z", h: "M0-5L4.3-2.5V2.5L0,5L-4.3,2.5V-2.5z",
  };
  const DASHES = { solid: "", dashed: "7 4", dotted: "2 3", dashdot: "8 3 2 3" };

  // series: [{name, colour, marker, dashes, thin, points: [[x, y], ...]}]; x, y: {title, log}
  function draw(container, series, x, y) {
    container.replaceChildren();
    const shown = series.filter(item => item.points.length);
    if (!shown.length) {
      const empty = document.createElement("p");
      empty.className = "note";
      empty.style.padding = "40px";
      empty.textContent = "There is nothing to show here.";
      container.append(empty);
      return;
    }
    const width = Math.max(container.clientWidth, 320), height = Math.round(Math.min(560, Math.max(320, width * 0.5)));
    const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${y.title} against ${x.title}` }, container);
    const points = shown.flatMap(item => item.points);
    const across = axis(points.map(point => point[0]), x.log, MARGIN.left, width - MARGIN.right);
    const up = axis(points.map(point => point[1]), y.log, height - MARGIN.bottom, MARGIN.top);
    for (const value of ticks(across.low, across.high, x.log, width / 110)) {
      const at = across.at(value);
      node("line", { class: "grid", x1: at, x2: at, y1: MARGIN.top, y2: height - MARGIN.bottom }, svg);
      node("text", { x: at, y: height - MARGIN.bottom + 18, "text-anchor": "middle" }, svg).textContent = text(value);
    }
    for (const value of ticks(up.low, up.high, y.log, height / 60)) {
      const at = up.at(value);
      node("line", { class: "grid", y1: at, y2: at, x1: MARGIN.left, x2: width - MARGIN.right }, svg);
      node("text", { x: MARGIN.left - 8, y: at + 4, "text-anchor": "end" }, svg).textContent = text(value);
    }
    node("text", { class: "title", x: (MARGIN.left + width - MARGIN.right) / 2, y: height - 8, "text-anchor": "middle" }, svg).textContent = x.title;
    node("text", { class: "title", "text-anchor": "middle", transform: `translate(14 ${(height - MARGIN.bottom) / 2}) rotate(-90)` }, svg).textContent = y.title;
    const places = [];
    for (const item of [...shown].sort((one, other) => (other.thin || 0) - (one.thin || 0))) {
      const path = item.points.map((point, k) => `${k ? "L" : "M"}${across.at(point[0]).toFixed(1)},${up.at(point[1]).toFixed(1)}`).join("");
      node("path", {
        d: path, fill: "none", stroke: item.colour, "stroke-width": item.thin ? 1 : 2.2,
        "stroke-dasharray": item.thin ? "4 4" : DASHES[item.dashes],
      }, svg);
      for (const point of item.points) {
        const at = [across.at(point[0]), up.at(point[1])];
        if (!item.thin) node("path", { d: SHAPES[item.marker], fill: item.colour, transform: `translate(${at[0].toFixed(1)} ${at[1].toFixed(1)})` }, svg);
        places.push({ at, item, point });
      }
    }
    hover(container, svg, places, width);
  }

  function hover(container, svg, places, width) {
    const tip = document.createElement("div");
    tip.id = "tip";
    tip.hidden = true;
    container.append(tip);
    svg.addEventListener("pointermove", event => {
      const box = svg.getBoundingClientRect(), scale = width / box.width;
      const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      const distance = place => Math.hypot(place.at[0] - x, place.at[1] - y);
      const nearest = places.reduce((best, place) => distance(place) < distance(best) ? place : best);
      tip.hidden = distance(nearest) > 40;
      tip.textContent = `${nearest.item.name}: ${text(nearest.point[1])} at ${text(nearest.point[0])}`;
      const left = nearest.at[0] / scale, overflow = left + tip.offsetWidth + 16 > box.width;
      tip.style.left = `${overflow ? left - tip.offsetWidth - 12 : left + 12}px`;
      tip.style.top = `${Math.max(0, nearest.at[1] / scale - 34)}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
  }

  return { draw, text, ticks };
})();
