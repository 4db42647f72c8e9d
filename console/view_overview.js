// view_overview.js - how many devices are connected, the traffic, and what needs attention.
import { approve } from "./actions.js";
import { trafficChart } from "./chart.js";
import { button, el, facts, replace, section } from "./dom.js";
import { model } from "./model.js";
import { badge, deviceLink, link, moment } from "./parts.js";
import { count, rate, time } from "./text.js";

const EXPIRES_SOON_S = 86400;
const CERTIFICATE_SOON_S = 3600; // the same limit as in the alert CmxsafeCertificateEnding of packaging/monitoring
const ALERTS_MAX = 50;

// Each alert is {state, text, todo, device}: the problem, what to do, and the name of the device, if it concerns one.
function alerts() {
    const list = [];
    const add = (state, text, todo, device) => list.push({ state, text, todo, device });

    if (model.statusError)
        add("error", model.statusError, "");
    if (model.status && model.status.trouble)
        add("error", `Logins could not read the registry: ${model.status.trouble}`, "Run 'cmxsafe gateway doctor'.");
    for (const f of model.findings || [])
        if (f.why)
            add(f.finding, `${f.check}: ${f.why}`, f.todo);
    for (const d of model.devices) {
        if (d.shown === "quarantined")
            add("quarantined", d.reason || "in quarantine", "Only consumers with a break-glass grant can reach this device. Find the cause on its page.", d.name);
        if (d.verdict === "differs")
            add("differs", "the last attestation does not match", "Find out which firmware the device runs; if that is not possible, revoke the device.", d.name);
        if (d.session && d.session.refused)
            add("warning", `asked for ${count(d.session.refused, "forward")} that it may not have`,
                "Compare the device's configuration with its ports here, and enrol the device again with the right ports.", d.name);
    }
    if (model.status && model.status.counters.ports_in_use)
        add("warning", `${count(model.status.counters.ports_in_use, "request")} for a port that a live session of the same key holds`,
            "If a device is configured twice, stop one; if its key may have been copied, replace the key.");
    for (const g of model.grants)
        if (g.ends && g.ends * 1000 > Date.now() && g.ends - Date.now() / 1000 < EXPIRES_SOON_S)
            add("warning", `the grant of ${g.consumer} to ${g.device} ends at ${time(g.ends)}`, "Grant the access again if it is still needed.");
    for (const p of model.platforms)
        for (const c of p.certificates)
            if (c.ends && c.ends - Date.now() / 1000 < CERTIFICATE_SOON_S)
                add("warning", `the certificate of ${p.name} (${c.id}, serial ${c.serial}) ends at ${time(c.ends)}, and its session with it`,
                    `If the access is still needed, give the certificate's holder a new certificate of the CA ${c.ca}.`);
    return list;
}

const drawAlert = a => el("li", { class: `alert is-${a.state}` }, badge(a.state), " ", a.device && [deviceLink(a.device), ": "], a.text,
                          a.todo && el("div", { class: "todo" }, a.todo));

// Draws a key that tried to log in but is not enrolled, an entry of `pending --json`.
const drawPending = p => el("li", { class: "alert is-pending" }, badge("pending"), " ", el("code", {}, p.fingerprint),
    ` tried to log in from ${p.from}, ${count(p.tries, "time")}, last `, moment(p.last), ".",
    el("div", { class: "todo" }, "If this is a device of yours, compare the fingerprint with the one in the device's log, then ",
       button("enrol it", () => approve(p), "plain small", `approve ${p.fingerprint}`), "."));

const tile = (n, label, state) => el("li", {}, link(["devices"], state ? { state } : {}, [el("strong", {}, n.toLocaleString("en")), badge(label)], { "data-key": `tile ${label}` }));

export function overviewView() {
    const tiles = el("ul", { class: "tiles" });
    const needs = el("div", {});
    const traffic = el("div", {});
    const hour = el("div", {});
    const about = el("div", {});

    function update() {
        const n = {};
        for (const d of model.devices)
            n[d.shown] = (n[d.shown] || 0) + 1;
        const list = [...alerts().map(drawAlert), ...model.pending.map(drawPending)];
        const { status, gateway } = model;

        replace(tiles, tile(n.connected || 0, "connected", "connected"), tile(n.away || 0, "away", "away"),
                model.pending.length ? el("li", { class: "tile" }, el("strong", {}, model.pending.length.toLocaleString("en")), badge("pending")) : null,
                n.quarantined ? tile(n.quarantined, "quarantined", "quarantined") : null,
                n.revoked ? tile(n.revoked, "revoked", "revoked") : null);
        replace(needs, list.length ? el("ul", { class: "alerts" }, list.slice(0, ALERTS_MAX)) : null,
                list.length > ALERTS_MAX ? el("p", {}, `and ${list.length - ALERTS_MAX} more`) : null,
                list.length ? null : el("p", {}, model.findings ? "Nothing." : "Checking …"));
        replace(traffic, facts([
            ["Gateway", status ? "running" : "not running"],
            ["Sessions", status ? status.sessions.length : ""], ["Logging in", status ? status.logging_in : ""],
            ["From devices", status ? rate(model.rates.in) : ""], ["To devices", status ? rate(model.rates.out) : ""],
            ["Logins", status ? status.counters.logins : ""], ["Failed logins", status ? status.counters.failed : ""],
            ["Takeovers", status ? status.counters.takeovers : ""]]));
        replace(hour, trafficChart(model.minutes, status ? "The first minute is not over yet." : "The gateway is not running."));
        replace(about, facts([["Devices connect to", `${gateway.host} port ${gateway.port}`], ["Fleet", gateway.simple ? "ports on the loopback" : gateway.fleet],
                              ["Pin (ed25519)", el("code", {}, gateway.pin)], ["Pin (ecdsa)", el("code", {}, gateway.pin_ecdsa)], ["Folder", el("code", {}, gateway.folder)]]));
    }

    return {
        title: "Overview", update,
        element: el("div", {}, section("Devices", tiles), section("Needs attention", needs), section("The last hour", hour), el("div", { class: "columns" }, section("Now", traffic), section("This gateway", about))),
    };
}
