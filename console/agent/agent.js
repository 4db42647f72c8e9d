// agent.js - the agent of this device: contexts, sessions, isolation, update. Dropped packets come from the kernel's log (dmesg),
// everything else from `cmxsafed status --json`. Cockpit runs both commands with administrative access if the user has it. The page
// changes nothing.
import { el, facts, replace, section } from "./dom.js";
import { beginPage, connection, every } from "./page.js";
import { createTable } from "./table.js";
import { bytes, count, duration, time } from "./text.js";

const { cockpit } = window;

const STATUS_MS = 3000;
const DROPS_MS = 15000;
const DROPS_LINES = 50;

const PROBLEMS = {
    "disconnected": "the connection to the machine is lost; load this page again, and log in",
    "not-found": "cmxsafed is not installed on this machine; install the package cmxsafe-agent",
    "access-denied": "this needs administrative access; turn it on at the top of Cockpit's page",
    "authentication-failed": "this needs administrative access; turn it on at the top of Cockpit's page",
};

const run = args => new Promise((resolve, reject) => {
    if (connection.lost)
        throw new Error(PROBLEMS.disconnected);
    const process = cockpit.spawn(args, { superuser: "try", err: "message" });
    process.done(output => resolve(output || ""));
    process.fail(error => reject(new Error(PROBLEMS[error.problem] || (error.message || "").trim() || `${args[0]} ended with status ${error.exit_status}`)));
});

// A state is shown as a word with a sign, never by colour alone.
const SIGNS = { up: "●", waiting: "…", stuck: "!", refused: "✕" };
const KINDS = { up: "connected", waiting: "pending", stuck: "error", refused: "error" };
const badge = (word, kind) => el("span", { class: `badge ${kind || KINDS[word] || "away"}` },
    el("span", { "aria-hidden": "true" }, SIGNS[word] || (kind === "ok" ? "✓" : kind === "error" ? "✕" : "○")), ` ${word}`);

// ---- contexts and sessions ----

const errorText = c => (c.last_error ? `${c.last_error.text}, ${duration(c.last_error.age_ms)} ago` : "–");
const CONTEXTS = [
    { id: "name", title: "Context", value: c => c.name },
    { id: "state", title: "State", value: c => c.state, cell: c => badge(c.state) },
    { id: "since", title: "For", value: c => c.since_ms, cell: c => duration(c.since_ms) },
    { id: "path", title: "Path", value: c => c.local_port,
      cell: c => (c.direction === "reverse" ? `gateway port ${c.remote_port} to local port ${c.local_port}` : `local port ${c.local_port} to port ${c.remote_port} behind the gateway`) },
    { id: "relays", title: "Connections", value: c => c.relays.open,
      cell: c => `${c.relays.open} open, ${c.relays.total} in total${c.relays.refused ? `, ${c.relays.refused} refused` : ""}` },
    { id: "bytes", title: "Bytes", value: c => c.bytes_in + c.bytes_out, cell: c => `${bytes(c.bytes_in)} in, ${bytes(c.bytes_out)} out` },
    { id: "error", title: "Last error", value: errorText, cell: errorText },
];

function sessionsOf(contexts) {
    const sessions = new Map();
    for (const c of contexts)
        sessions.set(c.session, [...(sessions.get(c.session) || []), c]);
    return el("ul", { class: "plain-list" }, [...sessions].map(([name, members]) => {
        const up = members.every(c => c.state === "up");
        const [first] = members;
        return el("li", {}, badge(up ? "up" : first.state), ` ${name}: ${members.map(c => c.name).join(", ")}`,
                  first.retry_in_ms === null ? "" : `; next attempt in ${duration(first.retry_in_ms)}`);
    }));
}

// ---- isolation ----

// Counters of dropped packets are named denied_in, denied_out, martian and so on; the others count packets that passed.
const DROPS = new Set(["fragment", "ip_option", "tcp_state", "martian"]);
const isDrop = name => name.startsWith("denied") || DROPS.has(name);

function drawIsolation(isolation) {
    if (!isolation || !isolation.enabled)
        return el("p", {}, badge("off", "pending"), " Isolation is not enabled: packets are not filtered. See [isolation] in the configuration.");
    const packets = Object.entries(isolation.packets || {}).filter(([, n]) => n > 0);
    return [
        facts([["Rules", isolation.in_force ? badge("in force", "ok") : badge("NOT in force", "error")],
               ["Repairs", isolation.repairs ? count(isolation.repairs, "change") + " by other programs, undone" : "none needed"]]),
        packets.length ? el("table", { class: "plain" }, el("caption", {}, "Packets"),
            el("thead", {}, el("tr", {}, ["Rule", "Packets", "Effect"].map(t => el("th", { scope: "col" }, t)))),
            el("tbody", {}, packets.map(([name, n]) => el("tr", {}, el("td", { "data-label": "Rule" }, name.replaceAll("_", " ")), el("td", { "data-label": "Packets" }, n.toLocaleString("en")),
                el("td", { "data-label": "Effect" }, isDrop(name) ? badge("dropped", "error") : badge("passed", "ok")))))) : null,
    ];
}

// Parses a line of the kernel's log:
// "2026-11-28T21:00:01,123456+00:00 cmxsafe drop in: IN=eth0 ... SRC=... DST=... PROTO=TCP SPT=... DPT=..."
function parseDrop(line) {
    const match = /^(\S+) cmxsafe drop (in|out): (.*)$/.exec(line);
    if (!match)
        return null;
    const field = name => (new RegExp(`\\b${name}=(\\S+)`).exec(match[3]) || ["", ""])[1];
    const address = name => field(name).replace(/\b0{1,3}(?=[0-9a-f])/g, "").replace(/(^|:)0(:0)+(:|$)/, "::");
    return { at: Date.parse(match[1].replace(",", ".")) / 1000, direction: match[2], from: address("SRC"), to: address("DST"), protocol: field("PROTO"), port: field("DPT"), device: field("IN") || field("OUT") };
}
const DROP_COLUMNS = [
    { id: "at", title: "Time", value: d => d.at, cell: d => time(d.at) },
    { id: "direction", title: "Direction", value: d => d.direction },
    { id: "from", title: "From", value: d => d.from },
    { id: "to", title: "To", value: d => d.to },
    { id: "protocol", title: "Protocol", value: d => `${d.protocol} ${d.port}`.trim() },
    { id: "device", title: "Interface", value: d => d.device },
];

// ---- update ----

const drawUpload = u => el("li", {}, badge(u.ok ? "accepted" : "refused", u.ok ? "ok" : "error"),
    ` ${duration(u.age_ms)} ago, from ${u.from || "an unknown client"}, ${bytes(u.received)}: ${u.what || "no version"}`);

function drawUpdate(ota) {
    if (!ota || !ota.enabled)
        return el("p", {}, badge("off", "away"), " The update service is not enabled. See [ota] in the configuration.");
    const { running, rolled_back: back } = ota;
    return facts([
        ["State", ota.state === "idle" ? badge("idle", "ok") : badge(ota.state, "pending")],
        ["Running", running && `${running.project || ""} ${running.version || "unknown"}`.trim()],
        ["Slot", running && running.slot],
        ["Confirmed", running && (running.confirmed ? badge("yes", "ok") : badge("on trial", "pending"))],
        ["Received", ota.total ? `${bytes(ota.received)} of ${bytes(ota.total)}` : ""],
        ["Last upload from", ota.from], ["Last error", ota.error],
        ["Last uploads", (ota.history || []).length ? el("ul", { class: "plain-list" }, ota.history.map(drawUpload)) : ""],
        ["Rolled back", back && `${back.version}: ${back.why}`],
        ["Signature", ota.signature_required ? "required" : badge("not required", "pending")],
    ]);
}

// ---- the page ----

const problem = document.getElementById("problem");
const parts = Object.fromEntries(["state", "sessions", "isolation", "update", "confinement"].map(name => [name, el("div", {})]));
const contexts = createTable({ caption: "Contexts", columns: CONTEXTS, noun: ["context"], sort: "name", empty: "No context is configured." });
const drops = createTable({ caption: "Packets dropped lately", columns: DROP_COLUMNS, noun: ["packet"], sort: "at", descending: true, empty: "No dropped packet in the kernel's log." });
const dropsFailure = el("pre", { class: "failure", hidden: true });

function drawStatus(status) {
    const { modules, config } = status;
    replace(parts.state, facts([
        ["Contexts", status.all_up ? badge("all up", "ok") : badge("not all up", "error")],
        ["Gateway", `${status.gateway.user}@${status.gateway.host} port ${status.gateway.port}`],
        ["Running for", duration(status.uptime_ms)], ["Configuration", el("code", {}, config.file)],
        ["Read", `${duration(config.loaded_ms)} ago`],
        ["Last reload", config.reload_failed ? el("span", { class: "failure" }, `failed: ${config.reload_failed.error}`) : ""],
        ["Version", `${status.version}, libssh ${status.libssh}`]]));
    contexts.update(status.contexts);
    replace(parts.sessions, sessionsOf(status.contexts));
    replace(parts.isolation, drawIsolation(modules.isolation));
    replace(parts.update, drawUpdate(modules.ota));
    replace(parts.confinement, el("ul", { class: "plain-list" }, status.confinement.map(c => el("li", {}, badge(c.applied ? "applied" : "not applied", c.applied ? "ok" : "pending"), ` ${c.what}: ${c.detail}`))));
}

let shown = false;
async function readStatus() {
    try {
        drawStatus(JSON.parse(await run(["cmxsafed", "status", "--json"])));
        replace(problem);
        if (!shown)
            document.getElementById("parts").replaceChildren(
                section("Contexts", contexts.element),
                el("div", { class: "columns" }, section("Agent", parts.state), section("Sessions", parts.sessions), section("Isolation", parts.isolation),
                   section("Update", parts.update), section("Confinement", parts.confinement)),
                section("Packets dropped lately", dropsFailure, drops.element));
        shown = true;
    } catch (error) {
        replace(problem, error.message);
        if (!shown)
            document.getElementById("parts").replaceChildren(el("p", {}, "The agent does not answer."));
    }
}

async function readDrops() {
    try {
        const lines = (await run(["dmesg", "--time-format", "iso"])).split("\n");
        drops.update(lines.map(parseDrop).filter(Boolean).slice(-DROPS_LINES));
        dropsFailure.hidden = true;
    } catch (error) {
        dropsFailure.textContent = error.message;
        dropsFailure.hidden = false;
    }
}

beginPage(readStatus);
every(STATUS_MS, readStatus);
every(DROPS_MS, readDrops);
