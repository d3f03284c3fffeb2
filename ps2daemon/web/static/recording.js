// What is recorded, and how the recorder is: one answer of the API.
// Names and reasons come from outside and only ever become text, never markup.

import { ask, begin, clock, dayClock, element, keepFresh, offer, showZones, spanOf, spanText } from "./shared.js";
import { drawn } from "./spark.js";
import { chosenWindow, fillWindow, restoreWindow, windowAddress } from "./windows.js";

const WINDOWS = ["24h", "7d", "28d", "365d"];
const WIDTH = 1000;
const LISTED = 50;
const DOES = {
  subscriber: "listens to the game’s stream",
  enricher: "names the characters",
  writer: "puts it into the store",
  reconciler: "checks who is still online",
};

const form = document.getElementById("controls");
const statusLine = document.getElementById("status");

let round = 0; // answers of an earlier round than the latest are thrown away

function restore() {
  const wanted = new URLSearchParams(location.search);
  restoreWindow(form, wanted, WINDOWS, "7d");
  showZones(form.elements.tz, wanted.get("tz"));
}

function percent(share) {
  if (share === 1 || share === 0) return `${100 * share} %`;
  return `${(Math.floor(share * 10000) / 100).toFixed(2)} %`; // never rounded up to all of it
}

// ---- coverage ----

const gapOf = (gap) => ({ start: Date.parse(gap.from), end: Date.parse(gap.to) });

function said(gap, when) {
  const { start, end } = gapOf(gap);
  if (gap.pending) return `Since ${when.format(start)}: ${gap.reason}`;
  return `${spanText({ start, end }, when)} (${spanOf(end - start)}): ${gap.reason}`;
}

function timeline(world, answer, when) {
  const [start, end] = [Date.parse(answer.from), Date.parse(answer.to)];
  const x = (at) => ((at - start) / (end - start)) * WIDTH;
  const svg = drawn("svg", { class: "timeline", viewBox: `0 0 ${WIDTH} 28`, preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(drawn("rect", { class: "ground", x: 0, y: 6, width: WIDTH, height: 16 }));
  for (const span of world.covered) {
    const [left, right] = [x(Date.parse(span.from)), x(Date.parse(span.to))];
    svg.append(drawn("rect", { class: "covered", x: left, y: 6, width: right - left, height: 16 }));
  }
  for (const gap of world.unrecorded.filter((gap) => !before(gap))) {
    const [left, right] = [x(Date.parse(gap.from)), x(Date.parse(gap.to))];
    const width = Math.max(3, right - left); // short ones are seen, and hit, too
    svg.append(drawn("rect", { class: "hole", x: Math.min(left, WIDTH - width), y: 0, width, height: 28 }, said(gap, when)));
  }
  return svg;
}

const before = (gap) => gap.reason === "nothing was recorded before" || gap.reason === "it has never been recorded";

function coverageRow(world, answer, when, open) {
  const gaps = world.unrecorded.filter((gap) => !before(gap)).reverse();
  const earlier = world.unrecorded.find(before);
  const number = world.gaps - world.unrecorded.length + gaps.length;
  const parts = [number ? `${number} ${number === 1 ? "gap" : "gaps"}` : "no gap"];
  if (earlier) parts.push(Date.parse(earlier.to) >= Date.parse(answer.to) ? "never recorded in this time" : `recorded since ${when.format(new Date(earlier.to))}`);
  const list = gaps.slice(0, LISTED).map((gap) => element("li", {}, said(gap, when)));
  if (number > LISTED) list.push(element("li", {}, `and ${number - LISTED} before that`));
  const details = element("details", { "data-world": world.world_id }, element("summary", {}, parts.join(", ")), element("ul", {}, ...list));
  details.open = open;
  return element("div", { class: "covered-world", id: `world-${world.world_id}` },
    element("h3", {}, world.name), element("b", { class: "share" }, percent(world.share)),
    timeline(world, answer, when),
    gaps.length ? details : element("p", { class: "statement" }, parts.join(", ")));
}

function showCoverage(answer, when) {
  const box = document.querySelector("#coverage > div");
  const open = new Set([...box.querySelectorAll("details[open]")].map((each) => each.dataset.world));
  if (!answer.worlds.length) box.replaceChildren(element("p", { class: "statement" }, "Nothing is recorded yet."));
  else box.replaceChildren(
    ...answer.worlds.map((world) => coverageRow(world, answer, when, open.has(String(world.world_id)))),
    element("p", { class: "ends" }, element("span", {}, when.format(new Date(answer.from))), element("span", {}, when.format(new Date(answer.to)))));
  document.getElementById("coverage").hidden = false;
}

// ---- the daemon ----

function verdict(daemon) {
  const stages = daemon.stages;
  const missing = stages.filter((stage) => stage.state === "not running");
  if (missing.length === stages.length) return ["problem", "Not running.", " No recorder answers on this machine; nothing new is being recorded by it."];
  if (missing.length) return ["problem", "Partly running.", ` Nothing answers for the ${missing.map((stage) => stage.name).join(", ")}.`];
  const wrong = stages.filter((stage) => !stage.ready);
  if (wrong.length) return ["problem", "Running, with a problem.", ` Look at the ${wrong.map((stage) => stage.name).join(", ")}.`];
  return ["fine", "Running.", " All its stages do what they are for."];
}

function stages(daemon) {
  const heads = ["stage", "state", "restarts", "last progress"];
  return element("table", { class: "stages" },
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...daemon.stages.map((stage) => element("tr", { class: stage.ready ? "" : "problem" },
      element("th", { scope: "row" }, stage.name, element("small", {}, DOES[stage.name] || "")),
      element("td", {}, `${stage.ready ? "✓" : "!"} ${stage.state}`, stage.why ? element("small", {}, stage.why) : ""),
      element("td", {}, stage.restarts === null ? "–" : stage.restarts.toLocaleString("en")),
      element("td", {}, stage.idle_s === null ? "–" : `${spanOf(stage.idle_s * 1000)} ago`)))));
}

function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  let size = number;
  while (size >= 1000 && place < units.length - 1) {
    size /= 1000;
    place += 1;
  }
  return `${size.toFixed(place && size < 100 ? 1 : 0)} ${units[place]}`;
}

function facts(answer, when) {
  const { daemon, store } = answer;
  const { queue, dead_letters: letters } = daemon;
  const rows = [];
  if (queue.error) rows.push(["Queue", queue.error]);
  else {
    const share = queue.max_bytes ? ` (${((100 * queue.bytes) / queue.max_bytes).toFixed(1)} %)` : "";
    rows.push(["Queue", `${queue.records.toLocaleString("en")} records wait, ${bytes(queue.bytes)} of ${bytes(queue.max_bytes)}${share}`]);
    rows.push(["Store", queue.oldest_at === null ? "up to date: nothing waits for it" : `${spanOf(1000 * store.behind_s)} behind: the oldest record that waits is of ${when.format(new Date(queue.oldest_at))}`]);
  }
  rows.push(["Stored up to", store.records_until === null ? "nothing yet" : when.format(new Date(store.records_until))]);
  rows.push(["Dead letters", letters.error || (letters.count ? letters.count.toLocaleString("en") : "none")]);
  const latest = letters.latest || [];
  return [
    element("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
    latest.length ? element("h3", {}, "The latest dead letters") : "",
    latest.length ? element("ul", { class: "letters" }, ...latest.map((each) => element("li", {}, `${when.format(new Date(each.at))}: ${each.reason}`))) : "",
  ];
}

function showDaemon(answer, when) {
  const box = document.querySelector("#daemon > div");
  document.getElementById("daemon").hidden = answer.daemon === null;
  if (answer.daemon === null) return "";
  const [kind, head, rest] = verdict(answer.daemon);
  box.replaceChildren(
    element("p", { class: `verdict ${kind}` }, element("b", {}, head), rest),
    element("div", { class: "columns" }, stages(answer.daemon), element("div", {}, ...facts(answer, when))));
  return `The recorder: ${head.toLowerCase()}`;
}

async function show() {
  const mine = ++round;
  const view = chosenWindow(form);
  if (!view.whole) return;
  const tz = form.elements.tz.value;
  const when = view.window === "365d" || view.window === "custom" ? clock(tz, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" }) : dayClock(tz);
  history.replaceState(null, "", `?${new URLSearchParams([...windowAddress(view), ["tz", tz]])}`);
  const question = new URLSearchParams({ from: view.from, to: view.to, tz });
  offer("recording", question, { pictures: "coverage" });
  try {
    const answer = await ask("recording", question);
    if (mine !== round) return;
    showCoverage(answer, when);
    document.body.classList.remove("lost");
    statusLine.textContent = showDaemon(answer, when) || `Times are those of ${tz}.`;
  } catch (error) {
    if (mine !== round) return;
    const refused = error.status === 400; // a window that can't be
    document.body.classList.toggle("lost", !refused);
    if (refused) document.getElementById("coverage").hidden = true;
    statusLine.textContent = refused ? `This can't be shown: ${error.message}` : `The server can't be reached: ${error.message}. What is shown is old; this page tries again each minute.`;
  }
  document.body.dataset.shown = String(mine);
}

function pick(event) {
  fillWindow(form, event, form.elements.tz.value);
  show();
}

await begin(form, statusLine, restore, show, pick);
keepFresh(show, () => round);
