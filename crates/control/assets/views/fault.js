// One fault code: its page, and when it happened last.

import { get, list } from "../api.js";
import { h, put, keyed, live } from "../dom.js";
import { ago, clock } from "../format.js";
import { markdown } from "../markdown.js";
import { address, panel } from "../parts.js";

const SIDES = { client: "The caller must change something.", upstream: "A server that we call failed or refused.", here: "This program or its machine." };
const RETRIES = { never: "It fails again until something is changed.", later: "It may pass later: wait and back off." };

export default function fault({ name }) {
  const title = h("h1", null, name);
  const facts = h("dl", { class: "facts page-facts" });
  const page = h("article", { class: "panel page" }, h("p", { class: "muted" }, "…"));
  const entries = h("ol", { class: "events" });
  const none = h("p", { class: "muted", hidden: true }, "Not among the latest faults.");
  const patch = keyed(entries, (row) => `${row.time} ${row.address} ${row.detail}`, (row) => {
    const when = live(h("time", { datetime: row.time, title: clock(row.time) }), (now) => ago(now.time));
    return { el: h("li", null, h("div", null, h("span", { class: "strong" }, row.principal), address(row.address), when.el), h("p", null, row.detail)), update: when.update };
  });
  const el = h("div", { class: "view" }, h("nav", { class: "crumbs", "aria-label": "Path" }, h("a", { href: "#/faults" }, "Faults"), " / "), title, facts, page,
    panel("Seen lately", entries, none).el);
  let shown = false;
  async function refresh(signal) {
    if (!shown) {
      const entry = await get(`/faults/${encodeURIComponent(name)}`, signal);
      put(title, h("span", { class: "code big" }, entry.code), ` ${entry.title}`);
      put(facts, [["Whose doing", SIDES[entry.side]], ["Retry", RETRIES[entry.retry]], ["From a shell", `trunkline explain ${entry.code}`]].map(([term, words]) => h("div", null, h("dt", null, term), h("dd", null, words))));
      put(page, markdown(entry.page));
      shown = true;
    }
    const rows = (await list("/admin/faults?max=500", signal)).filter((row) => row.outcome === name).slice(0, 20);
    none.hidden = rows.length > 0;
    patch(rows);
  }
  return { title: name, el, refresh };
}
