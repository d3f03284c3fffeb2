// What alerts and locks do: what is chosen is in the address; a card for each kind of event, and below them the latest alerts.
// Names come from outside and only ever become text, never markup.

import { ask, begin, check, checkWorlds, dark, dayClock, draw, element, empireName, offer, plusMinus, signed, showZones } from "./shared.js";

const WINDOWS = ["14d", "28d", "91d", "365d"];
const LISTED = "-3d"; // how far back alerts are listed
const LENGTH = { width: 220, height: 36 };
const SVG = "http://www.w3.org/2000/svg";

const form = document.getElementById("controls");
const cards = document.getElementById("cards");
const statusLine = document.getElementById("status");

let worlds = [];
let round = 0; // answers of an earlier round than the latest are thrown away

function chosen() {
  const data = new FormData(form);
  return { worlds: data.getAll("world"), window: data.get("window"), by: data.get("by"), tz: data.get("tz") };
}

function restore(found) {
  worlds = found;
  const wanted = new URLSearchParams(location.search);
  checkWorlds(form, worlds, wanted);
  check(form, "window", [WINDOWS.includes(wanted.get("window")) ? wanted.get("window") : "28d"]);
  const apart = form.elements.by;
  apart.value = [...apart.options].some((option) => option.value === wanted.get("by")) ? wanted.get("by") : "none";
  showZones(form.elements.tz, wanted.get("tz"));
}

function question(view, start) {
  const params = new URLSearchParams(view.worlds.map((world) => ["world", world]));
  params.set("from", start);
  params.set("tz", view.tz);
  return params;
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function points(difference) {
  return plusMinus(100 * difference, 1);
}

// ---- kinds of events ----

// What the middle span says of everybody, in a sentence.
function sentence(kind) {
  const row = kind.effects.find((each) => each.group === "all" && each.minutes === 15);
  if (!row) return "";
  const shares = `Within ${row.minutes} minutes ${percent(row.share)} of those online log off, and ${percent(row.control_share)} otherwise`;
  if (row.low === null) return `${shares}; these are too few events to tell more.`;
  if (row.verdict === "no difference found") return `${shares}: no difference found.`;
  return `${shares}: ${Math.abs(100 * row.difference).toFixed(1)} points ${row.verdict} (${points(row.low)} to ${points(row.high)}).`;
}

function table(rows, head) {
  const heads = [`${head} (events)`, "within", "log off", "otherwise", "difference", "95 %", ""];
  let before = null;
  return element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", {}, head)))),
    element("tbody", {}, ...rows.map((row) => {
      const first = row.of !== before;
      before = row.of;
      const sure = row.verdict === "more" || row.verdict === "fewer";
      return element("tr", { class: sure ? "sure" : "" },
        element("td", {}, first ? `${row.of} (${row.n.toLocaleString()})` : ""),
        element("td", {}, `${row.minutes} min`),
        element("td", {}, percent(row.share)),
        element("td", {}, percent(row.control_share)),
        element("td", {}, signed(100 * row.difference, 1)),
        element("td", {}, row.low === null ? "" : `${points(row.low)} to ${points(row.high)}`),
        element("td", { class: "words" }, row.verdict.replace(" found", "")));
    })));
}

async function showKind(kind, mine) {
  const id = `kind-${kind.event}`;
  let box = document.getElementById(id);
  if (!box) {
    box = element("section", { class: "card", id },
      element("header", {}, element("h2", {}, kind.title)),
      element("p", { class: "sentence" }),
      element("p", { class: "statement" }),
      element("div", { class: "pair told" },
        element("div", {}, element("div", { class: "compare" }), element("div", { class: "chart difference", role: "img" })),
        element("div", { class: "chart curve", role: "img" })),
      element("div", { class: "pair told parts" },
        element("div", { class: "compare" }), element("div", { class: "chart parts_difference", role: "img" })));
    cards.append(box);
  }
  box.querySelector(".sentence").textContent = sentence(kind);
  box.querySelector(".statement").textContent = `${kind.count[0].toUpperCase()}${kind.count.slice(1)}.`;
  box.querySelector(".compare").replaceChildren(...(kind.effects.length ? [table(kind.effects, "who")] : []));
  const parts = box.querySelector(".parts");
  parts.hidden = !kind.parts.length;
  parts.querySelector(".compare").replaceChildren(...(kind.parts.length ? [table(kind.parts, "everybody")] : []));
  for (const [name, label] of [["difference", "How much more log off than otherwise"], ["curve", "People around the event"],
    ["parts_difference", "How much more log off than otherwise, told apart"]]) {
    const place = box.querySelector(`.${name}`);
    place.hidden = !kind[name];
    if (kind[name] && mine === round) await draw(place, kind[name], `${kind.title}: ${label}`);
  }
}

// ---- alerts ----

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Without an end, it runs or nobody saw its end; no alert lasts three hours.
function runs(alert) {
  return alert.start !== null && Date.now() - Date.parse(alert.start) < 3 * 3_600_000;
}

// The people around one alert; where it was not recorded, the line breaks.
function small(alert) {
  const { width, height } = LENGTH;
  const from = Date.parse(alert.people_from);
  const known = alert.people.filter((people) => people !== null);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "small", role: "img", "aria-label": known.length ? `between ${Math.min(...known)} and ${Math.max(...known)} people` : "not recorded" });
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

function showAlerts(alerts, zone) {
  const box = document.getElementById("alerts");
  box.hidden = false;
  const names = new Map(worlds.map((world) => [world.world_id, world.name]));
  const when = dayClock(zone);
  const shown = (people) => (people === null ? "–" : people.toLocaleString());
  const rows = [...alerts].reverse().map((alert) => {
    const won = alert.end === null ? (runs(alert) ? "still running" : "end not seen") : alert.canceled ? "called off" : alert.winner
      ? `${empireName(alert.winner)}${alert.lock_id ? ", continent locked" : ""}` : "nobody";
    return element("tr", {},
      element("td", {}, alert.start ? when.format(new Date(alert.start)) : "start not seen"),
      element("td", {}, names.get(alert.world_id) || String(alert.world_id)),
      element("td", { class: "words" }, alert.name),
      element("td", { class: "words" }, element("span", { class: `empire f${alert.winner || 0}` }, won)),
      element("td", {}, shown(alert.people_at_start)),
      element("td", {}, shown(alert.people_at_end)),
      element("td", {}, shown(alert.people_later)),
      element("td", {}, small(alert)));
  });
  const heads = [["start"], ["world"], ["alert", "words"], ["won by", "words"], ["at start"], ["at end"], ["30 min later"], ["people", "words"]];
  box.querySelector(".compare").replaceChildren(rows.length
    ? element("table", {}, element("thead", {}, element("tr", {}, ...heads.map(([head, kind]) => element("th", { class: kind || "" }, head)))), element("tbody", {}, ...rows))
    : element("p", { class: "statement" }, "None in the last three days."));
}

// ---- all of it ----

async function show() {
  const mine = ++round;
  const view = chosen();
  const address = new URLSearchParams(view.worlds.map((world) => ["world", world]));
  address.set("window", view.window);
  if (view.by !== "none") address.set("by", view.by);
  address.set("tz", view.tz);
  history.replaceState(null, "", `?${address}`);
  const asked = question(view, `-${view.window}`);
  asked.set("by", view.by);
  offer("effect", asked, { pictures: "effect" });
  if (!view.worlds.length) {
    statusLine.textContent = "Choose a world.";
    return;
  }
  statusLine.textContent = "Counting who left…";
  document.body.classList.add("waiting");
  try {
    const listed = ask("alerts", new URLSearchParams([...question(view, LISTED), ["people", "yes"]]));
    const charts = new URLSearchParams(asked);
    charts.set("theme", dark.matches ? "dark" : "light");
    const [answer, alerts] = await Promise.all([ask("effect/charts", charts), listed]);
    if (mine !== round) return;
    for (const kind of answer.kinds) await showKind(kind, mine);
    showAlerts(alerts.alerts, view.tz);
    statusLine.textContent = `Times are those of ${view.tz}.`;
  } catch (error) {
    if (mine === round) statusLine.textContent = `This can't be shown: ${error.message}`;
  } finally {
    if (mine === round) document.body.classList.remove("waiting");
  }
  document.body.dataset.shown = String(mine);
}

begin(form, statusLine, restore, show);
