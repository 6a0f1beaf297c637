// Streams: logs that are kept by size and age and read from any offset.

import { list } from "../api.js";
import { sparkline } from "../chart.js";
import { h } from "../dom.js";
import { age, bytes, count, rate } from "../format.js";
import { empty } from "../parts.js";
import { table } from "../table.js";

export default function streams() {
  const shown = table({
    label: "Streams", key: (row) => row.name, filter: "Filter streams", sort: "name",
    columns: [
      { id: "name", label: "Stream", text: (row) => row.name, class: "strong" },
      { id: "history", label: "Last minute", class: "spark-cell", make: () => {
        const line = sparkline("in");
        return { el: line.el, update: (row) => line.update(row.history) };
      } },
      { id: "depth", label: "Depth", num: true, text: (row) => count(row.depth), sort: (row) => row.depth },
      { id: "oldest", label: "Oldest", num: true, text: (row) => age(row.oldest_ms), sort: (row) => row.oldest_ms ?? -1 },
      { id: "offsets", label: "Offsets", num: true, text: (row) => `${count(row.head)} – ${count(row.tail)}`, sort: (row) => row.tail },
      { id: "bytes", label: "Size", num: true, text: (row) => bytes(row.bytes), sort: (row) => row.bytes },
      { id: "consumers", label: "Readers", num: true, text: (row) => (row.consumers === undefined ? "–" : count(row.consumers)), sort: (row) => row.consumers ?? -1 },
      { id: "rate_in", label: "In/s", num: true, text: (row) => rate(row.rate_in), sort: (row) => row.rate_in },
      { id: "rate_out", label: "Out/s", num: true, text: (row) => rate(row.rate_out), sort: (row) => row.rate_out },
    ],
    empty: empty("No streams are declared. Declare one in the configuration: `streams: {readings: {bytes: 64MiB, age: 1d}}`, then:",
      `curl -N -H "accept: text/event-stream" ${location.origin}/api/streams/readings`),
  });
  const el = h("div", { class: "view" }, h("h1", null, "Streams"),
    h("p", { class: "lead" }, "Logs that keep what went through them, by size and age; readers go back to any offset."), h("section", { class: "panel" }, shown.el));
  async function refresh(signal) {
    const [rows, rates] = await Promise.all([list("/admin/streams", signal), list("/admin/addresses?kind=stream&history=60", signal)]);
    const history = new Map(rates.map((row) => [row.address, row.history]));
    shown.update(rows.map((row) => ({ ...row, history: history.get(row.address) ?? [] })));
  }
  return { title: "Streams", el, refresh };
}
