"use strict";
// Tables of class "tools": sort by any column, filter by words, switch runs off.

const UNTICKED = "Runs without a tick are hidden in the figures: a dot with its run, a line with the last of its runs. Means and medians are still over all seeds.";

/** The keys of the runs switched off on the whole page. */
const off = new Set();

/** Return a cell's number, NaN for text, null for an empty cell. */
const number = (text) => (text === "" ? null : text === "inf" ? Infinity : text === "-inf" ? -Infinity : Number(text));

/** Sort rows by a column, numerically if all cells are numbers; empty cells come last in either direction. */
function sorted(rows, column, descending) {
  const text = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
  const values = new Map(rows.map((row) => [row, number(text.get(row))]));
  const numeric = rows.every((row) => !Number.isNaN(values.get(row)));
  const compare = numeric
    ? (a, b) => (values.get(a) < values.get(b) ? -1 : values.get(a) > values.get(b) ? 1 : 0)
    : (a, b) => text.get(a).localeCompare(text.get(b), undefined, { numeric: true });
  const [present, missing] = [rows.filter((row) => text.get(row) !== ""), rows.filter((row) => text.get(row) === "")];
  return [...present.sort((a, b) => (descending ? compare(b, a) : compare(a, b))), ...missing];
}

/** Add a button to each heading that sorts by its column, and reverses the order when pressed again. */
function sortable(table, first) {
  const heads = all("thead th", table);
  heads.slice(first).forEach((head, place) => {
    const sort = () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      table.tBodies[0].append(...sorted([...table.tBodies[0].rows], place + first, descending));
    };
    head.replaceChildren(make("button", { type: "button", textContent: head.textContent, onclick: sort }));
  });
}

/** Add a search field before an element. It shows only the items that contain every word, and their number. */
function searchable(element, items, name, then = () => {}) {
  const count = make("output");
  const field = make("input", { type: "search", placeholder: `Filter ${name}`, ariaLabel: `Filter ${name} by words` });
  field.oninput = () => {
    const words = field.value.toLowerCase().split(/\s+/);
    items.forEach((item) => (item.hidden = !words.every((word) => item.textContent.toLowerCase().includes(word))));
    count.textContent = `${items.filter((item) => !item.hidden).length} of ${items.length} ${name}`;
    then();
  };
  element.before(make("div", { className: "finder" }, field, count));
  field.oninput();
}

/** Add a checkbox to each row that hides its run in every figure, and one for all rows shown; return the update function. */
function switchable(table) {
  const rows = [...table.tBodies[0].rows];
  const whole = make("input", { type: "checkbox", checked: true, ariaLabel: "All runs shown here, in figures" });
  const boxes = rows.map((row) => make("input", { type: "checkbox", checked: true, ariaLabel: `Run ${row.dataset.run}, in figures` }));
  const shown = () => boxes.filter((_, place) => !rows[place].hidden);
  const update = () => {
    off.clear();
    rows.forEach((row, place) => {
      row.classList.toggle("off", !boxes[place].checked);
      if (!boxes[place].checked) off.add(row.dataset.run);
    });
    whole.checked = shown().every((box) => box.checked);
    whole.indeterminate = !whole.checked && shown().some((box) => box.checked);
    document.dispatchEvent(new Event("runs"));
  };
  whole.onchange = () => {
    shown().forEach((box) => (box.checked = whole.checked));
    update();
  };
  all("thead tr", table)[0].prepend(make("th", { scope: "col" }, whole));
  rows.forEach((row, place) => {
    boxes[place].onchange = update;
    row.insertCell(0).append(boxes[place]);
  });
  return update;
}

for (const table of all("table.tools")) {
  const rows = [...table.tBodies[0].rows];
  const update = rows[0]?.dataset.run === undefined ? undefined : switchable(table);
  sortable(table, update ? 1 : 0);
  searchable(table.closest(".wide"), rows, table.getAttribute("aria-label") ?? "rows", update);
  if (update) table.closest(".wide").after(make("p", { className: "quiet", textContent: UNTICKED }));
}
for (const list of all(".entries")) {
  if (all("article", list).length > 1) searchable(list, all("article", list), list.getAttribute("aria-label"));
}
