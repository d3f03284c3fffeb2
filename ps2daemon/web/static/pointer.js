// What the pointer or finger shows over a chart: the people at that moment, why there are none known, alerts, locks and notes.

import { dayClock, element, empireName, plusMinus, spanText } from "./shared.js";

const NEAR_PIXELS = 4;

export function attachPointer(box, vegaView, view, zone) {
  for (const old of box.querySelectorAll(".needle, .tip")) old.remove();
  const needle = element("div", { class: "needle" });
  const tip = element("div", { class: "tip" });
  needle.hidden = tip.hidden = true;
  box.append(needle, tip);
  const when = dayClock(zone);

  box.onpointermove = (event) => {
    const plot = box.querySelector("svg.marks");
    if (!plot) return;
    const [left, top] = vegaView.origin();
    const frame = plot.getBoundingClientRect();
    const outer = box.getBoundingClientRect();
    const x = event.clientX - frame.left - left;
    const width = vegaView.width();
    if (x < 0 || x > width) {
      hide();
      return;
    }
    const scale = vegaView.scale("x");
    const at = scale.invert(x);
    const near = Math.abs(scale.invert(NEAR_PIXELS) - scale.invert(0));
    tip.replaceChildren(...content(view, at, near, when));
    needle.hidden = tip.hidden = false;
    const place = frame.left - outer.left + left + x;
    needle.style.left = `${place}px`;
    needle.style.top = `${frame.top - outer.top + top}px`;
    needle.style.height = `${vegaView.height()}px`;
    const room = outer.width - place;
    tip.style.left = room > tip.offsetWidth + 16 ? `${place + 12}px` : `${Math.max(0, place - tip.offsetWidth - 12)}px`;
    tip.style.top = `${Math.max(0, Math.min(event.clientY - outer.top + 12, outer.height - tip.offsetHeight))}px`;
  };
  box.onpointerleave = hide;

  function hide() {
    needle.hidden = tip.hidden = true;
  }
}

function content(view, at, near, when) {
  const gap = view.unrecorded.find((each) => each.start - near <= at && at < each.end + near);
  const bucket = Math.max(0, Math.min(Math.round((at - view.from) / view.step), view.lines[0].online.length - 1));
  const instant = view.from + bucket * view.step;
  const parts = [element("b", {}, when.format(new Date(gap ? at : instant)))];
  if (gap) {
    parts.push(element("p", { class: "gap" }, `${gap.pending ? "No numbers" : "Not recorded"}: ${gap.reason}.`));
    parts.push(element("p", { class: "more" }, gap.pending ? `since ${when.format(new Date(gap.start))}` : spanText(gap, when)));
  } else parts.push(values(view, bucket));
  for (const alert of view.alerts) {
    if (alert.start - near <= at && at <= alert.end + near) {
      const end = alert.running ? ", still running" : alert.unseen ? ", whose end was not seen" : alert.canceled ? ", called off" : alert.winner ? `, won by ${empireName(alert.winner)}` : "";
      parts.push(element("p", {}, `Alert: ${alert.name}${alert.zone ? ` (${alert.zone})` : ""}${end}`));
    }
  }
  for (const lock of view.locks) {
    if (Math.abs(lock.at - at) <= near) {
      parts.push(element("p", {}, `${lock.zone} locked${lock.winner ? ` by ${empireName(lock.winner)}` : ""}, ${when.format(new Date(lock.at))}`));
    }
  }
  for (const note of view.notes) {
    if (Math.abs(note.at - at) <= near) parts.push(element("p", {}, `Note, ${when.format(new Date(note.at))}: ${note.text}`));
  }
  return parts;
}

// A row an empire; of earlier periods their number, and by how much it is more or less now.
function values(view, bucket) {
  const share = view.unit === "share";
  const digits = view.lines.some((line) => !Number.isInteger(line.online[bucket] ?? 0)) ? 1 : 0;
  const backs = [...new Set(view.lines.map((line) => line.back))];
  const factions = [...new Set(view.lines.map((line) => line.faction_id))];
  const at = (faction, back) => view.lines.find((line) => line.faction_id === faction && line.back === back);
  const shown = (value) => (value === null ? "–"
    : `${value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })}${share ? " %" : ""}`);
  const row = (label, value) => {
    const now = value(0);
    return element("tr", {}, label, ...backs.flatMap((back) => {
      const then = value(back);
      if (back === 0) return [element("td", {}, shown(then))];
      const difference = now === null || then === null ? "" : plusMinus(now - then, digits);
      return [element("td", {}, shown(then)), element("td", { class: "more" }, difference)];
    }));
  };
  const online = (faction, back) => at(faction, back).online[bucket] ?? null;
  const rows = factions.map((faction) =>
    row(element("td", {}, element("span", { class: `empire f${faction < 0 ? "all" : faction}` }, at(faction, 0).label)),
      (back) => online(faction, back)));
  if (factions.length > 1 && !share) {
    rows.push(row(element("td", {}, "together"), (back) => factions.reduce((sum, faction) => {
      const value = online(faction, back);
      return sum === null || value === null ? null : sum + value;
    }, 0)));
  }
  const head = backs.length > 1
    ? [element("tr", {}, element("th", {}), ...backs.flatMap((back) =>
      (back === 0 ? [element("th", {}, at(factions[0], 0).period)] : [element("th", { colspan: 2 }, at(factions[0], back).period)])))]
    : [];
  return element("table", {}, ...head, ...rows);
}
