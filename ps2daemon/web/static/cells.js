// Charts of cells: what the pointer, a finger or the arrow keys show of one cell, which is said to a screen reader, too.

import { element } from "./shared.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const ROOM = 8; // pixels between a cell and what it says

// `cells` are the chart's rows, each in the column that its `across` names and the row that its `day` does. `told` gives what there is to say of
// one: a head, and the names and values below it.
export function attachCells(box, vegaView, cells, across, told) {
  detachCells(box);
  box.pointing = new AbortController();
  const { signal } = box.pointing;
  const plot = box.querySelector(".chart");
  // The drawing calls itself a document, in which keys would be those of the screen reader.
  plot.setAttribute("role", "application");
  plot.setAttribute("aria-roledescription", "chart");
  plot.setAttribute("aria-keyshortcuts", `${Object.keys(STEPS).join(" ")} Home End Escape`);
  plot.tabIndex = 0;
  const [outline, tip] = ["outline", "tip"].map((kind) => element("div", { class: kind }));
  outline.hidden = tip.hidden = true;
  box.append(outline, tip);
  const said = box.querySelector(".said") || element("p", { class: "said", "aria-live": "polite" });
  if (!said.parentNode) box.append(said); // stays, since a new one is not listened to
  const grid = gridOf(vegaView, cells, across);

  const hide = () => { outline.hidden = tip.hidden = true; };
  const show = (place) => {
    box.cursor = place;
    const { head, values } = told(grid.cell(...place));
    tip.replaceChildren(element("b", {}, head),
      element("table", {}, ...values.map(([name, value]) => element("tr", {}, element("td", {}, name), element("td", {}, value)))));
    put(box, plot, vegaView, grid.frame(...place), outline, tip);
    return `${head}: ${values.map((each) => each.join(" ").trim()).join(", ")}.`;
  };
  const say = (place) => { said.textContent = show(place); };
  const here = () => (box.cursor && grid.cell(...box.cursor) ? box.cursor : grid.latest);

  const point = (event) => {
    const marks = plot.querySelector("svg.marks")?.getBoundingClientRect();
    const [left, top] = vegaView.origin();
    const place = marks && grid.at(event.clientX - marks.left - left, event.clientY - marks.top - top);
    if (place) show(place);
    else hide();
  };
  box.addEventListener("pointerdown", point, { signal });
  box.addEventListener("pointermove", point, { signal });
  box.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") hide(); }, { signal }); // a finger that is lifted leaves
  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") hide();
    const next = grid.moved(here(), event.key);
    if (!next) return;
    event.preventDefault();
    say(next);
  }, { signal });
  plot.addEventListener("focus", () => { if (plot.matches(":focus-visible")) say(here()); }, { signal });
  plot.addEventListener("blur", hide, { signal });
  let width = innerWidth; // a phone's height changes as its bars come and go
  addEventListener("resize", () => {
    if (innerWidth !== width) hide();
    width = innerWidth;
  }, { signal });
  if (document.activeElement === plot && box.cursor) show(here());
}

// The chart says no more of single cells.
export function detachCells(box) {
  box.pointing?.abort();
  for (const old of box.querySelectorAll(".outline, .tip")) old.remove();
  const plot = box.querySelector(".chart");
  for (const name of ["tabindex", "aria-keyshortcuts", "aria-roledescription"]) plot.removeAttribute(name);
  plot.setAttribute("role", "img");
}

// Where the cells are: a place is the number of a column and of a row.
function gridOf(vegaView, cells, across) {
  const scales = ["x", "y"].map((name) => vegaView.scale(name));
  const domains = scales.map((scale) => scale.domain().map(String));
  const found = new Map(cells.map((cell) => [`${cell[across]} ${cell.day}`, cell]));
  const cell = (column, row) => found.get(`${domains[0][column]} ${domains[1][row]}`);
  const frame = (...place) => place.map((number, axis) => ({
    start: scales[axis](scales[axis].domain()[number]), length: scales[axis].bandwidth(),
  }));
  const line = (number, axis) => domains[axis].map((_, place) => (axis ? [number, place] : [place, number])).filter((place) => cell(...place));
  const last = cells.at(-1);
  return {
    cell,
    frame,
    latest: [domains[0].indexOf(String(last[across])), domains[1].indexOf(last.day)],
    at(...pixels) {
      const place = pixels.map((pixel, axis) => Math.floor((pixel - scales[axis].range()[0]) / scales[axis].step()));
      return cell(...place) ? place : null;
    },
    // The next cell that there is in the direction of a key; none at the end, or for another key.
    moved([column, row], key) {
      if (key === "Home") return line(row, 0)[0];
      if (key === "End") return line(row, 0).at(-1);
      const [right, down] = STEPS[key] || [0, 0];
      if (right) return right > 0 ? line(row, 0).find((place) => place[0] > column) : line(row, 0).findLast((place) => place[0] < column);
      if (down) return down > 0 ? line(column, 1).find((place) => place[1] > row) : line(column, 1).findLast((place) => place[1] < row);
      return null;
    },
  };
}

// The outline of a cell, and beside it, or below it where there is no room, what it says.
function put(box, plot, vegaView, [across, down], outline, tip) {
  const marks = plot.querySelector("svg.marks").getBoundingClientRect();
  const outer = box.getBoundingClientRect();
  const [left, top] = vegaView.origin();
  const x = marks.left - outer.left + left + across.start;
  const y = marks.top - outer.top + top + down.start;
  outline.hidden = tip.hidden = false;
  for (const [name, pixels] of Object.entries({ left: x, top: y, width: across.length, height: down.length })) outline.style[name] = `${pixels}px`;
  const right = x + across.length + ROOM;
  const before = x - tip.offsetWidth - ROOM;
  const beside = right + tip.offsetWidth <= outer.width || before >= 0;
  tip.style.left = `${right + tip.offsetWidth <= outer.width ? right : Math.max(0, before)}px`;
  tip.style.top = `${beside ? y : y + down.length + ROOM}px`;
}
