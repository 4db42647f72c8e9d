// dom.js - builds elements. Text becomes text nodes only, so that no name, message or log line can add markup or script.

const SVG = "http://www.w3.org/2000/svg";

const handlers = new WeakMap(); // element -> its functions, by the name of the event

function listen(node, event, handler) {
    if (!handlers.has(node))
        handlers.set(node, {});
    if (!handlers.get(node)[event])
        node.addEventListener(event, e => handlers.get(node)[event](e));
    handlers.get(node)[event] = handler;
}

const present = children => children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false);

function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
        if (value === null || value === undefined || value === false)
            continue;
        if (typeof value === "function")
            listen(node, name, value);
        else
            node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...present(children));
    return node;
}

// el("a", {href: "#/devices", click: f}, "text", element, [more]): null, undefined and false are left out.
export const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
export const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

const eventsOf = node => Object.keys(handlers.get(node) || {}).join(" ");
const alike = (a, b) => a.nodeName === b.nodeName && (a.nodeType !== Node.ELEMENT_NODE || (a.dataset.key === b.dataset.key && eventsOf(a) === eventsOf(b)));

// Makes `node` equal to `fresh`, an element that is alike. `fresh` cannot be used afterwards.
function become(node, fresh) {
    if (node.nodeType !== Node.ELEMENT_NODE) {
        if (node.data !== fresh.data)
            node.data = fresh.data;
        return;
    }
    for (const { name } of [...node.attributes])
        if (!fresh.hasAttribute(name))
            node.removeAttribute(name);
    for (const { name, value } of fresh.attributes)
        if (node.getAttribute(name) !== value)
            node.setAttribute(name, value);
    for (const [event, handler] of Object.entries(handlers.get(fresh) || {}))
        listen(node, event, handler);
    merge(node, [...fresh.childNodes]);
}

function merge(node, fresh) {
    const old = [...node.childNodes];

    fresh.forEach((child, i) => {
        if (i >= old.length)
            node.append(child);
        else if (old[i] !== child && alike(old[i], child))
            become(old[i], child);
        else if (old[i] !== child)
            old[i].replaceWith(child);
    });
    old.slice(fresh.length).filter(child => !fresh.includes(child)).forEach(child => child.remove());
}

// Replaces the children of node. What has not changed stays, so that a redraw does not interrupt a click, remove a selection of text, or
// make a screen reader repeat a message. The focus stays on the element with the same data-key.
export function replace(node, ...children) {
    const active = document.activeElement;
    const key = active && node.contains(active) && active.closest("[data-key]") === active ? active.dataset.key : null;

    merge(node, present(children).map(child => (child instanceof Node ? child : document.createTextNode(child))));
    if (key !== null && document.activeElement !== active)
        node.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

// Draws a titled part of a page.
export const section = (title, ...children) => el("section", {}, el("h2", {}, title), children);

// Draws terms with their values. A row without a value is left out.
export function facts(rows) {
    return el("dl", { class: "facts" }, rows.filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));
}

export const button = (label, click, kind, key) =>
    el("button", { type: "button", class: kind, click, "data-key": key || label }, label);
