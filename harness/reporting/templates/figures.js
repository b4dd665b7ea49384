"use strict";
// Figures: what belongs to runs that are switched off is hidden; the drawing and the table behind it can be saved.

/** Hide what a figure draws of runs alone that are switched off, in it or in a table. */
function show(figure) {
  const gone = new Set(off);
  for (const box of all(".switches input:not(:checked)", figure)) box.dataset.runs.split(" ").forEach((run) => gone.add(run));
  const see = (element, on) => (element.style.visibility = on ? "" : "hidden");
  for (const group of all("[data-runs]:not(input)", figure)) see(group, !group.dataset.runs.split(" ").every((run) => gone.has(run)));
  for (const group of all("[data-dots]", figure)) {
    const dots = all("use", group);
    group.dataset.dots.split(" ").forEach((run, place) => dots[place] && see(dots[place], !gone.has(run)));
  }
}

/** Return a drawing as a file of its own: as it is shown, in the colours of paper. */
function standing(svg) {
  const copy = svg.cloneNode(true);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("xmlns:xlink", "http://www.w3.org/1999/xlink");
  return new XMLSerializer().serializeToString(copy).replace(/var\(--c([0-9a-f]{6})\)/g, "#$1");
}

/** Return a drawing as PNG, twice as large as it is. */
async function pixels(svg) {
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const image = new Image(width, height);
  image.src = URL.createObjectURL(new Blob([standing(svg)], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = make("canvas", { width: 2 * width, height: 2 * height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((keep) => canvas.toBlob(keep, "image/png"));
}

for (const figure of all("figure[data-file]")) {
  const { file, table } = figure.dataset;
  const svg = figure.querySelector("svg");
  const button = (words, onclick) => make("button", { type: "button", textContent: words, onclick });
  const buttons = [
    button("SVG", () => save(new Blob([standing(svg)], { type: "image/svg+xml" }), file + ".svg")),
    button("PNG", async () => save(await pixels(svg), file + ".png")),
  ];
  if (table) buttons.unshift(button(`Data: ${table}.csv`, async () => save(new Blob([await embedded(table)], { type: "text/csv" }), table + ".csv")));
  figure.append(make("div", { className: "downloads" }, ...buttons));
  figure.addEventListener("change", () => show(figure));
  document.addEventListener("runs", () => show(figure));
}
