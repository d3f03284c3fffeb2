// What alerts and locks do: what is chosen is in the address; a card for each kind of event, and below them the alerts one by one.
// Names come from outside and only ever become text, never markup.

import { hideAlerts, listAlerts, listedDay, restoreDay } from "./alerts.js";
import { ask, begin, checkWorlds, dark, draw, element, erase, offer, plusMinus, signed, showZones } from "./shared.js";
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
