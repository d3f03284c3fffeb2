// What the pointer, a finger or keys show of a chart: the people at a moment, why there are none known, alerts, locks and notes.

import { dayClock, element, empireName, plusMinus, spanText } from "./shared.js";

const NEAR_PIXELS = 4;
const PERIOD_PIXELS = 160; // of a column and the difference beside it
const MOST_PERIODS = 4; // that a tip tells beside the window's own
const LEAP = 0.1; // of the window, for a key

// With shift, since the keys alone move the window (see zoom.js).
const MOVES = {
  "Shift+ArrowLeft": (stops, at) => stops.findLast((stop) => stop.at < at),
  "Shift+ArrowRight": (stops, at) => stops.find((stop) => stop.at > at),
  "Shift+PageUp": (stops, at) => stops.findLast((stop) => stop.at <= at - leap(stops)) || stops[0],
  "Shift+PageDown": (stops, at) => stops.find((stop) => stop.at >= at + leap(stops)) || stops.at(-1),
  "Shift+Home": (stops) => stops[0],
  "Shift+End": (stops) => stops.at(-1),
  g: (stops, at) => stops.find((stop) => stop.gap && stop.at > at),
  "Shift+G": (stops, at) => stops.findLast((stop) => stop.gap && stop.at < at),
};
export const KEYS = Object.keys(MOVES);

const leap = (stops) => LEAP * (stops.at(-1).at - stops[0].at);

export function attachPointer(box, vegaView, view, zone) {
  for (const old of box.querySelectorAll(".needle, .tip")) old.remove();
  const needle = element("div", { class: "needle" });
  const tip = element("div", { class: "tip" });
  needle.hidden = tip.hidden = true;
  box.append(needle, tip);
  const when = dayClock(zone);

  function hide() {
    needle.hidden = tip.hidden = true;
  }

  // `down`: pixels below the top of the box. Returns what it shows.
  function show(at, down, shown) {
    const plot = box.querySelector("svg.marks");
    const [left, top] = vegaView.origin();
    const frame = plot.getBoundingClientRect();
    const outer = box.getBoundingClientRect();
    tip.replaceChildren(...shown.map(drawn));
    needle.hidden = tip.hidden = false;
    const place = frame.left - outer.left + left + vegaView.scale("x")(at);
    needle.style.left = `${place}px`;
    needle.style.top = `${frame.top - outer.top + top}px`;
    needle.style.height = `${vegaView.height()}px`;
    const room = outer.width - place;
    tip.style.left = room > tip.offsetWidth + 16 ? `${place + 12}px` : `${Math.max(0, place - tip.offsetWidth - 12)}px`;
    tip.style.top = `${Math.max(0, Math.min(down + 12, outer.height - tip.offsetHeight))}px`;
  }

  box.onpointermove = (event) => {
    const plot = box.querySelector("svg.marks");
    if (!plot) return;
    const x = event.clientX - plot.getBoundingClientRect().left - vegaView.origin()[0];
    if (x < 0 || x > vegaView.width()) {
      hide();
      return;
    }
    const scale = vegaView.scale("x");
    const near = Math.abs(scale.invert(NEAR_PIXELS) - scale.invert(0));
    const at = scale.invert(x);
    show(at, event.clientY - box.getBoundingClientRect().top, content(view, at, near, near, when, room()));
  };
  box.onpointerleave = hide;
  attachKeys(box, view, show, hide, (at) => content(view, at, 0, view.step / 2, when, room()));

  function room() {
    return Math.max(1, Math.min(MOST_PERIODS, Math.floor(box.clientWidth / PERIOD_PIXELS) - 1));
  }
}

// A cursor that keys move from stop to stop. It stays where it is from answer to answer, and what it comes to is said to a screen reader.
function attachKeys(box, view, show, hide, told) {
  box.pointing?.abort();
  box.pointing = new AbortController();
  const { signal } = box.pointing;
  const plot = box.querySelector(".chart");
  const said = box.querySelector(".said") || element("p", { class: "said", "aria-live": "polite" });
  if (!said.parentNode) box.append(said);
  const stops = stopsOf(view);
  const put = (at) => {
    box.cursor = at;
    const shown = told(at);
    show(at, 0, shown);
    return shown;
  };
  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      box.cursor = null;
      hide();
      return;
    }
    const move = MOVES[event.shiftKey ? `Shift+${event.key}` : event.key];
    if (!move || !box.querySelector("svg.marks")) return;
    event.preventDefault();
    const begun = box.cursor >= stops[0].at && box.cursor <= stops.at(-1).at;
    // The first key shows the latest that is recorded, and the others go on from there.
    const start = stops.findLast((stop) => stop.at <= (view.recorded_until ?? view.to)) || stops[0];
    const found = begun || !/Arrow/.test(event.key) ? move(stops, begun ? box.cursor : start.at) : start;
    if (found) said.textContent = put(found.at).map(words).join(" ");
    else said.textContent = event.key.toLowerCase() === "g" ? "No gap there." : "The window ends here.";
  }, { signal });
  plot.addEventListener("blur", hide, { signal });
  plot.addEventListener("focus", () => { if (box.cursor >= view.from && box.cursor <= view.to) put(box.cursor); }, { signal });
  if (document.activeElement === plot && box.cursor >= view.from && box.cursor <= view.to) put(box.cursor);
}

// Every instant, and where a gap begins, so that those between two instants are come by too.
function stopsOf(view) {
  const gaps = view.unrecorded.map((gap) => Math.max(gap.start, view.from));
  const stops = new Map(view.lines[0].online.map((_, place) => [view.from + place * view.step, false]));
  for (const at of gaps) stops.set(at, true);
  return [...stops].map(([at, gap]) => ({ at, gap })).sort((one, other) => one.at - other.at);
}

// What there is to say, as pieces that are drawn or put into words: the time, a text, or the rows of a table.
function content(view, at, nearGap, near, when, periods) {
  const gap = view.unrecorded.find((each) => each.start - nearGap <= at && at < each.end + nearGap);
  const bucket = Math.max(0, Math.min(Math.round((at - view.from) / view.step), view.lines[0].online.length - 1));
  const instant = view.from + bucket * view.step;
  const parts = [{ head: when.format(new Date(gap ? at : instant)) }];
  if (gap) {
    parts.push({ text: `${gap.pending ? "No numbers" : "Not recorded"}: ${gap.reason}.`, kind: "gap" });
    parts.push({ text: gap.pending ? `since ${when.format(new Date(gap.start))}` : spanText(gap, when), kind: "more" });
  } else {
    parts.push(values(view, bucket, periods));
    const more = Math.max(...view.lines.map((line) => line.back)) - periods;
    if (more > 0) parts.push({ text: `and ${more} more ${more === 1 ? "period" : "periods"} before`, kind: "more" });
  }
  for (const alert of view.alerts) {
    if (alert.start - near <= at && at <= alert.end + near) {
      const end = alert.running ? ", still running" : alert.unseen ? ", whose end was not seen" : alert.canceled ? ", called off" : alert.winner ? `, won by ${empireName(alert.winner)}` : "";
      parts.push({ text: `Alert: ${alert.name}${alert.zone ? ` (${alert.zone})` : ""}${end}` });
    }
  }
  for (const lock of view.locks) {
    if (Math.abs(lock.at - at) <= near) {
      parts.push({ text: `${lock.zone} locked${lock.winner ? ` by ${empireName(lock.winner)}` : ""}, ${when.format(new Date(lock.at))}` });
    }
  }
  for (const note of view.notes) {
    if (Math.abs(note.at - at) <= near) parts.push({ text: `Note, ${when.format(new Date(note.at))}: ${note.text}` });
  }
  return parts;
}

// By how much it is more or less now, and of people also in percent of then, where there was anybody.
function difference(now, then, digits, share) {
  if (now === null || then === null) return "";
  const percent = share || !then ? "" : ` (${plusMinus((100 * (now - then)) / then, 0)} %)`;
  return `${plusMinus(now - then, digits)}${percent}`;
}

// A row an empire; of earlier periods their number, and the difference.
function values(view, bucket, periods) {
  const share = view.unit === "share";
  const digits = view.lines.some((line) => !Number.isInteger(line.online[bucket] ?? 0)) ? 1 : 0;
  const backs = [...new Set(view.lines.map((line) => line.back))].filter((back) => back <= periods);
  const factions = [...new Set(view.lines.map((line) => line.faction_id))];
  const at = (faction, back) => view.lines.find((line) => line.faction_id === faction && line.back === back);
  const shown = (value) => (value === null ? "–"
    : `${value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })}${share ? " %" : ""}`);
  const row = (label, faction, value) => {
    const now = value(0);
    const cells = backs.map((back) => {
      const then = value(back);
      return { value: shown(then), difference: back ? difference(now, then, digits, share) : "" };
    });
    return { label, faction, cells };
  };
  const online = (faction, back) => at(faction, back).online[bucket] ?? null;
  const rows = factions.map((faction) => row(at(faction, 0).label, faction, (back) => online(faction, back)));
  if (factions.length > 1 && !share) {
    rows.push(row("together", null, (back) => factions.reduce((sum, faction) => {
      const value = online(faction, back);
      return sum === null || value === null ? null : sum + value;
    }, 0)));
  }
  return { periods: backs.map((back) => at(factions[0], back).period), rows };
}

function drawn(part) {
  if (part.head) return element("b", {}, part.head);
  if (part.text) return element("p", { class: part.kind || "" }, part.text);
  const head = part.periods.length > 1
    ? [element("tr", {}, element("th", {}), ...part.periods.map((period, back) => element("th", { colspan: back ? 2 : 1 }, period)))]
    : [];
  return element("table", {}, ...head, ...part.rows.map(({ label, faction, cells }) => element("tr", {},
    element("td", {}, faction === null ? label : element("span", { class: `empire f${faction < 0 ? "all" : faction}` }, label)),
    ...cells.flatMap(({ value, difference }, back) =>
      [element("td", {}, value), ...(back ? [element("td", { class: "more" }, difference)] : [])]))));
}

function words(part) {
  if (part.head) return `${part.head}.`;
  if (part.text) return part.text.endsWith(".") ? part.text : `${part.text}.`;
  return part.rows.map(({ label, cells }) => {
    const told = cells.map(({ value, difference }, back) =>
      [back ? `${part.periods[back]} ${value}` : `${label} ${value}`, difference && `difference ${difference}`].filter(Boolean).join(", "));
    return `${told.join(", ").replaceAll("–", "not recorded")}.`;
  }).join(" ");
}
