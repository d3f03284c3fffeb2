// A small line of people over a day: it breaks where nothing was recorded, and says so.

import { clock, element, spanText } from "./shared.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 320;
const HEIGHT = 56;

// A piece of a drawing; its text is what the pointer shows.
export function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.append(drawn("title", {}));
  if (text) made.firstChild.textContent = text;
  return made;
}

// Runs of points that are known, with no gap between them.
function runs(line, at, gaps) {
  const found = [];
  for (const [place, people] of line.entries()) {
    if (people === null) continue;
    const run = found.at(-1);
    const broken = !run || run.behind !== place || gaps.some((gap) => gap.end > at(place - 1) && gap.start < at(place));
    if (broken) found.push({ first: place, behind: place + 1 });
    else run.behind = place + 1;
  }
  return found;
}

export function sparkline(answer, told, zone) {
  const hour = clock(zone, { hour: "2-digit", minute: "2-digit" });
  const { line } = told;
  const gaps = told.unrecorded.map((gap) => ({ ...gap, start: Date.parse(gap.from), end: Date.parse(gap.to) }));
  const [start, end] = [Date.parse(answer.times[0]), Date.parse(answer.now)];
  const at = (place) => start + place * answer.step_s * 1000;
  const top = Math.max(1, ...line);
  const x = (time) => ((time - start) / (end - start)) * WIDTH;
  const y = (people) => HEIGHT - 2 - (people / top) * (HEIGHT - 6);
  const svg = drawn("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  // Every drawing has the stripes for itself, since another one may be taken away.
  const stripes = drawn("pattern", { id: "stripes", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  stripes.append(drawn("rect", { class: "stripe", width: 2.5, height: 6 }));
  if (gaps.length) svg.append(stripes);
  for (const gap of gaps) {
    const width = Math.max(2, x(gap.end) - x(gap.start)); // short ones are seen, too
    svg.append(drawn("rect", { class: "hole", fill: "url(#stripes)", x: Math.min(x(gap.start), WIDTH - width), y: 0, width, height: HEIGHT },
      `${gap.pending ? "No numbers" : "Not recorded"}: ${spanText(gap, hour)} (${gap.reason})`));
  }
  for (const { first, behind } of runs(line, at, gaps)) {
    const points = line.slice(first, behind).map((people, place) => `${x(at(first + place)).toFixed(1)} ${y(people).toFixed(1)}`);
    if (points.length === 1) points.push(points[0]);
    svg.append(drawn("path", { class: "people", d: `M${points.join("L")}` }));
  }
  const known = line.filter((people) => people !== null);
  const most = Math.max(...known);
  const said = known.length ? `peak ${most.toLocaleString("en")} at ${hour.format(at(line.indexOf(most)))}` : "nothing recorded in this time";
  return element("figure", { class: "day" }, svg,
    element("figcaption", {}, element("span", {}, "24 h ago"), element("span", {}, said), element("span", {}, "now")));
}
