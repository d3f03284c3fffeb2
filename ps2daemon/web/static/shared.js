// What the views share. Names come from outside and only ever become text, never markup.

export const dark = matchMedia("(prefers-color-scheme: dark)");
export const REFRESH_MS = 60_000;
export const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// The page is in English and its axis has the 24 h clock, whatever the browser is set to.
export function clock(zone, shown) {
  return new Intl.DateTimeFormat("en-GB", { hourCycle: "h23", timeZone: zone, ...shown });
}

export function dayClock(zone) {
  return clock(zone, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

// An instant as the fields of a form have it, by the clock of `zone`, to the minute.
export function naive(at, zone) {
  const parts = Object.fromEntries(new Intl.DateTimeFormat("en-CA", {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: zone,
  }).formatToParts(at).map((part) => [part.type, part.value]));
  return `${parts.year}-${parts.month}-${parts.day}T${parts.hour}:${parts.minute}`;
}

// From when to when a gap was; its two ends may be of one minute.
export function spanText(gap, when) {
  const [start, end] = [new Date(gap.start), new Date(gap.end)];
  if (when.format(start) !== when.format(end)) return when.formatRange(start, end);
  return `${when.format(start)}, for less than a minute`;
}

// How long something is, as a person says it.
export function spanOf(ms) {
  if (ms < 60_000) return `${Math.max(0, Math.floor(ms / 1000))} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

export async function ask(path, params) {
  const answer = await fetch(`/api/v1/${path}${params ? `?${params}` : ""}`);
  let body;
  try {
    body = await answer.json();
  } catch {
    throw new Error(`the server answered ${answer.status}`);
  }
  if (!answer.ok) throw Object.assign(new Error(body.error || `the server answered ${answer.status}`), { status: answer.status });
  return body;
}

let library = null;

function charts() {
  library ||= new Promise((resolve) => {
    const script = document.createElement("script");
    script.src = "/static/vega.js";
    script.onload = () => resolve(window.vegaEmbed || null);
    script.onerror = () => resolve(null);
    document.head.append(script);
  });
  return library;
}

export function empireName(id) {
  return { 1: "VS", 2: "NC", 3: "TR", 4: "NSO" }[id] || "nobody";
}

// The colours of up and down would be those of empires; an arrow and a sign say it without.
export function signed(value, digits) {
  const size = Math.abs(value).toFixed(digits);
  if (Number(size) === 0) return `±${size}`;
  return value < 0 ? `▼ −${size}` : `▲ +${size}`;
}

export function plusMinus(value, digits) {
  const size = Math.abs(value).toFixed(digits);
  return Number(size) === 0 ? `±${size}` : `${value < 0 ? "−" : "+"}${size}`;
}

// The choice of a clock: the one that is wanted, the browser's own, and UTC.
export function showZones(select, wanted) {
  const zone = wanted || ownZone;
  select.replaceChildren(...[...new Set([zone, ownZone, "UTC"])].map((name) => element("option", { value: name }, name)));
  select.value = zone;
}

export function check(form, name, values) {
  for (const input of form.querySelectorAll(`input[name="${name}"]`)) input.checked = values.includes(input.value);
}

// The choice of worlds: those of the address that are known, and otherwise the first ones.
export function checkWorlds(form, worlds, wanted, most = worlds.length) {
  const known = worlds.map((world) => String(world.world_id));
  const some = wanted.getAll("world").filter((id) => known.includes(id));
  check(form, "world", some.length ? some : known.slice(0, most));
}

const drawings = new WeakMap();

export function erase(place) {
  if (drawings.has(place)) drawings.get(place).finalize();
  drawings.delete(place);
  place.replaceChildren();
}

// Draws a spec, and returns what came of it; null, with a word about it, where the server has no charts.
export async function draw(place, spec, label) {
  const embed = await charts();
  if (!embed) {
    place.replaceChildren(element("p", { class: "problem" },
      "Charts need the charts extra on the server: pip install 'ps2daemon[charts]'. The numbers are all in the JSON API."));
    return null;
  }
  if (drawings.has(place)) drawings.get(place).finalize();
  const drawn = await embed(place, spec, { ast: true, actions: false, renderer: "svg", tooltip: false, defaultStyle: false });
  drawings.set(place, drawn);
  place.setAttribute("aria-label", label);
  return drawn;
}

export function copyLinks(button) {
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy it from the address bar";
    }
  });
}

// Asks for the worlds, offers them, restores what the address says, and shows it; then again whenever something is chosen.
// While there are none to choose from, or the server is away, it tries again in a minute.
export async function begin(form, statusLine, restore, show, chosen = show) {
  const again = (said) => {
    statusLine.textContent = said;
    document.body.dataset.shown = "0";
    setTimeout(() => begin(form, statusLine, restore, show, chosen), REFRESH_MS);
  };
  let worlds;
  try {
    worlds = (await ask("worlds")).worlds;
  } catch (error) {
    again(`The server can't be asked: ${error.message}. This page tries again in a minute.`);
    return;
  }
  const choice = document.getElementById("worlds");
  if (choice && !worlds.length) {
    again("Nothing is recorded yet. This page looks again in a minute.");
    return;
  }
  choice?.replaceChildren(...worlds.map((world) =>
    element("label", {}, element("input", { type: "checkbox", name: "world", value: world.world_id }), element("span", {}, world.name))));
  restore(worlds);
  form.addEventListener("change", chosen);
  form.addEventListener("submit", (event) => event.preventDefault());
  dark.addEventListener("change", show);
  copyLinks(document.getElementById("copy"));
  await show();
}

// Shows it again each minute: not while the page is hidden, but at once when it is looked at again later than that.
export function keepFresh(show, wanted = () => true) {
  let at = Date.now();
  const again = () => {
    if (document.visibilityState !== "visible" || !wanted()) return;
    at = Date.now();
    show();
  };
  setInterval(again, REFRESH_MS);
  document.addEventListener("visibilitychange", () => {
    if (Date.now() - at >= REFRESH_MS) again();
  });
}

// Links to what is shown, as files: the numbers of an address of the API, and its pictures, which may take other parameters.
export function offer(name, params, { pictures = null, drawn = params } = {}) {
  const link = (id, address) => {
    const found = document.getElementById(id);
    found.hidden = address === null;
    if (address !== null) found.href = `/api/v1/${address}`;
  };
  link("json", `${name}?${params}`);
  link("csv", `${name}?${params}&format=csv`);
  for (const kind of ["png", "svg"]) link(kind, pictures ? `${pictures}.${kind}?${drawn}` : null);
}

// More links beside those of `offer`: of what they are, and an address of the API for each kind of file.
export function offerAlso(id, said, addresses) {
  const box = document.getElementById(id) || element("span", { id });
  if (!box.parentNode) document.getElementById("json").parentNode.append(" ", box);
  box.replaceChildren(...Object.entries(addresses).flatMap(([kind, address], place) => {
    const saved = kind === "JSON" ? {} : { download: "" };
    return [" ", element("a", { class: kind.toLowerCase(), href: `/api/v1/${address}`, ...saved }, `${place ? "as" : said} ${kind}`)];
  }));
}
