// The alerts of a window one by one, a few days at a time, the latest first; the days are in the address.
// Names come from outside and only ever become text, never markup.

import { ask, clock, dayClock, element, empireName, naive, offerAlso } from "./shared.js";

const DAYS = 3; // that are listed at a time: of four worlds some hundred alerts
const DAY_MS = 86_400_000;
const LENGTH = { width: 220, height: 36 };
const SVG = "http://www.w3.org/2000/svg";

const box = document.getElementById("alerts");
const earlier = box.querySelectorAll(".earlier");
const later = box.querySelector(".later");
const picker = box.querySelector("input[type=date]");

let day = null; // the last of those that are listed; null for the latest of the window
let view = null; // worlds, window and clock
let names = new Map();
let round = 0; // answers of an earlier round than the latest are thrown away

// ---- which days ----

function plus(date, days) {
  return new Date(Date.parse(date) + days * DAY_MS).toISOString().slice(0, 10);
}

export function listedDay() {
  return day;
}

export function restoreDay(wanted) {
  const known = /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(wanted || "") && !Number.isNaN(Date.parse(wanted));
  day = known ? plus(wanted, 0) : null;
}

// The days that are listed, within those of the window, and from when to when they are.
function listed() {
  const oldest = naive(view.start, view.tz).slice(0, 10);
  const newest = naive(view.end - 1, view.tz).slice(0, 10);
  if (day !== null && (day < oldest || day >= newest)) day = null;
  const last = day ?? newest;
  const first = plus(last, 1 - DAYS) > oldest ? plus(last, 1 - DAYS) : oldest;
  return {
    oldest, newest, first, last,
    from: first === oldest ? new Date(view.start).toISOString() : first,
    to: last === newest ? new Date(view.end).toISOString() : plus(last, 1),
  };
}

function turn(wanted) {
  day = wanted;
  list();
}

// ---- one alert ----

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// The people around one alert; where it was not recorded, the line breaks.
function small(alert) {
  const { width, height } = LENGTH;
  const from = Date.parse(alert.people_from);
  const known = alert.people.filter((people) => people !== null);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, preserveAspectRatio: "none", class: "small", role: "img", "aria-label": known.length ? `between ${Math.min(...known)} and ${Math.max(...known)} people` : "not recorded" });
  if (!known.length) return svg;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const x = (at) => ((at - from) / 300_000) * (width / Math.max(1, alert.people.length - 1));
  const y = (people) => height - 3 - ((people - low) / Math.max(1, high - low)) * (height - 6);
  const start = alert.start ? Date.parse(alert.start) : from;
  const end = alert.end ? Date.parse(alert.end) : from + (alert.people.length - 1) * 300_000;
  svg.append(shape("rect", { x: x(start), y: 0, width: Math.max(1, x(end) - x(start)), height, class: `ran f${alert.winner || 0}` }));
  let path = "";
  alert.people.forEach((people, place) => {
    const before = place ? alert.people[place - 1] : null;
    if (people !== null) path += `${before === null ? "M" : "L"}${x(from + place * 300_000).toFixed(1)} ${y(people).toFixed(1)}`;
  });
  svg.append(shape("path", { d: path, class: "people" }));
  return svg;
}

function table(alerts) {
  const when = dayClock(view.tz);
  const shown = (people) => (people === null ? "–" : people.toLocaleString());
  const rows = [...alerts].reverse().map((alert) => {
    const won = !alert.end ? (alert.running ? "still running" : "end not seen") : alert.canceled ? "called off" : alert.winner
      ? `${empireName(alert.winner)}${alert.lock_id ? ", continent locked" : ""}` : "nobody";
    return element("tr", {},
      element("td", {}, alert.start ? when.format(new Date(alert.start)) : "start not seen"),
      element("td", {}, names.get(alert.world_id) || String(alert.world_id)),
      element("td", { class: "words" }, alert.name),
      element("td", { class: "words" }, element("span", { class: `empire f${alert.winner || 0}` }, won)),
      element("td", { "data-head": "at start" }, shown(alert.people_at_start)),
      element("td", { "data-head": "at end" }, shown(alert.people_at_end)),
      element("td", { "data-head": "later" }, shown(alert.people_later)),
      element("td", {}, small(alert)));
  });
  const heads = [["start"], ["world"], ["alert", "words"], ["won by", "words"], ["at start"], ["at end"], ["30 min later"], ["people", "words"]];
  return element("table", { class: "alone" }, // where there is little room, an alert is a block of its own
    element("thead", {}, element("tr", {}, ...heads.map(([head, kind]) => element("th", { class: kind || "" }, head)))),
    element("tbody", {}, ...rows));
}

// ---- all of them ----

// A button that can do no more gives the focus to the other one, as a keyboard would lose its place.
function showTurns({ oldest, newest, first, last }) {
  const focus = document.activeElement;
  for (const button of earlier) button.disabled = first === oldest;
  later.disabled = last === newest;
  earlier[1].hidden = first === oldest;
  if (focus === earlier[1] || (focus === earlier[0] && earlier[0].disabled)) (earlier[0].disabled ? later : earlier[0]).focus();
  else if (focus === later && later.disabled) earlier[0].focus();
  Object.assign(picker, { min: oldest, max: newest, value: last });
}

async function list() {
  const mine = ++round;
  const days = listed();
  const address = new URLSearchParams(location.search);
  address.delete("day");
  if (day !== null) address.set("day", day);
  history.replaceState(null, "", `?${address}`);
  const window = new URLSearchParams([...view.worlds.map((world) => ["world", world]), ["from", days.from], ["to", days.to], ["tz", view.tz]]);
  const asked = `${window}&people=yes`;
  offerAlso("listed", "The alerts listed as", {
    JSON: `alerts?${asked}`, CSV: `alerts?${asked}&format=csv`, PNG: `alerts.png?${window}`, SVG: `alerts.svg?${window}`,
  });
  const place = box.querySelector(".compare");
  try {
    const { alerts } = await ask("alerts", asked);
    if (mine !== round) return;
    place.replaceChildren(alerts.length ? table(alerts) : element("p", { class: "statement" }, "None in these days."));
  } catch (error) {
    if (mine !== round) return;
    place.replaceChildren(element("p", { class: "problem" }, `These can't be shown: ${error.message}`));
  }
  const span = clock("UTC", { day: "numeric", month: "short", year: "numeric" });
  box.querySelector("h2").textContent = `The alerts of ${span.formatRange(new Date(days.first), new Date(days.last))}`;
  box.hidden = false;
  showTurns(days);
}

// Lists those of a window: of the days that the address says, or else of its latest.
export async function listAlerts(wanted, worlds) {
  view = wanted;
  names = new Map(worlds.map((world) => [world.world_id, world.name]));
  await list();
}

// Nothing is listed; what is still asked for neither.
export function hideAlerts() {
  round += 1;
  box.hidden = true;
}

for (const button of earlier) button.addEventListener("click", () => turn(plus(listed().first, -1)));
later.addEventListener("click", () => turn(plus(listed().last, DAYS)));
picker.addEventListener("change", () => {
  if (picker.value && picker.validity.valid) turn(picker.value); // while a year is typed, it is one of long ago
});
