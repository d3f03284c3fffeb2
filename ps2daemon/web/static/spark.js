// A small line of people over a day: it breaks where nothing was recorded, and says so.

import { clock, element } from "./shared.js";

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

// Runs of points that are known, or not, each as the first and the one behind the last.
function runs(line, known) {
  const found = [];
  for (let place = 0; place < line.length; place += 1) {
    if ((line[place] !== null) !== known) continue;
    const first = place;
    while (place + 1 < line.length && (line[place + 1] !== null) === known) place += 1;
    found.push([first, place + 1]);
  }
  return found;
}

export function sparkline(times, line, step, zone) {
  const hour = clock(zone, { hour: "2-digit", minute: "2-digit" });
  const known = line.filter((people) => people !== null);
  const top = Math.max(1, ...known);
  const [start, end] = [Date.parse(times[0]), Date.parse(times[times.length - 1])];
  const x = (place) => ((Date.parse(times[0]) + place * step * 1000 - start) / (end - start)) * WIDTH;
  const y = (people) => HEIGHT - 2 - (people / top) * (HEIGHT - 6);
  const svg = drawn("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const [first, behind] of runs(line, false)) {
    const [left, right] = [Math.max(0, x(first - 1)), Math.min(WIDTH, x(behind))];
    // The last points are not there yet: coverage is claimed in arrears.
    if (behind === line.length && behind - first < 2) continue;
    svg.append(drawn("rect", { class: "hole", x: left, y: 0, width: right - left, height: HEIGHT },
      `Not recorded: ${hour.format(start + first * step * 1000)}–${hour.format(start + behind * step * 1000)}`));
  }
  for (const [first, behind] of runs(line, true)) {
    const points = line.slice(first, behind).map((people, place) => `${x(first + place).toFixed(1)} ${y(people).toFixed(1)}`);
    if (points.length === 1) points.push(points[0]);
    svg.append(drawn("path", { class: "people", d: `M${points.join("L")}` }));
  }
  const peak = line.indexOf(Math.max(...known));
  const said = known.length ? `peak ${Math.max(...known).toLocaleString("en")} at ${hour.format(start + peak * step * 1000)}` : "nothing recorded in this time";
  return element("figure", { class: "day" }, svg,
    element("figcaption", {}, element("span", {}, "24 h ago"), element("span", {}, said), element("span", {}, "now")));
}
