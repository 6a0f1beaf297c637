// The last value of each topic that keeps one, found by a filter.

import { list } from "../api.js";
import { h, live } from "../dom.js";
import { ago, bytes } from "../format.js";
import { address, empty } from "../parts.js";
import { table } from "../table.js";

export default function retained() {
  const filter = h("input", { id: "topic-filter", type: "text", value: "#", spellcheck: "false", autocomplete: "off" });
  const shown = table({
    label: "Retained topics", key: (row) => row.address, sort: "address",
    columns: [
      { id: "address", label: "Topic", sort: (row) => row.address, make: (row) => ({ el: address(row.address) }) },
      { id: "body", label: "Value", class: "grow value", text: (row) => row.body ?? "(not text)" },
      { id: "bytes", label: "Size", num: true, text: (row) => bytes(row.bytes), sort: (row) => row.bytes },
      { id: "by", label: "By", text: (row) => row.principal },
      { id: "time", label: "When", num: true, sort: (row) => row.time, make: () => live(h("span"), (row) => ago(row.time)) },
    ],
    empty: empty("No topic that matches keeps a value. Publish one with the retain flag:", `mosquitto_pub -r -h ${location.hostname} -p ${location.port || 80} -t plant/7/temp -m 81`),
  });
  const el = h("div", { class: "view" }, h("h1", null, "Retained topics"),
    h("p", { class: "lead" }, "What a new subscriber gets at once: the last retained message of each topic."),
    h("section", { class: "panel" }, h("div", { class: "field-row" }, h("label", { for: "topic-filter" }, "Filter (+ one level, # the rest)"), filter), shown.el));
  return { title: "Retained topics", el, refresh: async (signal) => shown.update(await list(`/admin/topics?max=500&filter=${encodeURIComponent(filter.value || "#")}`, signal)) };
}
