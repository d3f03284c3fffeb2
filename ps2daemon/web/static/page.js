// The page: what is chosen is in the address, each world is a card, and a card is one answer of the API.
// Names come from outside and only ever become text, never markup.

import { attachPointer } from "./pointer.js";
import { REFRESH_MS, ask, begin, check, checkWorlds, clock, dark, dayClock, draw, element, empireName, erase, keepFresh, naive, offer, showZones, signed, spanText } from "./shared.js";
import { chosenWindow, fillWindow, restoreWindow, windowAddress } from "./windows.js";
import { attachZoom } from "./zoom.js";

const WINDOWS = ["24h", "7d", "14d", "28d"];
const KEYS_TEXT = "Keys: shift with ← → reads point by point, with page up and down in leaps; g goes to the next gap, shift with g to the one before. ← → + − move and zoom the window.";
const MOST_BACK = 52; // of the API
const MOST = 4; // worlds that are shown where none is chosen
const form = document.getElementById("controls");
const cards = document.getElementById("cards");
const statusLine = document.getElementById("status");

let worlds = [];
let round = 0; // answers of an earlier round than the latest are thrown away

// ---- what is chosen ----

function chosen() {
  const data = new FormData(form);
  return {
    worlds: data.getAll("world"),
    ...chosenWindow(form),
    by: data.get("by"),
    back: String(Math.min(MOST_BACK, Math.max(1, Math.round(Number(data.get("back"))) || 1))),
    lines: data.get("lines"),
    empires: data.getAll("empire"),
    folded: data.has("nso"),
    tz: data.get("tz"),
  };
}

function restore(found) {
  worlds = found;
  const wanted = new URLSearchParams(location.search);
  checkWorlds(form, worlds, wanted, MOST);
  restoreWindow(form, wanted, WINDOWS, "24h");
  form.elements.by.value = ["day", "week"].includes(wanted.get("by")) ? wanted.get("by") : "none";
  form.elements.back.value = wanted.get("back") || "1";
  check(form, "lines", [["share", "total"].includes(wanted.get("lines")) ? wanted.get("lines") : "empires"]);
  check(form, "nso", [wanted.get("nso")]);
  const empires = wanted.getAll("empire");
  check(form, "empire", empires.length ? empires : ["vs", "nc", "tr", "nso"]);
  showZones(form.elements.tz, wanted.get("tz"));
}

function address(view) {
  const params = new URLSearchParams([...view.worlds.map((world) => ["world", world]), ...windowAddress(view)]);
  if (view.by !== "none") {
    params.set("by", view.by);
    params.set("back", view.back);
  }
  if (view.lines !== "empires") params.set("lines", view.lines);
  if (view.empires.length < 4) for (const empire of view.empires) params.append("empire", empire);
  if (view.folded) params.set("nso", "folded");
  params.set("tz", view.tz);
  return params;
}

function question(view, world) {
  const params = new URLSearchParams({ world, tz: view.tz, from: view.from, to: view.to });
  if (view.by !== "none") {
    params.set("by", view.by);
    params.set("back", view.back);
  }
  if (view.empires.length < 4) for (const empire of view.empires) params.append("empire", empire);
  params.set("lines", view.lines === "total" ? "total" : "empires");
  params.set("unit", view.lines === "share" ? "share" : "people");
  params.set("nso", view.folded ? "folded" : "apart");
  return params;
}

// ---- cards ----

function card(world) {
  const id = `world-${world.world_id}`;
  let found = document.getElementById(id);
  if (!found) {
    found = element("section", { class: "card", id },
      element("header", {}, element("h2", {}, world.name), element("div", { class: "now" })),
      element("p", { class: "statement" }),
      element("div", { class: "plot" },
        element("div", { class: "chart", "aria-describedby": `keys-${id}` }),
        element("p", { class: "keys", id: `keys-${id}` }, KEYS_TEXT)),
      element("div", { class: "compare" }),
      element("details", { class: "happened" }, element("summary", {}), element("div", { class: "compare list" })),
      element("p", { class: "files" }, "Save the chart as ",
        ...["PNG", "SVG"].flatMap((kind) => [element("a", { class: kind.toLowerCase(), download: "" }, kind), " "])));
    cards.append(found);
  }
  return found;
}

function showNow(box, now, zone) {
  if (!now || now.at === null) {
    box.replaceChildren(element("small", {}, "nothing recorded yet"));
    return;
  }
  const named = { 1: "VS", 2: "NC", 3: "TR", 4: "NSO", 0: "unknown" };
  const stale = Date.now() - Date.parse(now.at) > 10 * REFRESH_MS;
  const time = stale ? dayClock(zone) : clock(zone, { hour: "2-digit", minute: "2-digit" });
  box.replaceChildren(
    element("span", { class: "all" }, `${now.total.toLocaleString()} online`),
    ...now.online.map((each) =>
      element("span", { class: `empire f${each.faction_id}` }, `${named[each.faction_id]} ${each.online.toLocaleString()}`)),
    element("small", {}, `at ${time.format(new Date(now.at))}`));
}

function showStatement(box, view, zone) {
  const when = dayClock(zone);
  const parts = [`${(100 * view.share).toFixed(view.share > 0.999 && view.share < 1 ? 2 : 1)} % of this window is recorded`];
  if (view.recorded_until !== null) {
    parts.push(`up to ${when.format(new Date(view.recorded_until))}`);
  }
  parts.push(`one point every ${stepText(view.step_s)}`);
  box.replaceChildren(`${parts.join(", ")}.`);
  const gaps = view.unrecorded;
  const listed = gaps.slice(-3);
  for (const gap of listed) {
    const said = gap.pending
      ? `No numbers since ${when.format(new Date(gap.start))}: ${gap.reason}.`
      : `Not recorded: ${spanText(gap, when)} (${gap.reason}).`;
    box.append(" ", element("span", { class: "gap" }, said));
  }
  const more = gaps.length - listed.length;
  if (more) box.append(` And ${more} earlier ${more === 1 ? "gap" : "gaps"}.`);
}

function stepText(seconds) {
  if (seconds % 86400 === 0) return seconds === 86400 ? "day" : `${seconds / 86400} days`;
  if (seconds % 3600 === 0) return seconds === 3600 ? "hour" : `${seconds / 3600} hours`;
  if (seconds % 60 === 0) return seconds === 60 ? "minute" : `${seconds / 60} minutes`;
  return `${seconds} seconds`;
}

function showComparisons(box, view, by) {
  const rows = view.comparisons.filter((row) => row.mean !== null);
  if (!view.comparisons.length) {
    box.replaceChildren();
    return;
  }
  if (!rows.length) {
    box.replaceChildren(element("p", { class: "statement" }, `Nothing to compare: the earlier ${by}s were not recorded.`));
    return;
  }
  const unit = view.unit === "share" ? " %" : "";
  const trend = new Map(view.trends.map((row) => [row.faction_id, row.per_period]));
  const trending = [...trend.values()].some((value) => value !== null);
  const heads = [["empire"], ["against"], ["on average", "mean"], ["then", "mean"], ["difference"], ...(unit ? [] : [["in %"]]), ...(trending ? [[`trend a ${by}`]] : [])];
  box.replaceChildren(element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map(([head, kind]) => element("th", { class: kind || "" }, head)))),
    element("tbody", {}, ...rows.map((row) => {
      const slope = trend.get(row.faction_id);
      return element("tr", {},
        element("td", {}, element("span", { class: `empire f${row.faction_id < 0 ? "all" : row.faction_id}` }, row.label)),
        element("td", {}, row.period),
        element("td", { class: "mean" }, `${row.mean.toFixed(1)}${unit}`),
        element("td", { class: "mean" }, `${row.earlier_mean.toFixed(1)}${unit}`),
        element("td", {}, signed(row.difference, 1)),
        ...(unit ? [] : [element("td", {}, row.ratio === null ? "" : `${signed(100 * (row.ratio - 1), 0)} %`)]),
        ...(trending ? [element("td", {}, row.back === 1 && slope !== null ? signed(slope, 1) : "")] : []));
    }))));
}

// What the marks in the chart are, in words: for keyboards, fingers and screen readers.
function showHappened(box, view, zone) {
  const when = dayClock(zone);
  const rows = [
    ...view.alerts.map((alert) => [alert.start, alert.unseen || alert.running ? null : alert.end, `Alert: ${alert.name}`, alert.zone ?? "",
      alert.running ? "still runs" : alert.unseen ? "end not seen" : alert.canceled ? "called off" : alert.winner ? `won by ${empireName(alert.winner)}` : ""]),
    ...view.locks.map((lock) => [lock.at, null, "Continent locked", lock.zone, lock.winner ? `by ${empireName(lock.winner)}` : ""]),
    ...view.notes.map((note) => [note.at, null, `Note: ${note.text}`, "", ""]),
  ].sort((one, other) => one[0] - other[0]);
  const time = clock(zone, { hour: "2-digit", minute: "2-digit" });
  box.hidden = !rows.length;
  box.querySelector("summary").textContent = `Alerts, locks and notes in this window (${rows.length})`;
  box.querySelector(".list").replaceChildren(element("table", {},
    element("thead", {}, element("tr", {}, ...["from", "to", "what", "where", ""].map((head) => element("th", { class: "words" }, head)))),
    element("tbody", {}, ...rows.map(([at, end, ...texts]) => element("tr", {},
      ...[when.format(new Date(at)), end === null ? "" : time.format(new Date(end)), ...texts].map((text) => element("td", { class: "words" }, text)))))));
}

async function showChart(box, answer, zone) {
  const place = box.querySelector(".chart");
  const drawn = await draw(place, answer.spec, `People online on ${answer.view.name}`);
  if (!drawn) return;
  // The drawing calls itself a document, in which keys would be those of the screen reader.
  place.setAttribute("role", "application");
  place.setAttribute("aria-roledescription", "chart");
  box.drawn = drawn;
  attachPointer(box, drawn.view, answer.view, zone);
  attachZoom(box, drawn.view, (start, end) => showWindow(start, end, zone));
}

async function showWorld(world, view, now, mine) {
  const box = card(world);
  box.classList.add("waiting");
  const params = question(view, world.world_id);
  // A picture goes to others, and so is light whatever the page is.
  for (const kind of ["png", "svg"]) box.querySelector(`a.${kind}`).href = `/api/v1/chart.${kind}?${params}`;
  params.set("theme", dark.matches ? "dark" : "light");
  try {
    const answer = await ask("chart", params);
    if (mine !== round) return;
    showNow(box.querySelector(".now"), now, view.tz);
    showStatement(box.querySelector(".statement"), answer.view, view.tz);
    showComparisons(box.querySelector(".compare"), answer.view, view.by);
    showHappened(box.querySelector(".happened"), answer.view, view.tz);
    await showChart(box.querySelector(".plot"), answer, view.tz);
  } catch (error) {
    if (mine !== round) return;
    box.querySelector(".statement").replaceChildren(element("span", { class: "problem" }, `This can't be shown: ${error.message}`));
    const plot = box.querySelector(".plot");
    erase(plot.querySelector(".chart"));
    plot.drawn = null;
    box.querySelector(".compare").replaceChildren();
    box.querySelector(".happened").hidden = true;
  } finally {
    box.classList.remove("waiting");
  }
}

async function show() {
  const mine = ++round;
  const view = chosen();
  document.getElementById("backs").hidden = view.by === "none";
  if (!view.whole) return;
  history.replaceState(null, "", `?${address(view)}`);
  const picked = worlds.filter((world) => view.worlds.includes(String(world.world_id)));
  const json = question(view, "");
  json.delete("world");
  for (const world of picked) json.append("world", world.world_id);
  offer(view.by === "none" ? "population" : "overlay", json, { pictures: "chart" });
  for (const box of [...cards.children]) if (!picked.some((world) => box.id === `world-${world.world_id}`)) box.remove();
  for (const [place, world] of picked.entries()) { // in the order of the list; a card that is moved loses the focus in it
    const box = card(world);
    if (cards.children[place] !== box) cards.insertBefore(box, cards.children[place] || null);
  }
  if (!picked.length) {
    statusLine.textContent = "Choose a world.";
    return;
  }
  try {
    const now = await ask("now", new URLSearchParams(picked.map((world) => ["world", world.world_id])));
    if (mine !== round) return;
    const byWorld = new Map(now.worlds.map((each) => [each.world_id, each]));
    await Promise.all(picked.map((world) => showWorld(world, view, byWorld.get(world.world_id), mine)));
    if (mine !== round) return;
    const total = now.worlds.reduce((sum, each) => sum + (each.total || 0), 0);
    const together = picked.length > 1 ? `${total.toLocaleString()} online on these ${picked.length} worlds. ` : "";
    statusLine.textContent = `${together}Times are those of ${view.tz}.`;
  } catch (error) {
    if (mine === round) statusLine.textContent = `The server can't be asked: ${error.message}`;
  }
  document.body.dataset.shown = String(mine);
}

// Another window on all cards: whole minutes, as the fields have them.
function showWindow(start, end, zone) {
  check(form, "window", ["custom"]);
  form.elements.from.value = naive(Math.floor(start / 60_000) * 60_000, zone);
  form.elements.to.value = naive(Math.ceil(end / 60_000) * 60_000, zone);
  show();
}

function pick(event) {
  fillWindow(form, event, chosen().tz);
  show();
}

await begin(form, statusLine, restore, show, pick);
keepFresh(show, () => worlds.length && chosen().window !== "custom");
