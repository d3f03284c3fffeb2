// Zoom and pan of a chart's window: drag a range, shift-drag, double click, buttons, keys. The server answers each window with a step that suits it.

import { KEYS } from "./pointer.js";
import { element } from "./shared.js";

const DAY = 86_400_000;
const LEAST = 10 * 60_000; // ten minutes: below it a chart of people has nothing more to tell
const MOST = 366 * DAY;
const DRAGGED = 5; // pixels; less is a click
const PAN = 0.25; // of the window, for a key or a button

// The window moved by `shift` of its length and made `factor` times as long around its middle; never past now, where nothing is recorded.
export function moved([start, end], shift, factor, now) {
  const length = Math.min(MOST, Math.max(LEAST, (end - start) * factor));
  const middle = (start + end) / 2 + shift * (end - start);
  const last = Math.min(middle + length / 2, Math.max(end, now));
  return [last - length, last];
}

const ACTS = [
  { label: "Earlier", sign: "◀", keys: ["ArrowLeft"], shift: -PAN, factor: 1 },
  { label: "Zoom in", sign: "+", keys: ["+", "="], shift: 0, factor: 0.5 },
  { label: "Zoom out", sign: "−", keys: ["-"], shift: 0, factor: 2 },
  { label: "Later", sign: "▶", keys: ["ArrowRight"], shift: PAN, factor: 1 },
];

// `change(start, end)` shows another window, in milliseconds since the epoch.
export function attachZoom(box, vegaView, change) {
  box.zooming?.abort();
  box.zooming = new AbortController();
  const { signal } = box.zooming;
  // Keys that come faster than answers add up.
  let wanted = vegaView.scale("x").domain().map(Number);
  const go = (next) => {
    wanted = next;
    change(...next);
  };
  const act = ({ shift, factor }) => go(moved(wanted, shift, factor, Date.now()));
  showButtons(box, act);
  const plot = box.querySelector(".chart");
  plot.tabIndex = 0;
  plot.setAttribute("aria-keyshortcuts", `ArrowLeft ArrowRight + - ${KEYS.join(" ")}`);
  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const found = ACTS.find((each) => each.keys.includes(event.key) && !(event.shiftKey && KEYS.includes(`Shift+${event.key}`)));
    if (!found) return;
    event.preventDefault();
    act(found);
  }, { signal });
  plot.addEventListener("dblclick", () => act(ACTS[2]), { signal });
  attachDrag(box, plot, vegaView, go, signal);
}

function showButtons(box, act) {
  let bar = box.querySelector(".zoom");
  if (!bar) {
    bar = element("div", { class: "zoom", role: "group", "aria-label": "Window" },
      ...ACTS.map((each) => element("button", { type: "button", title: each.label, "aria-label": each.label }, each.sign)));
    box.append(bar); // stays from answer to answer, so that a button keeps the focus
  }
  [...bar.children].forEach((button, at) => { button.onclick = () => act(ACTS[at]); });
}

// A finger scrolls the page and shows values; mouse and pen drag.
function attachDrag(box, plot, vegaView, go, signal) {
  let began = null;
  const band = element("div", { class: "band" });
  band.hidden = true;
  box.append(band);
  const end = () => {
    began = null;
    band.hidden = true;
  };
  signal.addEventListener("abort", () => band.remove());
  const place = (event) => {
    const x = event.clientX - plot.querySelector("svg.marks").getBoundingClientRect().left - vegaView.origin()[0];
    return Math.max(0, Math.min(x, vegaView.width()));
  };
  plot.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch" || !plot.querySelector("svg.marks")) return;
    began = { x: place(event), pan: event.shiftKey };
    plot.setPointerCapture(event.pointerId);
    event.preventDefault(); // no selecting of the axis' text
    plot.focus({ preventScroll: true });
  }, { signal });
  plot.addEventListener("pointermove", (event) => {
    if (!began || began.pan) return;
    const [left, right] = [began.x, place(event)].sort((a, b) => a - b);
    const frame = plot.querySelector("svg.marks").getBoundingClientRect();
    const outer = box.getBoundingClientRect();
    band.style.left = `${frame.left - outer.left + vegaView.origin()[0] + left}px`;
    band.style.top = `${frame.top - outer.top + vegaView.origin()[1]}px`;
    band.style.width = `${right - left}px`;
    band.style.height = `${vegaView.height()}px`;
    band.hidden = right - left < DRAGGED;
  }, { signal });
  plot.addEventListener("pointerup", (event) => {
    if (!began) return;
    const { x, pan } = began;
    end();
    const to = place(event);
    if (Math.abs(to - x) < DRAGGED) return;
    const scale = vegaView.scale("x");
    const [start, stop] = scale.domain().map(Number);
    if (pan) go(moved([start, stop], (scale.invert(x) - scale.invert(to)) / (stop - start), 1, Date.now()));
    else {
      const [first, last] = [scale.invert(x), scale.invert(to)].sort((a, b) => a - b);
      go(moved([first, last], 0, 1, stop));
    }
  }, { signal });
  plot.addEventListener("pointercancel", end, { signal });
}
