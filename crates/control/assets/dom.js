// Small helpers to build and update elements. Data becomes text nodes only; nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("a", { class: "x", href: "#/", onclick }, "text", child, …)`; null and false are left out. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(9)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Replaces what is in the element. */
export function put(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

/** Sets the text only when it differs, so that a selection or a screen reader is not disturbed. */
export function text(element, value) {
  const wanted = value === null || value === undefined ? "" : String(value);
  if (element.textContent !== wanted) element.textContent = wanted;
  return element;
}

export function attribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  return element;
}

/**
 * Keeps the children of `container` in step with `items`: `make(item)` gives `{ el, update(item) }`, called once for
 * each new key; known elements stay where they are, with their focus, selection and open state.
 */
export function keyed(container, keyOf, make) {
  let known = new Map();
  return (items) => {
    const next = new Map();
    let place = container.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      if (next.has(key)) continue;
      const row = known.get(key) ?? make(item);
      next.set(key, row);
      row.update?.(item);
      if (row.el === place) place = place.nextElementSibling;
      else container.insertBefore(row.el, place);
    }
    for (const [key, row] of known) if (!next.has(key)) row.el.remove();
    known = next;
    return next;
  };
}

/** An element with an `update` that sets its text. */
export function live(el, of) {
  return { el, update: (item) => text(el, of(item)) };
}
