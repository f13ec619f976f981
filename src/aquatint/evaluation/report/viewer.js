"use strict";
// The viewer: two codecs and the original of one picture at one rate, in the same place and at the same zoom.

const Viewer = (() => {
  const ORIGINAL = "original", MOST = 8, LEAST = 0.05;
  const $ = id => document.getElementById(id);
  const stage = $("stage"), divider = $("divider");
  const layers = { a: $("layer-a"), b: $("layer-b"), original: $("layer-original") };
  const captions = { a: $("caption-a"), b: $("caption-b") };

  // What the address holds. zoom: device pixels a picture's pixel, 0 to fit; x, y: the picture's point in the middle of
  // the stage, from 0 to 1; split: place of the slider, from 0 to 1.
  const state = { picture: "", rate: 0, a: "", b: "", mode: "split", zoom: 0, x: 0.5, y: 0.5, split: 0.5, pixels: 1 };
  let held = false;  // the original is shown while a key is down
  let crop = -1;     // the crop shown last

  const picture = () => DATA.pictures.find(item => item.name === state.picture);
  const result = codec => DATA.results.find(
    item => item.codec === codec && item.rate === state.rate && item.picture === state.picture);

  // --- the address

  const SHORT = { picture: "p", rate: "r", a: "a", b: "b", mode: "m", zoom: "z", x: "x", y: "y", split: "s", pixels: "i" };

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    if (!given.has("p")) return;
    for (const [key, short] of Object.entries(SHORT)) {
      if (!given.has(short)) continue;
      const value = typeof state[key] === "number" ? Number(given.get(short)) : given.get(short);
      if (typeof value === "string" || Number.isFinite(value)) state[key] = value;
    }
    sanitise();
  }

  function sanitise() {
    const codecs = [ORIGINAL, ...DATA.codecs.map(codec => codec.name)];
    const usable = DATA.pictures.filter(item => item.file);
    if (!usable.some(item => item.name === state.picture)) state.picture = usable[0].name;
    if (!DATA.rates.includes(state.rate)) state.rate = DATA.rates[Math.floor((DATA.rates.length - 1) / 2)];
    if (!codecs.includes(state.a)) state.a = DATA.codecs[0].name;
    if (!codecs.includes(state.b)) state.b = DATA.codecs[1] ? DATA.codecs[1].name : ORIGINAL;
    if (!["a", "b", "split", "original"].includes(state.mode)) state.mode = "split";
    if (state.zoom) state.zoom = clamp(state.zoom, LEAST, MOST);
    for (const key of ["x", "y", "split"]) state[key] = clamp(state[key], 0, 1);
    state.pixels = state.pixels ? 1 : 0;
  }

  let pending = 0;
  function writeAddress() {
    clearTimeout(pending);
    pending = setTimeout(() => {
      const parts = Object.entries(SHORT).map(([key, short]) => {
        const value = typeof state[key] === "number" ? String(Number(state[key].toFixed(4))) : state[key];
        return `${short}=${encodeURIComponent(value)}`;
      });
      history.replaceState(null, "", `#${parts.join("&")}`);
    }, 150);
  }

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  // --- geometry: CSS pixels a picture's pixel

  function fitting() {
    const { width, height } = picture();
    return Math.min(stage.clientWidth / width, stage.clientHeight / height, MOST / devicePixelRatio);
  }

  const scale = () => state.zoom ? state.zoom / devicePixelRatio : fitting();

  function place() {
    const { width, height } = picture(), s = scale();
    const free = [stage.clientWidth - width * s, stage.clientHeight - height * s];
    // A side that fits is centred; of one that does not, no more than the picture is shown.
    const offset = [state.x * width, state.y * height].map((centre, k) => {
      const side = k ? stage.clientHeight : stage.clientWidth;
      return free[k] >= 0 ? free[k] / 2 : clamp(side / 2 - centre * s, free[k], 0);
    });
    state.x = (stage.clientWidth / 2 - offset[0]) / (width * s);
    state.y = (stage.clientHeight / 2 - offset[1]) / (height * s);
    for (const layer of Object.values(layers)) {
      const image = layer.querySelector("img");
      image.style.width = `${width}px`;
      image.style.height = `${height}px`;
      image.style.transform = `translate(${offset[0]}px, ${offset[1]}px) scale(${s})`;
      image.classList.toggle("pixelated", Boolean(state.pixels) && s * devicePixelRatio >= 1);
    }
    $("zoom").textContent = `${Math.round(s * devicePixelRatio * 100)} %`;
  }

  // Zooms and keeps the picture's point under a place of the stage where it is.
  function zoomTo(zoom, at = [stage.clientWidth / 2, stage.clientHeight / 2]) {
    const { width, height } = picture(), before = scale(), after = clamp(zoom, LEAST, MOST) / devicePixelRatio;
    const move = [at[0] - stage.clientWidth / 2, at[1] - stage.clientHeight / 2];
    state.x += move[0] * (1 / before - 1 / after) / width;
    state.y += move[1] * (1 / before - 1 / after) / height;
    state.zoom = after * devicePixelRatio;
    place();
    writeAddress();
  }

  // 25 %, 50 %, 100 %, 200 %, ...: the next one in a direction.
  function zoomStep(direction) {
    const now = Math.log2(scale() * devicePixelRatio);
    zoomTo(2 ** (direction > 0 ? Math.floor(now + 1.01) : Math.ceil(now - 1.01)));
  }

  function pan(dx, dy) {
    const { width, height } = picture(), s = scale();
    state.x -= dx / (s * width);
    state.y -= dy / (s * height);
    place();
    writeAddress();
  }

  // --- what is shown

  function show(layer, file, message) {
    const image = layer.querySelector("img"), absent = layer.querySelector(".absent");
    image.hidden = !file;
    if (absent) absent.textContent = file ? "" : message;
    if (!file || image.dataset.file === file) return;
    image.dataset.file = file;
    const next = new Image();
    next.src = file;
    // Decoded before it is shown, so that a flip is one frame.
    next.decode().catch(() => {}).then(() => { if (image.dataset.file === file) image.src = file; });
  }

  function caption(side) {
    const codec = state[side], box = captions[side], found = result(codec);
    box.replaceChildren();
    const name = document.createElement("b");
    name.textContent = codec;
    box.append(name);
    if (codec === ORIGINAL) return;
    if (!found || !found.file) { box.append(found ? found.status : ""); return; }
    const values = DATA.metrics.filter(metric => !metric.sets && found.metrics[metric.name] !== null)
      .slice(0, 4).map(metric => `${metric.title.replace(/ [[(].*/, "")} ${Chart.text(found.metrics[metric.name])}`);
    const more = document.createElement("span");
    more.className = "more";
    more.textContent = ["", `${found.bytes.toLocaleString("en")} bytes`, ...values].join(" · ");
    box.append(`${found.bpp.toFixed(3)} bpp`, more);
  }

  function update() {
    sanitise();
    const { file } = picture();
    show(layers.original, file);
    for (const side of ["a", "b"]) {
      const found = result(state[side]);
      const name = `${state[side]} at ${state.rate} bpp: `;
      if (state[side] === ORIGINAL) show(layers[side], file);
      else show(layers[side], found && found.file, found ? name + (found.error || found.status) : `${name}not run`);
      caption(side);
    }
    const mode = held ? "original" : state.mode;
    layers.a.style.visibility = mode === "a" || mode === "split" ? "visible" : "hidden";
    layers.b.style.visibility = mode === "b" || mode === "split" ? "visible" : "hidden";
    captions.a.hidden = mode === "b" || mode === "original";
    captions.b.hidden = mode === "a" || mode === "original";
    divider.hidden = mode !== "split";
    slide();
    place();
    controls();
    writeAddress();
  }

  function slide() {
    const cut = held || state.mode !== "split" ? 0 : 100 * (1 - state.split);
    layers.a.style.clipPath = `inset(0 ${cut}% 0 0)`;
    divider.style.left = `${100 * state.split}%`;
  }

  function controls() {
    $("picture").value = state.picture;
    $("codec-a").value = state.a;
    $("codec-b").value = state.b;
    for (const button of $("rates").children) button.setAttribute("aria-pressed", Number(button.dataset.rate) === state.rate);
    for (const button of $("modes").children) button.setAttribute("aria-pressed", button.dataset.mode === state.mode);
    $("pixels").setAttribute("aria-pressed", Boolean(state.pixels));
    const found = crops();
    $("crop-group").hidden = !found.length;
    $("crops").replaceChildren(...found.map((item, k) => {
      const button = document.createElement("button");
      button.textContent = k + 1;
      button.title = `${item.closer} has the smaller error, ${item.livelier} the better texture`;
      button.addEventListener("click", () => toCrop(k));
      return button;
    }));
  }

  const crops = () => (picture().crops || {})[String(state.rate)] || [];

  function toCrop(k) {
    const found = crops();
    if (!found.length) return;
    crop = k % found.length;
    const { left, top, side, closer, livelier } = found[crop], { width, height } = picture();
    Object.assign(state, { a: closer, b: livelier, x: (left + side / 2) / width, y: (top + side / 2) / height });
    const room = 0.7 * Math.min(stage.clientWidth, stage.clientHeight) * devicePixelRatio / side;
    state.zoom = clamp(2 ** Math.floor(Math.log2(room)), 1, MOST);
    update();
  }

  const change = values => { Object.assign(state, values); crop = -1; update(); };
  const flip = () => change({ mode: state.mode === "a" ? "b" : "a" });
  const swap = () => change({ a: state.b, b: state.a });

  function next(list, value, step) {
    const index = list.indexOf(value) + step;
    return list[clamp(index, 0, list.length - 1)];
  }

  // --- hands

  function at(event) {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  function listenToPointers() {
    const down = new Map();  // pointers by their number
    let sliding = false;
    const slideTo = x => { state.split = clamp(x / stage.clientWidth, 0, 1); slide(); writeAddress(); };
    stage.addEventListener("pointerdown", event => {
      stage.focus({ preventScroll: true });
      stage.setPointerCapture(event.pointerId);
      down.set(event.pointerId, at(event));
      const { width, height } = picture(), s = scale();
      const whole = width * s <= stage.clientWidth + 1 && height * s <= stage.clientHeight + 1;
      sliding = state.mode === "split" && (divider.contains(event.target) || (whole && event.pointerType !== "mouse"));
      if (sliding) slideTo(at(event)[0]);
      stage.classList.toggle("dragging", !sliding);
    });
    stage.addEventListener("pointermove", event => {
      const place = at(event);
      if (!down.has(event.pointerId)) {  // a mouse moves the slider without a button
        if (event.pointerType === "mouse" && state.mode === "split") slideTo(place[0]);
        return;
      }
      const before = [...down.values()];
      const last = down.get(event.pointerId);
      down.set(event.pointerId, place);
      const after = [...down.values()];
      if (after.length === 2) {
        const gap = ([one, other]) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
        const middle = ([one, other]) => [(one[0] + other[0]) / 2, (one[1] + other[1]) / 2];
        const [from, to] = [middle(before), middle(after)];
        zoomTo(scale() * devicePixelRatio * gap(after) / gap(before), to);
        pan(to[0] - from[0], to[1] - from[1]);
      } else if (sliding) slideTo(place[0]);
      else pan(place[0] - last[0], place[1] - last[1]);
    });
    for (const name of ["pointerup", "pointercancel"])
      stage.addEventListener(name, event => {
        down.delete(event.pointerId);
        sliding = false;
        stage.classList.remove("dragging");
      });
    stage.addEventListener("wheel", event => {
      event.preventDefault();
      zoomTo(scale() * devicePixelRatio * 2 ** (-event.deltaY * (event.deltaMode ? 16 : 1) / 240), at(event));
    }, { passive: false });
    stage.addEventListener("dblclick", event => zoomTo(state.zoom === 1 ? 4 : 1, at(event)));
  }

  function listenToKeys() {
    const pictures = DATA.pictures.filter(item => item.file).map(item => item.name);
    const rates = [...DATA.rates].sort((one, other) => one - other);
    const actions = {
      " ": flip, x: swap, f: () => change({ zoom: 0 }), p: () => change({ pixels: 1 - state.pixels }),
      1: () => change({ mode: "a" }), 2: () => change({ mode: "split" }), 3: () => change({ mode: "b" }),
      4: () => change({ mode: "original" }), c: () => toCrop(crop + 1),
      "+": () => zoomStep(1), "=": () => zoomStep(1), "-": () => zoomStep(-1),
      ArrowLeft: () => change({ picture: next(pictures, state.picture, -1) }),
      ArrowRight: () => change({ picture: next(pictures, state.picture, 1) }),
      ArrowUp: () => change({ rate: next(rates, state.rate, 1) }),
      ArrowDown: () => change({ rate: next(rates, state.rate, -1) }),
    };
    const typing = event => event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT)$/.test(event.target.tagName);
    // Arrows and the space bar scroll the page, unless the viewer is what one looks at.
    const inView = () => {
      const box = stage.getBoundingClientRect(), middle = innerHeight / 2;
      return document.activeElement === stage || (box.top < middle && box.bottom > middle);
    };
    addEventListener("keydown", event => {
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (typing(event) || !inView()) return;
      if (key === " " && event.target.tagName === "BUTTON") event.target.blur();
      if (key === "o") { if (!held) { held = true; update(); } }
      else if (actions[key]) actions[key]();
      else return;
      event.preventDefault();
    });
    const release = () => { if (held) { held = false; update(); } };
    addEventListener("keyup", event => { if (event.key.toLowerCase() === "o") release(); });
    addEventListener("blur", release);
  }

  function option(value, label = value) {
    const element = document.createElement("option");
    element.value = value;
    element.textContent = label;
    return element;
  }

  function start() {
    if (!DATA.pictures.some(item => item.file)) { $("viewer").hidden = true; return; }
    $("picture").append(...DATA.pictures.filter(item => item.file).map(item => option(item.name)));
    for (const side of ["a", "b"]) {
      const select = $(`codec-${side}`);
      select.append(...DATA.codecs.map(codec => option(codec.name)), option(ORIGINAL));
      select.addEventListener("change", () => { change({ [side]: select.value }); select.blur(); });
    }
    $("rates").append(...DATA.rates.map(rate => {
      const button = document.createElement("button");
      button.textContent = button.dataset.rate = rate;
      button.addEventListener("click", () => change({ rate }));
      return button;
    }));
    for (const button of $("modes").children) button.addEventListener("click", () => change({ mode: button.dataset.mode }));
    $("picture").addEventListener("change", event => { change({ picture: event.target.value }); event.target.blur(); });
    $("swap").addEventListener("click", swap);
    $("zoom-in").addEventListener("click", () => zoomStep(1));
    $("zoom-out").addEventListener("click", () => zoomStep(-1));
    $("fit").addEventListener("click", () => change({ zoom: 0 }));
    $("pixels").addEventListener("click", () => change({ pixels: 1 - state.pixels }));
    listenToPointers();
    listenToKeys();
    addEventListener("resize", place);
    addEventListener("hashchange", () => { readAddress(); update(); });
    sanitise();
    readAddress();
    update();
  }

  return { start };
})();
