// dom.js - builds elements. Text becomes text nodes only, so that no name, message or log line can add markup or script.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
        if (value === null || value === undefined || value === false)
            continue;
        if (typeof value === "function")
            node.addEventListener(name, value);
        else
            node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
    return node;
}

// el("a", {href: "#/devices", click: f}, "text", element, [more]): null, undefined and false are left out.
export const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
export const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

// Replaces the children of node. The focus stays on the element with the same data-key.
export function replace(node, ...children) {
    const active = document.activeElement;
    const key = active && node.contains(active) && active.closest("[data-key]") === active ? active.dataset.key : null;

    node.replaceChildren(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
    if (key !== null)
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
