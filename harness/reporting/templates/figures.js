"use strict";
// Figures: hide the marks of runs that are switched off; save the drawing and the table behind it.

/** Hide a figure's marks whose runs are all switched off, in the figure or in a table. */
function show(figure) {
  const hidden = new Set(off);
  for (const box of all(".switches input:not(:checked)", figure)) box.dataset.runs.split(" ").forEach((run) => hidden.add(run));
  const setVisible = (element, on) => (element.style.visibility = on ? "" : "hidden");
  for (const group of all("[data-runs]:not(input)", figure)) setVisible(group, !group.dataset.runs.split(" ").every((run) => hidden.has(run)));
  for (const group of all("[data-dots]", figure)) {
    const dots = all("use", group);
    group.dataset.dots.split(" ").forEach((run, index) => dots[index] && setVisible(dots[index], !hidden.has(run)));
  }
}

/** Return a drawing as a standalone SVG file: as shown, in the colours of a light page. */
function standalone(svg) {
  const copy = svg.cloneNode(true);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("xmlns:xlink", "http://www.w3.org/1999/xlink");
  return new XMLSerializer().serializeToString(copy).replace(/var\(--c([0-9a-f]{6})\)/g, "#$1");
}

/** Return a drawing as PNG, at twice its size. */
async function toPng(svg) {
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const image = new Image(width, height);
  image.src = URL.createObjectURL(new Blob([standalone(svg)], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = make("canvas", { width: 2 * width, height: 2 * height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

for (const figure of all("figure[data-file]")) {
  const { file, table } = figure.dataset;
  const svg = figure.querySelector("svg");
  const button = (textContent, onclick) => make("button", { type: "button", textContent, onclick });
  const buttons = [
    button("SVG", () => save(new Blob([standalone(svg)], { type: "image/svg+xml" }), file + ".svg")),
    button("PNG", async () => save(await toPng(svg), file + ".png")),
  ];
  if (table) buttons.unshift(button(`Data: ${table}.csv`, async () => save(new Blob([await embedded(table)], { type: "text/csv" }), table + ".csv")));
  figure.append(make("div", { className: "downloads" }, ...buttons));
  figure.addEventListener("change", () => show(figure));
  document.addEventListener("runs", () => show(figure));
}
