"use strict";
// Tables and curves, and everything that is not the viewer.

(() => {
  const $ = id => document.getElementById(id);
  const codecs = DATA.codecs, metrics = DATA.metrics;

  function element(name, content = "", className = "") {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...[content].flat());
    return made;
  }

  function table(target, head, rows) {
    target.replaceChildren(
      element("thead", element("tr", head.map(cell => element("th", cell)))),
      element("tbody", rows.map(cells => element("tr", cells))));
  }

  function codecCell(codec) {
    const swatch = element("span", "", "swatch");
    swatch.style.background = codec.colour;
    return element("th", [swatch, codec.name]);
  }

  // --- tables

  const change = value => `${value > 0 ? "+" : "−"}${Number(Math.abs(value).toPrecision(2))}`;

  function saved() {
    const others = codecs.filter(codec => codec.name !== DATA.anchor);
    $("saved-note").textContent = `BD-rate against ${DATA.anchor}: the change of the bits at equal quality, negative if ` +
      "fewer are needed. Mean over the pictures with its 95 % bootstrap interval; in brackets how many pictures it is of, " +
      "if not all of them have overlapping, monotone curves. Where none has, the change of the metric itself.";
    const count = DATA.pictures.filter(picture => picture.file).length;
    const rows = others.map(codec => [codecCell(codec), ...metrics.map(metric => {
      const { rate: estimate, metric: gain, skipped } = DATA.differences[metric.name][codec.name];
      if (!estimate) {
        const cell = element("td", "–");
        cell.title = [...new Set(Object.values(skipped))].join("; ");
        if (gain) cell.append(element("br"), element("small", `${change(gain.mean)} at equal bits`));
        return cell;
      }
      const sign = value => `${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(1)}`;
      const sure = estimate.low === null ? estimate.mean : estimate.low > 0 ? 1 : estimate.high < 0 ? -1 : 0;
      const cell = element("td", `${sign(estimate.mean)} %`, sure < 0 ? "good" : sure > 0 ? "bad" : "");
      const parts = estimate.low === null ? [] : [`${sign(estimate.low)} to ${sign(estimate.high)}`];
      if (!metric.sets && estimate.count < count) parts.push(`(${estimate.count})`);
      cell.append(element("br"), element("small", parts.join(" ")));
      if (gain) cell.title = `${change(gain.mean)} at equal bits`;
      return cell;
    })]);
    table($("saved"), ["", ...metrics.map(metric => metric.title.replace(/ \[.*\]/, ""))], rows);
  }

  function median(values) {
    const sorted = values.filter(value => value).sort((one, other) => one - other);
    return sorted.length ? sorted[Math.floor((sorted.length - 1) / 2)] : null;
  }

  function equal(rate) {
    for (const button of $("equal-rates").children) button.setAttribute("aria-pressed", Number(button.dataset.rate) === rate);
    const megapixels = name => { const { width, height } = DATA.pictures.find(item => item.name === name); return width * height / 1e6; };
    const costs = [
      ["encode [s/MP]", item => item.encode && item.encode / megapixels(item.picture)],
      ["decode [s/MP]", item => item.decode && item.decode / megapixels(item.picture)],
      ["memory [MiB]", item => item.memory],
      ["multiplications/pixel", item => item.multiplications],
    ];
    const values = metrics.map(metric => codecs.map(codec => DATA.equal_bits[metric.name][codec.name][String(rate)]));
    const best = values.map((column, k) => {
      const known = column.filter(value => value !== null);
      return known.length > 1 ? Math[metrics[k].higher ? "max" : "min"](...known) : null;
    });
    const rows = codecs.map((codec, row) => {
      const own = DATA.results.filter(item => item.codec === codec.name && item.rate === rate && item.file);
      return [
        codecCell(codec),
        ...values.map((column, k) => {
          const value = column[row];
          return element("td", value === null ? "–" : Chart.text(value), value !== null && value === best[k] ? "best" : "");
        }),
        ...costs.map(([, of]) => {
          const value = median(own.map(of));
          return element("td", value === null ? "–" : Number(value.toPrecision(3)).toString());
        }),
      ];
    });
    const arrows = metrics.map(metric => `${metric.title} ${metric.higher ? "↑" : "↓"}`);
    table($("equal"), ["", ...arrows, ...costs.map(cost => cost[0])], rows);
  }

  // --- curves

  const hidden = new Set();
  const BITS = "bits per pixel";

  function axes() {
    const axis = new Map([[BITS, { title: BITS, log: true, of: item => item.bpp }]]);
    for (const metric of metrics)
      axis.set(metric.name, { title: `${metric.title} ${metric.higher ? "↑" : "↓"}`, metric: metric.name, of: item => item.metrics[metric.name] });
    const size = item => { const { width, height } = DATA.pictures.find(picture => picture.name === item.picture); return width * height / 1e6; };
    axis.set("encode", { title: "encoding [megapixels/s]", log: true, of: item => item.encode && size(item) / item.encode });
    axis.set("decode", { title: "decoding [megapixels/s]", log: true, of: item => item.decode && size(item) / item.decode });
    axis.set("multiplications", { title: "decoding [multiplications/pixel]", log: true, of: item => item.multiplications });
    return axis;
  }

  // A value of a codec at a rate: of one picture, or over all of them (metrics by their means, costs by their medians).
  function value(axis, codec, rate, picture) {
    const own = DATA.results.filter(item => item.codec === codec && item.rate === rate && item.file);
    if (picture) {
      const found = own.find(item => item.picture === picture);
      return found ? axis.of(found) ?? null : null;
    }
    if (axis.metric) return (DATA.means[axis.metric][codec].find(point => point.target_bpp === rate) || { value: null }).value;
    if (axis.title !== BITS) return median(own.map(axis.of));
    const readable = DATA.pictures.filter(item => item.file).length;
    return own.length === readable ? own.reduce((sum, item) => sum + item.bpp, 0) / own.length : null;
  }

  function curves() {
    const axis = axes(), x = axis.get($("chart-x").value), y = axis.get($("chart-y").value), picture = $("chart-picture").value;
    const series = codecs.filter(codec => !hidden.has(codec.name)).map(codec => ({
      ...codec,
      points: DATA.rates.map(rate => [value(x, codec.name, rate, picture), value(y, codec.name, rate, picture)])
        .filter(([one, other]) => one !== null && other !== null && (!x.log || one > 0) && (!y.log || other > 0))
        .sort((one, other) => x.log ? one[0] - other[0] : 0),
    }));
    const comparable = !picture && x.title === BITS && y.metric;
    $("published-label").hidden = !DATA.baselines.some(item => comparable && y.metric in item.curves);
    if (comparable && $("published").checked) {
      const rates = series.flatMap(item => item.points.map(point => point[0]));
      for (const item of DATA.baselines) {
        const points = (item.curves[y.metric] || []).filter(point => point[0] > Math.min(...rates) / 1.6 && point[0] < Math.max(...rates) * 1.6);
        series.push({ name: `${item.name} (published)`, colour: "#9a9a9a", thin: 1, points });
      }
    }
    Chart.draw($("chart"), series, x, y);
  }

  function startCurves() {
    const options = (select, pairs) => select.append(...pairs.map(([key, label]) => {
      const made = element("option", label);
      made.value = key;
      return made;
    }));
    const all = [...axes()];
    const readable = DATA.pictures.filter(picture => picture.file);
    options($("chart-picture"), [["", `the mean of ${readable.length} pictures`], ...readable.map(picture => [picture.name, picture.name])]);
    options($("chart-y"), all.filter(([key]) => key !== BITS).map(([key, axis]) => [key, axis.title]));
    options($("chart-x"), all.filter(([key, axis]) => key === BITS || axis.metric).map(([key, axis]) => [key, axis.title]));
    for (const id of ["chart-picture", "chart-y", "chart-x", "published"]) $(id).addEventListener("change", curves);
    $("legend").append(...codecs.map(codec => {
      const button = element("button", [...codecCell(codec).childNodes]);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        if (!hidden.delete(codec.name)) hidden.add(codec.name);
        button.setAttribute("aria-pressed", String(!hidden.has(codec.name)));
        curves();
      });
      return button;
    }));
    addEventListener("resize", curves);
    curves();
  }

  // --- details

  function link(address, label) {
    const made = element("a", label);
    made.href = address;
    return made;
  }

  function listed(target, words, links) {
    target.hidden = !links.length;
    target.append(words, ...links.flatMap((item, k) => [k ? ", " : " ", ...item]));
  }

  function details() {
    $("machine").textContent = DATA.machine;
    $("command").textContent = DATA.command;
    listed($("tables"), "Tables:", DATA.tables.map(name => [link(name, name)]));
    listed($("plots"), "For papers:", DATA.plots.map(name => [link(`plots/${name}.svg`, name), " (", link(`plots/${name}.png`, "PNG"), ")"]));
    const rows = codecs.map(codec => [codecCell(codec), element("td", codec.version || "–"), element("td", codec.settings)]);
    table($("settings"), ["", "version", "settings"], rows);
    const failed = DATA.results.filter(item => item.error || item.status !== "ok");
    if (failed.length) {
      const made = element("table");
      // One line a reason: a codec that is not installed lacks at every rate and picture.
      const groups = group(failed, reason);
      table(made, ["", "what", "rates", "pictures"], [...groups.values()].map(items => [
        element("th", unreadable(items[0]) ? "all codecs" : items[0].codec),
        element("td", `${items[0].status}: ${items[0].error || ""}`),
        element("td", [...new Set(items.map(item => item.rate))].join(", ")),
        element("td", [...new Set(items.map(item => item.picture))].join(", ")),
      ]));
      $("absent").append(element("h3", "What is lacking"), element("div", made, "scroll"));
    }
    if (DATA.baselines.length) {
      const items = DATA.baselines.map(item => element("li", `${item.name}${item.note ? `, ${item.note}` : ""}. ${item.source}`));
      $("sources").append(element("h3", "Published curves"), element("ul", items, "note"));
    }
  }

  const unreadable = item => DATA.pictures.find(picture => picture.name === item.picture).error;
  const reason = item => [unreadable(item) ? "" : item.codec, item.status, item.error].join("\n");

  function group(items, key) {
    const groups = new Map();
    for (const item of items) groups.set(key(item), [...(groups.get(key(item)) || []), item]);
    return groups;
  }

  // --- all of it

  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
  $("about").textContent = `${plural(codecs.length, "codec")} on ${plural(DATA.pictures.length, "picture")} at ` +
    `${plural(DATA.rates.length, "rate")}, all made and measured in one run. Bits are those of whole files.`;
  $("equal-rates").append(...DATA.rates.map(rate => {
    const button = element("button", String(rate));
    button.dataset.rate = rate;
    button.addEventListener("click", () => equal(rate));
    return button;
  }));
  // The address belongs to the viewer, so these do not change it.
  for (const anchor of document.querySelectorAll("[data-section]"))
    anchor.addEventListener("click", event => {
      event.preventDefault();
      document.querySelector(anchor.getAttribute("href")).scrollIntoView();
    });
  saved();
  equal(DATA.rates[Math.floor((DATA.rates.length - 1) / 2)]);
  startCurves();
  details();
  Viewer.start();
})();
