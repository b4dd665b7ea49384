"use strict";
// Heat map of gradient norms at the step set by a slider: one row per run, one cell per layer, coloured by log10 of the norm.
{
  const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
  const [ZERO, NOT_FINITE] = ["#cc79a7", "#d55e00"];
  const BAR = 18; // height in pixels of the coloured bar at the foot of a row; --pitch in report.css is the height of a row
  const TICK = 250; // milliseconds per step while playing

  /** Return the table as {steps, rows: [{run, name, depth, norms: Map of step to norms by layer}], low, high} (log10). */
  function read(csv) {
    const [header, ...lines] = csv.trim().split("\n").map(cells);
    const at = Object.fromEntries(header.map((name, place) => [name, place]));
    const rows = new Map();
    const steps = new Set();
    let [low, high] = [Infinity, -Infinity];
    for (const line of lines) {
      const [run, step, layer, text] = [line[at.run], Number(line[at.step]), Number(line[at.layer]), line[at.grad_norm]];
      const norm = text === "" ? NaN : text === "inf" ? Infinity : Number(text);
      if (!rows.has(run)) rows.set(run, { run: run.slice(run.lastIndexOf("-") + 1), arm: line[at.arm], x: line[at.x], depth: 0, norms: new Map() });
      const row = rows.get(run);
      if (!row.norms.has(step)) row.norms.set(step, []);
      row.norms.get(step)[layer - 1] = norm;
      row.depth = Math.max(row.depth, layer);
      steps.add(step);
      if (norm > 0 && norm < Infinity) [low, high] = [Math.min(low, Math.log10(norm)), Math.max(high, Math.log10(norm))];
    }
    return { steps: [...steps].sort((a, b) => a - b), rows: [...rows.values()], low, high };
  }

  /** Return the cells of a line of CSV; a cell with a comma is quoted. */
  function cells(line) {
    if (!line.includes('"')) return line.split(",");
    return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain);
  }

  /** Return the colour of a value from 0 to 1. */
  function colour(value) {
    const exact = Math.min(Math.max(value, 0), 1) * (CIVIDIS.length - 1);
    const from = Math.min(Math.floor(exact), CIVIDIS.length - 2);
    const part = (hex, channel) => parseInt(hex.slice(1 + 2 * channel, 3 + 2 * channel), 16);
    const mix = [0, 1, 2].map((channel) => {
      const [start, end] = [part(CIVIDIS[from], channel), part(CIVIDIS[from + 1], channel)];
      return Math.round(start + (exact - from) * (end - start));
    });
    return `rgb(${mix})`;
  }

  function player(figure, { steps, rows, low, high }) {
    const key = figure.dataset.x;
    const deepest = Math.max(...rows.map((row) => row.depth));
    let shown = rows;
    let cursor = null; // {row, layer} whose value is shown as text
    let timer = 0;

    const slider = make("input", { type: "range", min: 0, max: steps.length - 1, value: 0, ariaLabel: "Probed step" });
    const play = make("button", { type: "button", textContent: "Play" });
    const when = make("output", { className: "when" });
    const same = make("input", { type: "checkbox" });
    const names = make("div", { className: "names" });
    const last = make("span");
    const canvas = make("canvas", { tabIndex: 0, role: "img" });
    const reading = make("p", { className: "reading" });
    reading.setAttribute("aria-live", "polite");

    const step = () => steps[slider.value];
    const width = (row) => (same.checked ? row.depth : deepest);
    const format = (norm) => (norm === undefined ? "not probed" : norm === 0 ? "exactly zero" : Number.isFinite(norm) ? norm.toExponential(2) : "not finite");

    const pitch = () => Number(getComputedStyle(canvas).getPropertyValue("--pitch"));

    function draw() {
      const tall = pitch();
      const scale = devicePixelRatio || 1;
      const wide = canvas.clientWidth;
      canvas.style.height = `${tall * shown.length}px`;
      [canvas.width, canvas.height] = [wide * scale, tall * shown.length * scale];
      const context = canvas.getContext("2d");
      context.scale(scale, scale);
      shown.forEach((row, place) => {
        const norms = row.norms.get(step()) ?? [];
        const cell = wide / width(row);
        const top = (place + 1) * tall - BAR - 1;
        norms.forEach((norm, layer) => {
          context.fillStyle = norm === 0 ? ZERO : Number.isFinite(norm) ? colour((Math.log10(norm) - low) / (high - low || 1)) : NOT_FINITE;
          context.fillRect(layer * cell, top, cell + 0.5, BAR);
          if (norm !== 0) return;
          context.fillStyle = "#000000";
          context.fillRect((layer + 0.5) * cell - 1, top + BAR / 2 - 1, 2, 2); // a dot marks zero without relying on colour
        });
      });
      if (cursor) {
        const cell = wide / width(shown[cursor.row]);
        context.strokeStyle = getComputedStyle(canvas).color;
        context.lineWidth = 2;
        context.strokeRect(cursor.layer * cell - 1, (cursor.row + 1) * tall - BAR - 2, cell + 2, BAR + 2);
      }
      describe();
    }

    function describe() {
      when.textContent = `step ${step()} (${Number(slider.value) + 1} of ${steps.length} probed)`;
      slider.setAttribute("aria-valuetext", `step ${step()}`);
      const row = cursor && shown[cursor.row];
      const norm = row && row.norms.get(step())?.[cursor.layer];
      reading.textContent = row
        ? `${row.arm}, ${key} ${row.x}: layer ${cursor.layer + 1} of ${row.depth} at step ${step()}: ${format(norm)}`
        : "Point at a cell, or move over the map by arrow keys, to read its value.";
      last.textContent = same.checked ? "last layer" : `layer ${deepest}`;
      const norms = (row) => row.norms.get(step()) ?? [];
      const ends = (row) => `${row.arm}, ${key} ${row.x}: first layer ${format(norms(row)[0])}, last layer ${format(norms(row).at(-1))}`;
      canvas.ariaLabel = `Gradient norm by layer at step ${step()}. ${shown.map(ends).join("; ")}`;
    }

    function select() {
      shown = rows.filter((row) => !off.has(row.run));
      cursor = null;
      const name = (row) => make("div", { title: row.arm }, make("span", {}, row.arm), make("span", {}, `${key} ${row.x}`));
      names.replaceChildren(...shown.map(name));
      draw();
    }

    function point(event) {
      const box = canvas.getBoundingClientRect();
      const place = Math.floor((event.clientY - box.top) / pitch());
      const row = shown[place];
      const layer = row ? Math.floor(((event.clientX - box.left) / box.width) * width(row)) : -1;
      cursor = row && layer >= 0 && layer < row.depth ? { row: place, layer } : null;
      draw();
    }

    function move(event) {
      const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!by || !shown.length) return;
      event.preventDefault();
      const row = Math.min(Math.max((cursor?.row ?? 0) + by[0], 0), shown.length - 1);
      const layer = cursor ? cursor.layer + by[1] : 0;
      cursor = { row, layer: Math.min(Math.max(layer, 0), shown[row].depth - 1) };
      draw();
    }

    function stop() {
      clearInterval(timer);
      timer = 0;
      play.textContent = "Play";
    }

    play.onclick = () => {
      if (timer) return stop();
      if (slider.value === slider.max) slider.value = 0;
      play.textContent = "Pause";
      timer = setInterval(() => {
        slider.value = Number(slider.value) + 1;
        draw();
        if (slider.value === slider.max) stop();
      }, TICK);
    };
    slider.oninput = () => {
      stop();
      draw();
    };
    same.onchange = draw;
    canvas.onpointermove = canvas.onpointerdown = point;
    canvas.onpointerleave = (event) => {
      if (event.pointerType !== "mouse") return; // after a touch the value stays visible
      cursor = null;
      draw();
    };
    canvas.onkeydown = move;
    document.addEventListener("runs", select);
    document.addEventListener("theme", draw);
    new ResizeObserver(draw).observe(canvas);

    const swatch = (fill, text) => {
      const box = make("i");
      box.style.background = fill;
      return make("span", {}, box, text);
    };
    const ramp = make("i", { className: "ramp" });
    ramp.style.background = `linear-gradient(to right, ${CIVIDIS})`;
    const ends = low <= high ? [`${(10 ** low).toExponential(0)} `, ` ${(10 ** high).toExponential(0)}`] : ["none above zero", ""];
    figure.replaceChildren(
      make("div", { className: "player" }, play, slider, when, make("label", {}, same, "each run at full width")),
      make("div", { className: "map" }, names, canvas, make("div", { className: "ends" }, "layer 1, at the input", last)),
      make("div", { className: "key" }, make("span", {}, ends[0], ramp, ends[1]), swatch(ZERO, "exactly zero"), swatch(NOT_FINITE, "not finite")),
      reading,
      make("figcaption", { textContent: "Norm of the loss gradient with respect to each layer's weights, the input on the left, at one probed step. The scale is the same at every step." }),
    );
    figure.hidden = false;
    select();
  }

  for (const figure of all("figure.heat")) embedded(figure.dataset.table).then((csv) => player(figure, read(csv)));
}
