"use strict";
// Everything here adds to a page that reads well without it: sorting, tooltips, arrow keys between points, copying.

// Sorting: a heading becomes a button; numbers sort by data-value, empty cells last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => compare(key(a.cells[column]), key(b.cells[column]), up));
      body.append(...rows);
    });
  });
}
function key(cell) {
  if (!cell) return null;
  const text = cell.dataset.value ?? cell.textContent.trim();
  if (text === "" || text === "–") return null;
  const number = Number(text);
  return Number.isNaN(number) ? text : number;
}
function compare(a, b, up) {
  if (a === null || b === null) return (a === null) - (b === null);
  const both = typeof a === "number" && typeof b === "number";
  const order = both ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  return up ? order : -order;
}

// Tooltips: the <title> that browsers show by themselves moves into one that also answers to keys and touch.
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true"); // each point carries the same words as its label
document.body.append(tip);
const points = [...document.querySelectorAll(".point")];
let shown = null;
function show(point) {
  shown = point;
  tip.textContent = point.dataset.tip;
  tip.hidden = false;
  const box = point.lastElementChild.getBoundingClientRect(), own = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.x + box.width / 2 - own.width / 2), innerWidth - own.width - 8);
  const above = box.y - own.height - 12;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 8 ? above : box.bottom + 12}px`;
  for (const other of points) other.classList.toggle("twin", other.dataset.name === point.dataset.name);
}
function hide() {
  shown = null;
  tip.hidden = true;
  for (const other of points) other.classList.remove("twin");
}
for (const point of points) {
  const title = point.querySelector("title");
  point.dataset.tip = title.textContent;
  title.remove();
  point.addEventListener("pointerenter", () => show(point));
  point.addEventListener("pointerleave", hide);
  point.addEventListener("focus", () => show(point));
  point.addEventListener("blur", hide);
}
addEventListener("scroll", () => shown && show(shown), { passive: true });
addEventListener("keydown", (event) => event.key === "Escape" && hide());

// One tab stop a plot; the arrow keys walk from point to point, from left to right.
for (const plot of document.querySelectorAll("svg.plot")) {
  const x = (point) => point.lastElementChild.getBBox().x;
  const order = [...plot.querySelectorAll(".point")].sort((a, b) => x(a) - x(b));
  order.forEach((point, index) => {
    point.setAttribute("tabindex", index ? "-1" : "0");
    point.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = order[(index + step + order.length) % order.length];
      point.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  });
}

// Copying commands and recipes.
if (navigator.clipboard) {
  for (const block of document.querySelectorAll("pre.copy")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    block.append(button);
  }
}

// Print shows every fold open, and leaves them as they were.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const fold of closed) fold.open = true;
});
addEventListener("afterprint", () => closed.forEach((fold) => (fold.open = false)));
