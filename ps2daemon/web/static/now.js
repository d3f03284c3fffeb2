// Who is online now: one answer of the API, a card for each world and one for all of them together.
// Names come from outside and only ever become text, never markup.

import { ask, begin, clock, dayClock, element, keepFresh, offer, plusMinus, showZones, signed, spanOf } from "./shared.js";
import { sparkline } from "./spark.js";

const AGO = { 1: "a day ago", 7: "a week ago" };
const SINCE = { 1: "day", 7: "week" };

const form = document.getElementById("controls");
const statusLine = document.getElementById("status");
const overall = document.getElementById("overall");
const each = document.getElementById("each");

let round = 0; // answers of an earlier round than the latest are thrown away

function restore() {
  showZones(form.elements.tz, new URLSearchParams(location.search).get("tz"));
}

// Of one empire against the same time before: signed, and only where that was recorded.
function since(one, told) {
  return told.ago.filter((ago) => ago.people !== null).map((ago) => {
    const then = ago.online.find((each) => each.faction_id === one.faction_id)?.people ?? 0;
    const title = `${one.label}: ${one.people.toLocaleString("en")} now, ${then.toLocaleString("en")} ${AGO[ago.days]}`;
    return element("small", { class: "since", title }, `${SINCE[ago.days]} ${plusMinus(one.people - then, 0)}`);
  });
}

function shares(told) {
  const { online } = told;
  const all = online.reduce((sum, one) => sum + one.people, 0);
  const bar = element("div", { class: "shares", "aria-hidden": "true" });
  for (const one of online.filter((one) => one.people)) {
    const part = element("i", { class: `f${one.faction_id}` });
    part.style.flexGrow = one.people;
    bar.append(part);
  }
  const list = element("ul", { class: "empires" }, ...online.map((one) =>
    element("li", {},
      element("span", { class: `empire f${one.faction_id}` }, one.label),
      element("b", {}, one.people.toLocaleString("en")),
      element("small", {}, all ? `${Math.round((100 * one.people) / all)} %` : ""),
      ...since(one, told))));
  return [bar, list];
}

function changes(told, zone) {
  return element("table", { class: "changes" }, element("tbody", {}, ...told.ago.map((ago) => {
    const known = ago.people !== null;
    const title = ago.at === null ? "" : dayClock(zone).format(new Date(ago.at));
    const percent = known && ago.people ? signed((100 * (told.people - ago.people)) / ago.people, 0).replace(/^[▲▼] /, "") : "";
    return element("tr", { title },
      element("th", { scope: "row" }, AGO[ago.days]),
      ...(known
        ? [element("td", {}, ago.people.toLocaleString("en")),
          element("td", { class: "change" }, signed(told.people - ago.people, 0)),
          element("td", {}, percent && `${percent} %`)]
        : [element("td", { colspan: "3", class: "none" }, ago.at === null ? "the clock skipped that time" : "not recorded then")]));
  })));
}

function recording(world, now, zone) {
  if (world.state === "never") return element("p", { class: "recording problem" }, "Never recorded.");
  const until = new Date(world.recorded_until);
  if (world.state === "recorded") {
    return element("p", { class: "recording" }, `Recorded up to ${clock(zone, { hour: "2-digit", minute: "2-digit" }).format(until)}`);
  }
  const since = `${dayClock(zone).format(until)}, ${spanOf(now - until)} ago`;
  const why = world.state === "gap" ? "Others are recorded; this one is not." : "Later records may wait in the queue.";
  return element("p", { class: "recording problem" },
    element("b", {}, "Not up to date."), ` The numbers are of ${since}. ${why}`);
}

function alertsOf(world, now) {
  const current = world.state === "recorded";
  return world.alerts.map((alert) => element("p", { class: "alert" },
    element("b", {}, current ? "Alert" : "Alert then"), ` ${alert.name}`,
    alert.zone ? `, ${alert.zone}` : "",
    current ? element("span", {}, ` for ${spanOf(now - new Date(alert.start))}`) : ""));
}

function worldCard(world, answer, zone) {
  const id = `world-${world.world_id}`;
  const box = document.getElementById(id) || element("section", { class: "card", id });
  const now = Date.parse(answer.now);
  const address = new URLSearchParams({ world: world.world_id, window: "24h", tz: zone });
  // A link that has the focus keeps it from one minute to the next.
  const link = box.querySelector("h2 a") || element("a", {}, world.name);
  link.href = `/history?${address}`;
  const head = box.querySelector("header") || element("header", {}, element("h2", {}, link), element("p", { class: "people" }));
  head.querySelector(".people").replaceChildren(
    world.people === null ? "–" : element("b", {}, world.people.toLocaleString("en")), world.people === null ? "" : world.state === "recorded" ? " online" : " online then");
  if (!head.parentNode) box.append(head);
  for (const old of [...box.children]) if (old !== head) old.remove();
  box.classList.toggle("stale", world.state !== "recorded");
  if (world.state !== "recorded") box.append(recording(world, now, zone));
  if (world.people !== null) {
    box.append(...shares(world), changes(world, zone), sparkline(answer, world, zone), ...alertsOf(world, now));
  }
  if (world.state === "recorded") box.append(recording(world, now, zone));
  return box;
}

function showTogether(answer, zone) {
  const together = answer.together;
  overall.hidden = together === null;
  if (together === null) return;
  const count = together.worlds.length;
  const left = answer.worlds.length - count;
  const where = `online on ${count === 1 ? "one world" : `${count} worlds`} at ${clock(zone, { hour: "2-digit", minute: "2-digit" }).format(new Date(together.at))}`;
  overall.replaceChildren(
    element("div", {},
      element("p", { class: "people" }, element("b", {}, together.people.toLocaleString("en")), ` ${where}`),
      left ? element("p", { class: "recording problem" }, `${left === 1 ? "One world is" : `${left} worlds are`} not up to date and left out.`) : "",
      changes(together, zone)),
    element("div", {}, ...shares(together)),
    sparkline(answer, together, zone));
}

async function show() {
  const mine = ++round;
  const zone = form.elements.tz.value;
  const address = new URLSearchParams({ tz: zone });
  history.replaceState(null, "", `?${address}`);
  offer("overview", address, { pictures: "overview" });
  try {
    const answer = await ask("overview", address);
    if (mine !== round) return;
    showTogether(answer, zone);
    const ordered = [...answer.worlds].sort((a, b) => (a.state !== "recorded") - (b.state !== "recorded"));
    const boxes = ordered.map((world) => worldCard(world, answer, zone));
    for (const box of [...each.children]) if (!boxes.includes(box)) box.remove();
    for (const [place, box] of boxes.entries()) if (each.children[place] !== box) each.insertBefore(box, each.children[place] || null);
    document.body.classList.remove("lost");
    const behind = answer.worlds.filter((world) => world.state !== "recorded").length;
    if (!answer.worlds.length) statusLine.textContent = "Nothing is recorded yet. This page looks again in a minute.";
    else statusLine.textContent = behind ? `${behind} of ${answer.worlds.length} worlds ${behind === 1 ? "is" : "are"} not up to date.` : "Refreshed each minute.";
  } catch (error) {
    if (mine !== round) return;
    document.body.classList.add("lost");
    statusLine.textContent = `The server can't be reached: ${error.message}. These numbers are old; this page tries again each minute.`;
  }
  document.body.dataset.shown = String(mine);
}

await begin(form, statusLine, restore, show);
keepFresh(show, () => round);
