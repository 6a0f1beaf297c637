// Hand-made SVG charts: a sparkline for table rows, and an area chart with axis, several lines and a readout.
// They only draw; where the numbers come from is the views' business.

import { h, s, attribute, text } from "./dom.js";
import { rate } from "./format.js";

const WIDTH = 600;
const HEIGHT = 120;

/** The points of a line: `slots` places wide, the newest value at the right edge. */
function points(values, slots, width, height, max) {
  const step = width / Math.max(1, slots - 1);
  const start = width - step * (values.length - 1);
  return values.map((value, place) => [start + place * step, height - (value / max) * (height - 2) - 1]);
}

const line = (list) => list.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

const area = (list, height) =>
  list.length ? `${line(list)}L${list.at(-1)[0].toFixed(1)} ${height}L${list[0][0].toFixed(1)} ${height}Z` : "";

/** A line as small as a word; decoration beside a number, so hidden from screen readers. */
export function sparkline(tone = "in") {
  const width = 96;
  const height = 24;
  const fill = s("path", { class: "area" });
  const stroke = s("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  const el = s("svg", { class: `spark tone-${tone}`, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, fill, stroke);
  const update = (values = []) => {
    const list = points(values, Math.max(30, values.length), width, height, Math.max(1, ...values) * 1.2);
    attribute(stroke, "d", line(list));
    attribute(fill, "d", area(list, height));
  };
  return { el, update };
}

/** A round number above the value: an axis that changes rarely, with room for its label. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  const found = [1, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * power >= value);
  return (found ?? 10) * power;
}

/**
 * A chart of what happened in each second. `series` is `[{ tone, label }]`; `update([[values], …], stepMs)` draws.
 * Pointing at it, or focusing it and using the arrow keys, reads out one moment.
 */
export function areaChart({ label, series }) {
  const paths = series.map(({ tone }) => ({
    fill: s("path", { class: `area tone-${tone}` }),
    stroke: s("path", { class: `line tone-${tone}`, "vector-effect": "non-scaling-stroke" }),
  }));
  const grid = [0.25, 0.5, 0.75].map((part) => s("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part, "vector-effect": "non-scaling-stroke" }));
  const cross = s("line", { class: "cross", y1: 0, y2: HEIGHT, x1: -9, x2: -9, "vector-effect": "non-scaling-stroke" });
  const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, grid, paths.map((one) => [one.fill, one.stroke]), cross);
  const top = h("span", { class: "axis-top" });
  const from = h("span");
  const readout = h("span", { class: "readout" });
  const plot = h("div", { class: "plot", tabindex: "0", role: "img", "aria-label": label }, svg, top);
  const el = h("figure", { class: "chart" }, plot, h("figcaption", { class: "axis" }, from, readout, h("span", null, "now")));
  let drawn = { lines: series.map(() => []), slots: 60, step: 1 };
  let pointed = null;

  const show = () => {
    if (pointed === null) {
      attribute(cross, "class", "cross");
      text(readout, "");
      return;
    }
    const back = drawn.slots - 1 - pointed;
    const x = (pointed / Math.max(1, drawn.slots - 1)) * WIDTH;
    attribute(cross, "x1", x);
    attribute(cross, "x2", x);
    attribute(cross, "class", "cross on");
    const values = series.map((one, place) => {
      const values = drawn.lines[place];
      const value = values[values.length - 1 - back];
      return `${one.label} ${value === undefined ? "–" : value}`;
    });
    text(readout, `${Math.round(back * drawn.step)} s ago: ${values.join(", ")}`);
  };
  const point = (event) => {
    const box = plot.getBoundingClientRect();
    const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    pointed = Math.round(part * (drawn.slots - 1));
    show();
  };
  const leave = () => {
    pointed = null;
    show();
  };
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerleave", leave);
  plot.addEventListener("blur", leave);
  plot.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    pointed = Math.min(drawn.slots - 1, Math.max(0, (pointed ?? drawn.slots) + move));
    show();
  });

  const update = (lines, stepMs = 1000) => {
    const slots = Math.max(60, ...lines.map((one) => one.length));
    const max = nice(Math.max(1, ...lines.flat()) * 1.1);
    drawn = { lines, slots, step: stepMs / 1000 };
    lines.forEach((values, place) => {
      const list = points(values, slots, WIDTH, HEIGHT, max);
      attribute(paths[place].stroke, "d", line(list));
      attribute(paths[place].fill, "d", area(list, HEIGHT));
    });
    text(top, `${rate(max).replace(/\.0$/, "")}/s`);
    const span = Math.round((slots * stepMs) / 1000);
    text(from, span >= 120 ? `${Math.round(span / 60)} min ago` : `${span} s ago`);
    const now = series.map((one, place) => `${one.label} ${lines[place].at(-1) ?? 0} per second`).join(", ");
    attribute(plot, "aria-label", `${label}: ${now}`);
    show();
  };
  return { el, update };
}

/** The mean of the last few readings. */
export function recent(values, over = 10) {
  const last = values.slice(-over);
  return last.length ? last.reduce((sum, value) => sum + value, 0) / last.length : 0;
}
