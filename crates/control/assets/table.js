// A live table: sortable, filterable, keyed rows that are updated in place; on narrow screens each row is a card.

import { h, keyed, text, attribute } from "./dom.js";

/**
 * `columns`: `{ id, label, num, text(row) | make(row) -> { el, update(row) }, sort(row), class, title(row) }`.
 * `empty`: an element shown instead when there are no rows. `filter`: the placeholder of a filter box, or nothing.
 */
export function table({ label, columns, key, empty, filter, sort, descending = false }) {
  let rows = [];
  let order = { id: sort ?? null, descending };
  const body = h("tbody");
  const heads = columns.map((column) => head(column, () => {
    order = { id: column.id, descending: order.id === column.id ? !order.descending : Boolean(column.num) };
    draw();
  }));
  const box = filter && h("input", { type: "search", class: "filter", placeholder: filter, "aria-label": filter, oninput: () => draw() });
  const shown = h("table", { class: "rows" }, h("caption", { class: "visually-hidden" }, label), h("thead", null, h("tr", null, heads.map((one) => one.el))), body);
  const none = h("p", { class: "muted none", hidden: true }, "Nothing matches the filter.");
  const scroll = h("div", { class: "scroll" }, shown);
  const el = h("div", { class: "table" }, box, scroll, none, empty);
  const patch = keyed(body, key, (row) => makeRow(columns, row));

  function draw() {
    const wanted = box?.value.trim().toLowerCase() ?? "";
    const column = columns.find((one) => one.id === order.id);
    let list = rows;
    if (wanted) list = list.filter((row) => columns.some((one) => String(valueOf(one, row) ?? "").toLowerCase().includes(wanted)));
    if (column) list = [...list].sort((a, b) => compare(valueOf(column, a), valueOf(column, b)) * (order.descending ? -1 : 1));
    heads.forEach((one) => attribute(one.el, "aria-sort", one.id === order.id ? (order.descending ? "descending" : "ascending") : null));
    patch(list);
    scroll.hidden = list.length === 0;
    none.hidden = !(rows.length > 0 && list.length === 0);
    if (empty) empty.hidden = rows.length > 0;
    if (box) box.hidden = rows.length < 2;
  }
  return {
    el,
    update: (list) => {
      rows = list;
      draw();
    },
  };
}

function head(column, onclick) {
  const sortable = column.label && (column.sort || column.text);
  const inside = sortable ? h("button", { type: "button", onclick }, column.label) : column.label;
  return { id: column.id, el: h("th", { scope: "col", class: classOf(column) }, inside) };
}

function classOf(column) {
  return [column.num && "num", column.class].filter(Boolean).join(" ") || null;
}

function valueOf(column, row) {
  return (column.sort ?? column.text)?.(row);
}

function compare(a, b) {
  if (typeof a === "number" || typeof b === "number") return (a ?? -1) - (b ?? -1);
  return String(a ?? "").localeCompare(String(b ?? ""), "en", { numeric: true });
}

function makeRow(columns, row) {
  const cells = columns.map((column, place) => {
    const cell = h(place === 0 ? "th" : "td", { scope: place === 0 ? "row" : null, class: classOf(column), "data-label": column.label });
    if (!column.make) return { cell, update: (item) => text(cell, column.text(item)) };
    const made = column.make(row);
    cell.append(made.el);
    return { cell, update: made.update };
  });
  const el = h("tr", null, cells.map((one) => one.cell));
  return { el, update: (item) => cells.forEach((one) => one.update?.(item)) };
}
