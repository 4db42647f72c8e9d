// console.js - the entry: navigation, addresses (#/devices?state=away), and one view at a time.
import { el, replace } from "./dom.js";
import { begin, model, refresh, subscribe } from "./model.js";
import { beginPage } from "./page.js";
import { accessView } from "./view_access.js";
import { deviceView } from "./view_device.js";
import { devicesView } from "./view_devices.js";
import { nodesView } from "./view_nodes.js";
import { overviewView } from "./view_overview.js";
import { pathsView } from "./view_paths.js";
import { updatesView } from "./view_updates.js";

const { cockpit } = window;

// A view is {title, element, update(options)}: update draws the model; options is the query of the page's address.
const VIEWS = [
    { name: "overview", label: "Overview", create: overviewView },
    { name: "paths", label: "Paths", create: pathsView },
    { name: "devices", label: "Devices", create: devicesView },
    { name: "access", label: "Access", create: accessView },
    { name: "updates", label: "Updates", create: updatesView, shown: () => model.commands.has("update") },
    { name: "nodes", label: "Nodes", create: nodesView, shown: () => model.nodes.length > 1 },
    { name: "device", create: deviceView, parent: "devices" },
];

const content = document.getElementById("content");
let current = null; // the shown view: {address, view}

function drawNavigation(chosen) {
    replace(document.getElementById("navigation"), VIEWS.filter(v => v.label && (!v.shown || v.shown())).map(v => el("li", {},
        el("a", { href: `#/${v.name}`, "data-key": v.name, "aria-current": v.name === (chosen.parent || chosen.name) ? "page" : null }, v.label))));
}

const showProblem = text => { replace(document.getElementById("problem"), text || null); };

function show() {
    const path = cockpit.location.path;
    const chosen = VIEWS.find(v => v.name === (path[0] || "overview")) || VIEWS[0];
    const address = JSON.stringify(path);

    drawNavigation(chosen);
    showProblem(model.error);
    if (!model.gateway || !model.ready) {
        if (model.error)
            content.replaceChildren(el("h1", {}, "Device gateway"), el("p", {}, "The page shows only what this account can read with cmxsafe in a shell. Turn on administrative access at the top of Cockpit's page if the gateway belongs to root."));
        return;
    }
    if (!current || current.address !== address) {
        const moved = current !== null;
        current = { address, view: chosen.create(path.slice(1)) };
        document.title = `${current.view.title} – device gateway`;
        content.replaceChildren(el("h1", { tabindex: "-1" }, current.view.title), current.view.element);
        if (moved)
            content.querySelector("h1").focus();
    }
    try {
        current.view.update(cockpit.location.options);
    } catch (error) { // an answer of the gateway lacks a part, or has a value of another type
        showProblem(`This page cannot be drawn from the gateway's answer (${error.message}); check that cmxsafe and this console have the same version`);
    }
}

cockpit.addEventListener("locationchanged", show);
subscribe(show);
beginPage(refresh);
begin();
