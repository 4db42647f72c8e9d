// view_device.js - one device: its settings, sessions and grants, its history, and the actions.
import * as actions from "./actions.js";
import { button, el, facts, replace, section } from "./dom.js";
import * as gateway from "./gateway.js";
import { model } from "./model.js";
import { RECORD_COLUMNS, badge, moment } from "./parts.js";
import { createTable } from "./table.js";
import { bytes, rate, time } from "./text.js";

const ACCESS_COLUMNS = RECORD_COLUMNS.filter(column => column.id !== "device");

const LOG_COLUMNS = [
    { id: "at", title: "Time", value: e => e.at, cell: e => time(e.at) },
    { id: "what", title: "What", value: e => e.what },
    { id: "detail", title: "Detail", value: e => e.detail || "–" },
];

function actionButtons(device) {
    const list = [];
    const add = (label, action, kind = "plain") => list.push(button(label, () => action(device), kind));

    if (device.revoked) {
        if (model.commands.has("delete"))
            add("Delete", actions.remove, "danger");
        return list;
    }
    add("Grant access", d => actions.grant("", d.name));
    add("Attest now", actions.attest);
    add("Update", actions.update);
    add("Rename", actions.rename);
    add("Replace the key", actions.rotate);
    add("Revoke", actions.revoke, "danger");
    return list;
}

const drawStatus = device => facts([
    ["State", badge(device.shown)],
    ...(device.session ? [
        ["Connected", moment(device.session.since)], ["From", [...device.session.from].join(", ")], ["Sessions", device.session.n],
        ["From the device", `${bytes(device.session.in)}, now ${rate(device.session.rateIn)}`],
        ["To the device", `${bytes(device.session.out)}, now ${rate(device.session.rateOut)}`],
        ["Round trip", device.session.rtt ? `${(device.session.rtt / 1000).toFixed(1)} ms` : ""],
        ["Refused forwards", device.session.refused || ""],
    ] : []),
    ["Gateway", device.at], ["Last seen", !device.session && device.seen && device.seen.at ? [moment(device.seen.at), device.seen.from ? ` from ${device.seen.from}` : ""] : ""],
    ["Firmware", device.version], ["SSH client", device.seen && device.seen.client],
]);

const drawIdentity = device => facts([
    ["Name", device.name], ["Host", el("code", {}, device.host)], ["Address", device.address && el("code", {}, device.address)],
    ["Group", device.group], ["Key", el("code", {}, `${device.key} ${device.type}`)], ["Enrolled", time(device.enrolled)], ["Revoked", time(device.revoked)],
]);

function drawForwards(device) {
    const held = new Set(device.session ? device.session.forwards : []);
    const open = port => [...held].some(f => f.endsWith(`:${port}`));

    return [
        device.ports.length ? el("ul", { class: "plain-list" }, device.ports.map(port =>
            el("li", {}, `Port ${port}: `, !device.session && device.at ? `at the gateway ${device.at}` :
                [badge(open(port) ? "active" : "away"), open(port) ? "" : " (the device does not listen)"]))) : el("p", {}, "It serves no port."),
        device.opens.length ? el("p", {}, "It may reach: ", device.opens.map(o => `${o.host}:${o.port}`).join(", ")) : null,
    ];
}

// Texts for the state of a device's evidence.
const STANDINGS = {
    trusted: "trusted: its last evidence matches the policy", untrusted: "untrusted, but the policy is not enforced",
    QUARANTINED: "quarantined: only the verifier, the updater and break-glass grants can reach it", EXEMPT: "exempt from its policy",
};
const drawPolicy = device => (device.standing && device.standing !== "-" ? facts([
    ["Policy", STANDINGS[device.standing] || device.standing], ["Reason", device.reason],
    ["Evidence", device.evidence_at ? moment(device.evidence_at) : ""],
    ["Evidence valid until", device.evidence_left ? time(Date.now() / 1000 + device.evidence_left) : ""]]) : null);

// The verdict on an answer to a challenge has no reason: the answer is right or wrong as a whole.
const reasonText = a => (a.detail.toLowerCase() !== a.verdict ? a.detail
    : a.verdict === "differs" ? "The answer does not match the key and the image that it was compared with." : "");

// Draws the verdict, its reason, and each claim of the evidence with the value found.
function drawAttestation(device, a) {
    if (!a || !a.at)
        return [drawPolicy(device), el("p", {}, badge("never"), " It has not been attested.")];
    return [
        drawPolicy(device),
        facts([["Verdict", badge(a.verdict)], ["Time", time(a.at)], ["Reason", a.detail === device.reason ? "" : reasonText(a)]]),
        Array.isArray(a.claims) && a.claims.length ? claimTable(a.claims) : null,
    ];
}

const CLAIM_WORDS = { ok: "match", failed: "differs", skipped: "skipped" };
const claimTable = claims => el("table", { class: "claims" }, el("caption", {}, "Claims of the evidence"),
    el("thead", {}, el("tr", {}, ["Claim", "Result", "Found"].map(title => el("th", { scope: "col" }, title)))),
    el("tbody", {}, claims.map(c => el("tr", {}, el("td", { "data-label": "Claim" }, c.name), el("td", { "data-label": "Result" }, badge(CLAIM_WORDS[c.result] || "failed")),
                                       el("td", { "data-label": "Found" }, c.found || "–")))));

const drawGrants = device => {
    const own = model.grants.filter(g => g.device === device.name || (device.group && g.device === `@${device.group}`));
    if (!own.length)
        return el("p", {}, "No consumer reaches this device.");
    return el("ul", { class: "plain-list" }, own.map(g => el("li", {}, `${g.consumer} reaches ${actions.portText(g)}, ${actions.untilText(g)} `,
        button("Remove", () => actions.ungrant(g), "plain small", `remove ${g.consumer} ${g.port}`))));
};

export function deviceView([name]) {
    const buttons = el("div", { class: "toolbar" });
    const parts = Object.fromEntries(["status", "identity", "forwards", "grants", "attestation"].map(part => [part, el("div", {})]));
    const failure = el("pre", { class: "failure", hidden: true });
    const log = createTable({ caption: "Audit log", columns: LOG_COLUMNS, noun: ["entry", "entries"], sort: "at", descending: true, empty: "No entry." });
    const attestation = section("Attestation", parts.attestation);
    const access = createTable({ caption: "Access log", columns: ACCESS_COLUMNS, noun: ["record"], sort: "at", descending: true, empty: "Nobody reached this device in the last hour." });
    const accessLog = section("Access log", access.element);
    const sections = el("div", {}, buttons, el("div", { class: "columns" }, section("Status", parts.status), section("Identity", parts.identity),
        section("Forwards", parts.forwards), section("Who reaches it", parts.grants), attestation),
        accessLog, section("Audit log", log.element));
    attestation.className = "wide";
    let shown = null;
    let read = null; // the revision of the registry that the page shows
    let drawnButtons = "";

    async function readMore() {
        read = model.revision;
        try {
            [shown] = await Promise.all([gateway.json(["show", name]), gateway.json(["log", name]).then(log.update)]);
            failure.hidden = true;
        } catch (error) {
            failure.textContent = error.message;
            failure.hidden = false;
        }
        draw();
    }

    function draw() {
        const device = model.byName.get(name);

        sections.hidden = !device;
        if (!device)
            return;
        const key = `${device.shown} ${device.key}`;
        if (key !== drawnButtons)
            replace(buttons, actionButtons(device));
        drawnButtons = key;
        replace(parts.status, drawStatus(device));
        replace(parts.identity, drawIdentity(device));
        replace(parts.forwards, drawForwards(device));
        replace(parts.grants, drawGrants(device));
        replace(parts.attestation, drawAttestation(device, shown && shown.attestation));
        accessLog.hidden = !model.commands.has("access") || Boolean(model.access.error);
        access.update(model.access.records.filter(r => r.device === name));
    }

    return {
        title: name || "Device",
        element: el("div", {}, failure, sections),
        update() {
            draw();
            if (read !== model.revision)
                readMore();
        },
    };
}
