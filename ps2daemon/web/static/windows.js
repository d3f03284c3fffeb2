// The choice of a window, the last so long or from … to: in the form, in the address, and as the API is asked for it.

import { check, naive } from "./shared.js";

const LENGTHS = { h: 3_600_000, d: 86_400_000 };

let latest = "24h"; // the last one that was chosen without from and to

// A field that takes it; nothing while a year is typed, which is one of long ago then.
function usable(field) {
  return field.validity.rangeUnderflow ? "" : field.value;
}

// Chooses what the address says: from … to, one of `windows`, or else the usual one.
export function restoreWindow(form, wanted, windows, usual) {
  for (const name of ["from", "to"]) {
    const text = wanted.get(name) || "";
    form.elements[name].value = /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(text) ? `${text}T00:00` : text;
  }
  const fixed = usable(form.elements.from) && usable(form.elements.to);
  latest = windows.includes(wanted.get("window")) ? wanted.get("window") : usual;
  check(form, "window", [fixed ? "custom" : latest]);
}

// What is chosen. `whole` is false while an end of from … to is missing.
export function chosenWindow(form) {
  const window = new FormData(form).get("window");
  document.getElementById("custom").hidden = window !== "custom";
  if (window !== "custom") {
    latest = window;
    return { window, from: `-${window}`, to: "now", whole: true };
  }
  const [from, to] = [usable(form.elements.from), usable(form.elements.to)];
  return { window, from, to, whole: Boolean(from && to) };
}

// As the address has it.
export function windowAddress({ window, from, to }) {
  return window === "custom" ? [["from", from], ["to", to]] : [["window", window]];
}

// Once from … to is chosen, it begins with what was shown before.
export function fillWindow(form, event, zone) {
  const { window, whole } = chosenWindow(form);
  if (event.target.name !== "window" || window !== "custom" || whole) return;
  const now = Date.now();
  form.elements.from.value = naive(now - parseInt(latest, 10) * LENGTHS[latest.at(-1)], zone);
  form.elements.to.value = naive(now, zone);
}
