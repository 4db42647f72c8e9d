// model.js - the state of the gateway as the console has read it. It is read again at intervals while the page is visible.
import * as gateway from "./gateway.js";
import { every } from "./page.js";

const STATUS_MS = 3000;
const REGISTRY_MS = 20000;
const DOCTOR_MS = 120000;
const TRAFFIC_MS = 30000;
const RECORDS_MAX = 5000; // maximum number of access log records that are kept
const NODE_LAG_S = 30; // a gateway that has not written to the registry for this long is away
const ACCESS_RETRY_MS = 15000; // the command that follows the access log is started again this long after it ended
const ACCESS_WORKS_MS = 5000; // if this command still runs after this time, it counts as working
const DENIED_S = 300; // how long a refusal stays on the map

export const model = {
    commands: new Set(), // gateway commands of the installed cmxsafe
    gateway: null, // `show --json`
    devices: [], // `list --all --json`, with the members that readRegistry and applySessions add
    byName: new Map(),
    grants: [],
    status: null, // `status --json`; null while it cannot be read
    registered: [], // `platform --json`: platforms, CAs and their principals
    platforms: [], // registered platforms, and other consumers that have a session; with the members that platformOf adds
    nodes: [],
    findings: null, // `doctor --json`
    rates: { in: 0, out: 0 }, // bytes a second now, over all sessions
    minutes: [], // `status --traffic --json`: the last hour
    pending: [], // `pending --json`: keys that tried to log in and are not enrolled
    access: { records: [], open: new Map(), error: null }, // `access --follow --json`
    revision: 0, // grows with each reading of the registry
    ready: false, // everything has been read at least once
    error: null, // why the registry cannot be read
    statusError: null, // why the status cannot be read
};

const listeners = new Set();
export const subscribe = listener => { listeners.add(listener); return () => listeners.delete(listener); };
let scheduled = false;
function changed() {
    if (scheduled)
        return;
    scheduled = true;
    requestAnimationFrame(() => { scheduled = false; listeners.forEach(listener => listener()); });
}

// ---- devices and their sessions ----

let sessionsBefore = new Map(); // from the previous status: sessionKey -> {in, out, at}; in, out: bytes; at: when the status was read

// Adds up the sessions of a device or platform. A device may have one for each context.
function join(sessions, at) {
    const joined = { since: Infinity, in: 0, out: 0, rateIn: 0, rateOut: 0, forwards: [], from: new Set(), refused: 0, n: 0, rtt: 0, gateway: "" };
    for (const s of sessions) {
        const before = sessionsBefore.get(sessionKey(s));
        joined.n++;
        joined.gateway = s.gateway || ""; // "": there is only one gateway
        joined.since = Math.min(joined.since, s.since);
        joined.in += s.bytes_in;
        joined.out += s.bytes_out;
        joined.refused += s.refused;
        joined.rtt = Math.max(joined.rtt, s.rtt_us);
        joined.from.add(s.from);
        joined.forwards.push(...s.forwards);
        if (before && at > before.at) {
            joined.rateIn += Math.max(0, s.bytes_in - before.in) / (at - before.at);
            joined.rateOut += Math.max(0, s.bytes_out - before.out) / (at - before.at);
        }
    }
    return joined;
}

function deviceState(device) {
    if (device.revoked)
        return "revoked";
    if (device.quarantined)
        return "quarantined";
    return device.session || device.at ? "connected" : "away";
}

// Returns the name of the gateway that has the device's session; "": not known, or the fleet has only one gateway. If no session is
// listed, returns the gateway that the registry names (device.node), unless this is our own gateway or one of the gateways in `away`.
function nodeOf(device, own, away) {
    if (model.nodes.length < 2)
        return "";
    return device.session ? device.session.gateway || own : device.node && device.node !== own && !away.has(device.node) ? device.node : "";
}

// Returns the name that grants and the access log use for a platform.
export const consumerOf = platform => `platform:${platform.name}`;

// Returns the platform with `session` (its sessions, added up by join) and `certificates` (those with which the sessions logged in),
// each {id, serial, ca, ends}; ends 0: never.
function platformOf(platform, sessions, at) {
    const certificates = (sessions || []).filter(s => s.ca).map(s => ({ id: s.certificate, serial: s.serial, ca: s.ca, ends: s.certificate_ends }));
    return { ...platform, session: sessions ? join(sessions, at) : null, certificates };
}

// A process id identifies a session only within its gateway.
function sessionKey(s) {
    return `${s.gateway || ""} ${s.pid}`;
}

function applySessions() {
    const at = Date.now() / 1000;
    const byName = new Map();
    const sessions = model.status ? model.status.sessions : [];

    for (const s of sessions)
        byName.set(s.name, [...(byName.get(s.name) || []), s]);
    const here = (model.nodes.find(n => n.state === "here") || { name: "" }).name;
    const away = new Set(model.nodes.filter(n => n.state === "away" || n.lag > NODE_LAG_S).map(n => n.name));
    for (const device of model.devices) {
        const own = byName.get(device.name);
        device.session = own ? join(own, at) : null;
        device.at = nodeOf(device, here, away);
        device.shown = deviceState(device);
    }
    const unknown = [...byName.keys()].filter(name => !model.byName.has(name)).map(name => ({ name, kind: "", key: "" }));
    const registered = new Set(model.registered.map(p => p.name));
    model.platforms = [...model.registered, ...unknown.filter(p => !registered.has(p.name))].map(p => platformOf(p, byName.get(p.name), at));
    return at;
}

function applyStatus(status) {
    model.status = status;
    const at = applySessions();
    const all = [...model.devices, ...model.platforms].map(party => party.session).filter(Boolean);
    model.rates = { in: all.reduce((sum, s) => sum + s.rateIn, 0), out: all.reduce((sum, s) => sum + s.rateOut, 0) };
    sessionsBefore = new Map((status ? status.sessions : []).map(s => [sessionKey(s), { in: s.bytes_in, out: s.bytes_out, at }]));
}

// ---- reading from the gateway ----

let statusFailed = false; // the last reading of the status failed
async function readStatus() {
    try {
        applyStatus(await gateway.json(["status"]));
        model.statusError = null;
        statusFailed = false;
    } catch (error) {
        if (statusFailed || !model.status) { // after a single failure, keep the last status: the machine may be busy
            applyStatus(null);
            model.statusError = error.message;
        }
        statusFailed = true;
    }
    changed();
}

// Reads the traffic and the pending keys, which the running gateway keeps in memory.
async function readTraffic() {
    try {
        const [traffic, waiting] = await Promise.all([gateway.json(["status", "--traffic"]), gateway.json(["pending"])]);
        model.minutes = traffic.minutes;
        model.pending = waiting.pending;
    } catch {
        model.minutes = [];
        model.pending = [];
    }
    changed();
}

async function readRegistry() {
    try {
        const [devices, grants, registered, { nodes }] = await Promise.all([gateway.json(["list", "--all"]), gateway.json(["grant"]), gateway.json(["platform"]),
            model.commands.has("nodes") ? gateway.json(["nodes"]).catch(() => ({ nodes: [] })) : { nodes: [] }]); // "nodes" fails if there is only one gateway
        // A name can be enrolled again after a revocation. The name then means the active device.
        model.byName = new Map(devices.filter(d => d.revoked).concat(devices.filter(d => !d.revoked)).map(d => [d.name, d]));
        model.devices = devices;
        for (const device of devices)
            device.version = device.seen ? device.seen.firmware : "";
        model.nodes = nodes;
        model.grants = grants;
        model.registered = registered;
        model.error = null;
        model.revision++;
        applySessions();
    } catch (error) {
        model.error = error.message;
    }
    changed();
}

async function readDoctor() {
    try {
        model.findings = await gateway.json(["doctor"], { evenFailed: true });
    } catch (error) {
        model.findings = [{ check: "doctor", finding: "error", why: error.message, todo: "" }];
    }
    changed();
}

// Reads the registry, the status and the traffic again, after a command that changed something.
export const refresh = () => Promise.all([readRegistry(), readStatus(), readTraffic()]);

export async function begin() {
    try {
        model.commands = await gateway.commands();
        model.gateway = await gateway.json(["show"]);
        gateway.setMode(model.gateway.mode);
    } catch (error) {
        model.error = error.message;
        changed();
        setTimeout(begin, STATUS_MS);
        return;
    }
    await refresh();
    model.ready = true;
    changed();
    every(STATUS_MS, readStatus);
    every(REGISTRY_MS, readRegistry);
    every(TRAFFIC_MS, readTraffic);
    if (model.commands.has("doctor"))
        every(DOCTOR_MS, readDoctor);
    if (model.commands.has("access"))
        every(ACCESS_RETRY_MS, followAccess);
}

// ---- the access log ----

const connection = r => [r.consumer_identity, r.device_identity, r.port, r.since_ms].join(" ");

// Adds the records of the access log to model.access: those of the last hour, then each new one. Returns when the command ends.
async function followAccess() {
    const { access } = model;
    const works = setTimeout(() => { access.error = null; changed(); }, ACCESS_WORKS_MS);
    access.records.length = 0;
    access.open.clear();
    await gateway.startLines(["access", "--follow", "--since", "1h", "--json"], record => {
        if (record.event === "open")
            access.open.set(connection(record), record);
        else if (record.event !== "denied")
            access.open.delete(connection(record));
        access.records.push(record);
        access.records.splice(0, access.records.length - RECORDS_MAX);
        changed();
    }).done.catch(error => { access.error = error.message; });
    clearTimeout(works);
    changed();
}

export const recentDenials = () => {
    const from = Date.now() - DENIED_S * 1000;
    return model.access.records.filter(r => r.event === "denied" && r.at_ms >= from);
};
