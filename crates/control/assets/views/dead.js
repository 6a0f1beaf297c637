// All dead letters, by queue: what failed for good, why, and putting it back.

import { list } from "../api.js";
import { h, keyed } from "../dom.js";
import { deadLetters } from "../letters.js";
import { empty } from "../parts.js";

export default function dead() {
  const boxes = h("div", { class: "stack" });
  const none = empty("No dead letters. A message lands here after its last delivery failed or a consumer rejected it; it keeps the original, the reason and every attempt. From a shell:", "trunkline queue replay QUEUE --all");
  none.hidden = true;
  const patch = keyed(boxes, (row) => row.name, (row) => {
    const letters = deadLetters(row.name);
    const el = h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", null, h("a", { href: `#/queues/${encodeURIComponent(row.name)}` }, row.name))), letters.el);
    return { el, letters };
  });
  const el = h("div", { class: "view" }, h("h1", null, "Dead letters"),
    h("p", { class: "lead" }, "Messages that could not be delivered. Open one to see the message and each attempt; replay it when the cause is gone."), none, boxes);
  async function refresh(signal) {
    const rows = (await list("/admin/queues", signal)).filter((row) => row.dead > 0);
    none.hidden = rows.length > 0;
    const shown = patch(rows);
    await Promise.all([...shown.values()].map((box) => box.letters.refresh(signal)));
  }
  return { title: "Dead letters", el, refresh };
}
