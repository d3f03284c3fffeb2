// What alerts and locks do: what is chosen is in the address; a card for each kind of event, and below them the alerts one by one.
// Names come from outside and only ever become text, never markup.

import { hideAlerts, listAlerts, listedDay, restoreDay } from "./alerts.js";
import { ask, begin, checkWorlds, dark, draw, element, erase, offer, offerAlso, plusMinus, signed, showZones } from "./shared.js";
import { chosenWindow, fillWindow, restoreWindow, windowAddress } from "./windows.js";

const WINDOWS = ["14d", "28d", "91d", "365d"];

const form = document.getElementById("controls");
const cards = document.getElementById("cards");
const statusLine = document.getElementById("status");

let worlds = [];
let round = 0; // answers of an earlier round than the latest are thrown away

function chosen() {
  const data = new FormData(form);
  return { worlds: data.getAll("world"), ...chosenWindow(form), by: data.get("by"), tz: data.get("tz") };
}

function restore(found) {
  worlds = found;
  const wanted = new URLSearchParams(location.search);
  checkWorlds(form, worlds, wanted);
  restoreWindow(form, wanted, WINDOWS, "28d");
  const apart = form.elements.by;
  apart.value = [...apart.options].some((option) => option.value === wanted.get("by")) ? wanted.get("by") : "none";
  showZones(form.elements.tz, wanted.get("tz"));
  restoreDay(wanted.get("day"));
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

function table(head, rows) {
  const heads = [[`${head} (events)`], ["within"], ["log off", "mean"], ["otherwise", "mean"], ["difference"], ["95 %"], ["", "mean"]];
  return element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map(([head, kind]) => element("th", { class: kind || "" }, head)))),
    element("tbody", {}, ...rows));
}

// The spans of one group, of which the first has the label.
function spans(rows, label) {
  return rows.map((row, place) => element("tr", { class: row.verdict === "more" || row.verdict === "fewer" ? "sure" : "" },
    element("td", {}, place ? "" : label),
    element("td", {}, `${row.minutes} min`),
    element("td", { class: "mean" }, percent(row.share)),
    element("td", { class: "mean" }, percent(row.control_share)),
    element("td", {}, signed(100 * row.difference, 1)),
    element("td", {}, row.low === null ? "" : `${points(row.low)} to ${points(row.high)}`),
    element("td", { class: "words mean" }, row.verdict.replace(" found", ""))));
}

// The rows by what one of their fields is, in order.
function grouped(rows, field) {
  return [...new Set(rows.map((row) => row[field]))].map((value) => [value, rows.filter((row) => row[field] === value)]);
}

const counted = (label, rows) => `${label} (${rows[0].n.toLocaleString()})`;

// What events are told apart by, for everybody; each opens to show its groups, and stays open when it is shown again.
function parts(box, rows) {
  const open = new Set([...box.querySelectorAll("details[open]")].map((each) => each.dataset.of));
  return table("everybody", grouped(rows, "of").flatMap(([of, told]) => {
    const [[, whole], ...groups] = grouped(told, "who"); // everybody is the first
    const inside = groups.flatMap(([who, row]) => spans(row, counted(who, row)));
    const details = element("details", { "data-of": of }, element("summary", {}, counted(of, whole)));
    const show = () => {
      for (const row of inside) row.hidden = !details.open;
    };
    for (const row of inside) row.classList.add("inside");
    details.open = open.has(of);
    details.addEventListener("toggle", show);
    show();
    return [...spans(whole, inside.length ? details : counted(of, whole)), ...inside];
  }));
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
  box.querySelector(".compare").replaceChildren(...(kind.effects.length
    ? [table("who", grouped(kind.effects, "of").flatMap(([of, rows]) => spans(rows, counted(of, rows))))] : []));
  const apart = box.querySelector(".parts");
  apart.hidden = !kind.parts.length;
  apart.querySelector(".compare").replaceChildren(...(kind.parts.length ? [parts(apart, kind.parts)] : []));
  for (const [name, label] of [["difference", "How much more log off than otherwise"], ["curve", "People around the event"],
    ["parts_difference", "How much more log off than otherwise, told apart"]]) {
    const place = box.querySelector(`.${name}`);
    place.hidden = !kind[name];
    if (kind[name] && mine === round) await draw(place, kind[name], `${kind.title}: ${label}`);
  }
}

// ---- all of it ----

async function show() {
  const mine = ++round;
  const view = chosen();
  if (!view.whole) return;
  const ofWorlds = view.worlds.map((world) => ["world", world]);
  const address = new URLSearchParams([...ofWorlds, ...windowAddress(view)]);
  if (view.by !== "none") address.set("by", view.by);
  address.set("tz", view.tz);
  if (listedDay() !== null) address.set("day", listedDay());
  history.replaceState(null, "", `?${address}`);
  const asked = new URLSearchParams([...ofWorlds, ["from", view.from], ["to", view.to], ["tz", view.tz], ["by", view.by]]);
  offer("effect", asked, { pictures: "effect" });
  offerAlso("curves", "The curves as", { JSON: `effect/curves?${asked}`, CSV: `effect/curves?${asked}&format=csv` });
  if (!view.worlds.length) {
    statusLine.textContent = "Choose a world.";
    return;
  }
  statusLine.textContent = "Counting who left…";
  document.body.classList.add("waiting");
  try {
    const charts = new URLSearchParams(asked);
    charts.set("theme", dark.matches ? "dark" : "light");
    const answer = await ask("effect/charts", charts);
    if (mine !== round) return;
    // Its window, since that of the server's clock is the one that the alerts are of.
    const listed = listAlerts({ worlds: view.worlds, start: Date.parse(answer.from), end: Date.parse(answer.to), tz: view.tz }, worlds);
    for (const kind of answer.kinds) await showKind(kind, mine);
    await listed;
    if (mine === round) statusLine.textContent = `Times are those of ${view.tz}.`;
  } catch (error) {
    if (mine !== round) return;
    statusLine.textContent = `This can't be shown: ${error.message}`;
    for (const chart of cards.querySelectorAll(".chart")) erase(chart);
    cards.replaceChildren();
    hideAlerts();
  } finally {
    if (mine === round) document.body.classList.remove("waiting");
  }
  document.body.dataset.shown = String(mine);
}

function pick(event) {
  fillWindow(form, event, chosen().tz);
  show();
}

begin(form, statusLine, restore, show, pick);
