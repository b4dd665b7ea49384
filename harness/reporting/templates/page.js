"use strict";
// Every page: colour scheme, folds, current section in the contents. Later scripts use the functions defined here.

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

/** Return a new element with these properties (text, classes, listeners as onclick) and children. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Download a Blob as a file of this name. */
function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Return the text of a table embedded in the page (harness/reporting/embedded_tables.py): gzip in base64. */
async function embedded(name) {
  const bytes = Uint8Array.from(atob(document.getElementById("data-" + name).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

{
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  document.querySelector(".theme").onclick = () => {
    const dark = (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
    root.dataset.theme = dark ? "light" : "dark";
    document.dispatchEvent(new Event("theme"));
  };
  system.addEventListener("change", () => document.dispatchEvent(new Event("theme")));
}

{
  // Folds are open without scripts and in print.
  const folds = all("details");
  let open = [];
  const reveal = () => document.getElementById(location.hash.slice(1))?.closest("details")?.setAttribute("open", "");
  folds.forEach((fold) => (fold.open = false));
  addEventListener("beforeprint", () => {
    open = folds.map((fold) => fold.open);
    folds.forEach((fold) => (fold.open = true));
  });
  addEventListener("afterprint", () => folds.forEach((fold, index) => (fold.open = open[index])));
  addEventListener("hashchange", reveal);
  reveal();
}

{
  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const watch = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        links.get(target.id)?.[isIntersecting ? "setAttribute" : "removeAttribute"]("aria-current", "true");
      }
    },
    { rootMargin: "-20% 0px -75% 0px" },
  );
  all("section[id]").forEach((section) => watch.observe(section));
}
