// Rising or falling: what is chosen is in the address, each world is a card, and a card is one answer of the API.
// Names come from outside and only ever become text, never markup.

import { attachCells, detachCells } from "./cells.js";
import { ask, begin, check, checkWorlds, clock, dark, draw, element, erase, offer, offerAlso, plusMinus, showZones, signed } from "./shared.js";

const SPANS = ["4", "8", "26", "52"];
const MOST = 4; // worlds that are shown where none is chosen
const DAYS = ["mean", "peak"]; // what the calendar shows
const WEEKDAYS = { Mon: "Monday", Tue: "Tuesday", Wed: "Wednesday", Thu: "Thursday", Fri: "Friday", Sat: "Saturday", Sun: "Sunday" };
// Each chart's title, and of cells the field of their column and what one says.
const CHARTS = [
  { name: "weeks", title: "Week by week" },
  { name: "calendar", title: "Day by day", across: "week", told: toldDay },
  { name: "hours", title: "The week hour by hour", across: "hour", told: toldHour },
  { name: "change", title: "Against as many weeks before", across: "hour", told: toldHour },
];
const NAMES = { 1: "VS", 2: "NC", 3: "TR", 4: "NSO", 0: "unknown", null: "all" };

const form = document.getElementById("controls");
const cards = document.getElementById("cards");
const statusLine = document.getElementById("status");

let worlds = [];
let round = 0; // answers of an earlier round than the latest are thrown away

function chosen() {
  const data = new FormData(form);
  const { to } = form.elements;
  return { worlds: data.getAll("world"), weeks: data.get("weeks"), days: data.get("days"), to: to.validity.valid ? to.value : "", tz: data.get("tz") };
}

function restore(found) {
  worlds = found;
  const wanted = new URLSearchParams(location.search);
  checkWorlds(form, worlds, wanted, MOST);
  check(form, "weeks", [SPANS.includes(wanted.get("weeks")) ? wanted.get("weeks") : "8"]);
  check(form, "days", [DAYS.includes(wanted.get("days")) ? wanted.get("days") : "mean"]);
  form.elements.to.value = wanted.get("to") || "";
  showZones(form.elements.tz, wanted.get("tz"));
}

function address(view) {
  const params = new URLSearchParams(view.worlds.map((world) => ["world", world]));
  params.set("weeks", view.weeks);
  if (view.to) params.set("to", view.to);
  params.set("tz", view.tz);
  return params;
}

// The same with what concerns drawings alone.
function drawnAddress(view) {
  const params = address(view);
  if (view.days !== "mean") params.set("days", view.days);
  return params;
}

function toldDay(day) {
  if (day.mean === null) return { head: day.date, values: [["not recorded", ""]] };
  return { head: day.date, values: [["on average", day.mean.toFixed(1)], ["at most", day.peak.toLocaleString("en")], ["recorded", `${day.share.toFixed(1)} %`]] };
}

function toldHour(hour) {
  const shown = (value) => (value === null ? "not recorded" : value.toFixed(1));
  const difference = hour.change === null ? [] : [["difference", plusMinus(hour.change, 1)]];
  return { head: `${WEEKDAYS[hour.day]}, ${String(hour.hour).padStart(2, "0")}:00`, values: [["now", shown(hour.mean)], ["before", shown(hour.before)], ...difference] };
}

function sentence(trends) {
  const all = trends[trends.length - 1];
  const share = all.weeks.reduce((sum, week) => sum + week.share, 0) / all.weeks.length;
  const recorded = `${(100 * share).toFixed(1)} % of it is recorded`;
  if (all.per_week === null) return `There are too few weeks for a trend; ${recorded}.`;
  const range = `${plusMinus(all.low, 1)} to ${plusMinus(all.high, 1)}`;
  if (all.verdict === "no trend found") return `No trend found: ${plusMinus(all.per_week, 1)} people a week (${range}); ${recorded}.`;
  return `${all.verdict === "rising" ? "Rising" : "Falling"} by ${Math.abs(all.per_week).toFixed(1)} people a week (${range}); ${recorded}.`;
}

function table(trends) {
  const heads = ["empire", "first week", "last week", "peak", "a week", "95 %", ""];
  const kinds = { "first week": "mean", "last week": "mean" }; // which a phone has no room for
  const shown = (value) => (value === null ? "–" : value.toFixed(1));
  return element("table", { class: "numbers" },
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { class: kinds[head] || "" }, head)))),
    element("tbody", {}, ...trends.map((each) => {
      const peaks = each.weeks.map((week) => week.peak).filter((peak) => peak !== null);
      return element("tr", { class: each.verdict === "rising" || each.verdict === "falling" ? "sure" : "" },
        element("td", {}, element("span", { class: `empire f${each.faction_id === null ? "all" : each.faction_id}` }, NAMES[each.faction_id])),
        element("td", { class: "mean" }, shown(each.weeks[0].mean)),
        element("td", { class: "mean" }, shown(each.weeks[each.weeks.length - 1].mean)),
        element("td", {}, peaks.length ? Math.max(...peaks).toLocaleString() : "–"),
        element("td", {}, each.per_week === null ? "" : signed(each.per_week, 1)),
        element("td", {}, each.low === null ? "" : `${plusMinus(each.low, 1)} to ${plusMinus(each.high, 1)}`),
        element("td", { class: "words" }, each.verdict));
    })));
}

function card(world) {
  const id = `world-${world.world_id}`;
  let box = document.getElementById(id);
  if (!box) {
    box = element("section", { class: "card", id },
      element("header", {}, element("h2", {}, world.name)),
      element("p", { class: "sentence" }),
      element("div", { class: "compare" }),
      element("div", { class: "pair" }, ...CHARTS.map(({ name, title }) =>
        element("div", {}, element("h3", {}, title),
          element("div", { class: "cells" }, element("div", { class: `chart ${name}`, role: "img" })),
          ...(name === "weeks" ? [element("div", { class: "notes" })] : []),
          ...(name === "calendar" ? [element("p", { class: "statement missing" })] : [])))));
    cards.append(box);
  }
  return box;
}

async function showChart(place, { name, title, across, told }, spec, view, world) {
  const said = name === "calendar" ? `${title}, people ${view.days === "peak" ? "at most" : "on average"}` : title;
  place.parentNode.previousSibling.textContent = said;
  if (!spec) {
    erase(place);
    detachCells(place.parentNode);
    place.append(element("p", { class: "statement" }, "Too little was recorded before."));
    return;
  }
  const drawn = await draw(place, spec, `${world.name}: ${said}${told ? "; arrow keys go from cell to cell" : ""}`);
  if (drawn && told) attachCells(place.parentNode, drawn.view, spec.data.values, across, told);
}

async function showWorld(world, view, mine) {
  const box = card(world);
  box.classList.add("waiting");
  try {
    const params = drawnAddress({ ...view, worlds: [world.world_id] });
    params.set("theme", dark.matches ? "dark" : "light");
    const answer = await ask("trends/charts", params);
    if (mine !== round) return;
    box.querySelector(".sentence").textContent = sentence(answer.trends);
    box.querySelector(".compare").replaceChildren(table(answer.trends));
    const day = clock(view.tz, { day: "numeric", month: "short", year: "numeric" });
    box.querySelector(".notes").replaceChildren(...answer.notes.map((note) =>
      element("p", { class: "statement" }, `Note, ${day.format(new Date(note.at))}: ${note.text}`)));
    box.querySelector(".missing").textContent = answer.missing;
    for (const chart of CHARTS) if (mine === round) await showChart(box.querySelector(`.${chart.name}`), chart, answer[chart.name], view, world);
  } catch (error) {
    if (mine !== round) return;
    box.querySelector(".sentence").replaceChildren(element("span", { class: "problem" }, `This can't be shown: ${error.message}`));
    box.querySelector(".compare").replaceChildren();
    box.querySelector(".notes").replaceChildren();
    box.querySelector(".missing").textContent = "";
    for (const place of box.querySelectorAll(".chart")) {
      erase(place);
      detachCells(place.parentNode);
    }
  } finally {
    box.classList.remove("waiting");
  }
}

async function show() {
  const mine = ++round;
  const view = chosen();
  history.replaceState(null, "", `?${drawnAddress(view)}`);
  offer("trends", address(view), { pictures: "trends", drawn: drawnAddress(view) });
  for (const [id, said] of [["days", "The days as"], ["hours", "The hours of the week as"]]) {
    offerAlso(`taken-${id}`, said, { JSON: `trends/${id}?${address(view)}`, CSV: `trends/${id}?${address(view)}&format=csv` });
  }
  const picked = worlds.filter((world) => view.worlds.includes(String(world.world_id)));
  for (const box of [...cards.children]) if (!picked.some((world) => box.id === `world-${world.world_id}`)) box.remove();
  for (const world of picked) cards.append(card(world)); // in the order of the list
  if (!picked.length) {
    statusLine.textContent = "Choose a world.";
    return;
  }
  statusLine.textContent = "Counting the weeks…";
  await Promise.all(picked.map((world) => showWorld(world, view, mine)));
  if (mine !== round) return;
  statusLine.textContent = `Days are those of ${view.tz}.`;
  document.body.dataset.shown = String(mine);
}

begin(form, statusLine, restore, show);
