// view_paths.js - a map of the paths: consumers on the left, the gateways in the middle, devices on the right. If there are more than
// NODES_MAX devices, the map shows groups or gateways instead; choosing a group or gateway shows its devices. The table below the map has
// the same content as text.
import { el, replace, section, svg } from "./dom.js";
import { consumerOf, model, recentDenials } from "./model.js";
import { badge, certificateText, choicesOf, filterField, link } from "./parts.js";
import { createTable } from "./table.js";
import { count, rate, sign } from "./text.js";

const { cockpit } = window;

const NODES_MAX = 36; // maximum number of boxes on each side
const ROW = 40;
const BOX_H = 30;
const CHAR_W = 7.5;
const FRAME = 8; // .map-frame's padding
const NO_GROUP = "no group";
const NO_GATEWAY = "no gateway";

// Devices with the same value of one of these properties can be combined into one node. A property's name is also the name of its filter
// and of the option in the page's address.
const GATHER = {
    group: { one: "group", many: "groups", of: d => d.group || NO_GROUP },
    node: { one: "gateway", many: "gateways", of: d => d.at || NO_GATEWAY },
};

// ---- the content of the map ----

// Returns nodes {key, label, state, href, options, members, up, rate, note, at}: one for each device, or with `by` one for each group or
// gateway.
function deviceNodes(devices, by) {
    if (!by)
        return devices.map(d => ({
            key: d.name, label: d.name, state: d.shown, members: [d], href: ["device", d.name], options: {}, at: d.at,
            up: Boolean(d.session || d.at), rate: d.session ? d.session.rateIn + d.session.rateOut : 0, note: d.at ? `${d.shown} at ${d.at}` : d.shown,
        }));
    const gathered = new Map();
    for (const d of devices) {
        const name = GATHER[by].of(d);
        gathered.set(name, gathered.get(name) || []);
        gathered.get(name).push(d);
    }
    return [...gathered].map(([name, members]) => {
        const up = members.filter(d => d.shown === "connected").length;
        const bad = members.filter(d => d.shown === "quarantined").length;
        const places = new Set(members.map(d => d.at));
        return {
            key: `${by} ${name}`, label: name, members, href: ["paths"], options: { ...cockpit.location.options, [by]: name }, at: places.size === 1 ? members[0].at : null,
            state: bad ? "quarantined" : up ? "connected" : "away", up: members.some(d => d.session || d.at), rate: members.reduce((sum, d) => sum + (d.session ? d.session.rateIn + d.session.rateOut : 0), 0),
            note: `${up.toLocaleString("en")} of ${count(members.length, "device")} connected${bad ? `, ${bad} quarantined` : ""}`,
        };
    });
}

// Returns the paths {key, consumer, node, state, ports, devices}: granted, in use ("active") or denied.
function pathsBetween(nodes) {
    const nodeOf = new Map();
    const byGroup = new Map();
    const paths = new Map();
    const add = (consumer, device, port, state) => {
        const node = nodeOf.get(device);
        if (!node)
            return;
        const key = `${consumer} ${node.key}`;
        const path = paths.get(key) || { key, consumer, node, state, ports: new Set(), devices: new Set() };
        if (state === "denied" || (state === "active" && path.state === "granted"))
            path.state = state;
        path.ports.add(port || "all");
        path.devices.add(device);
        paths.set(key, path);
    };

    for (const node of nodes)
        for (const d of node.members) {
            nodeOf.set(d.name, node);
            if (d.group)
                (byGroup.get(`@${d.group}`) || byGroup.set(`@${d.group}`, []).get(`@${d.group}`)).push(d.name);
        }
    for (const g of model.grants)
        for (const device of byGroup.get(g.device) || [g.device])
            add(g.consumer, device, g.port, "granted");
    for (const r of model.access.open.values())
        add(r.consumer, r.device, r.port, "active");
    for (const r of recentDenials())
        add(r.consumer, r.device, r.port, "denied");
    return [...paths.values()];
}

function matchesName(device, words) {
    const text = `${device.name} ${device.group} ${device.address}`.toLowerCase();
    return words.every(w => text.includes(w));
}

// Returns the consumers, ordered by the mean position of the devices on their paths, so that few lines cross.
function consumersBy(paths, rankOf) {
    const ranks = new Map();
    for (const path of paths)
        ranks.set(path.consumer, [...(ranks.get(path.consumer) || []), rankOf(path)]);
    const mean = consumer => ranks.get(consumer).reduce((sum, r) => sum + r, 0) / ranks.get(consumer).length;
    return [...ranks.keys()].sort((a, b) => mean(a) - mean(b) || a.localeCompare(b));
}

function build(options) {
    const words = (options.search || "").toLowerCase().split(/\s+/).filter(Boolean);
    const devices = model.devices.filter(d => d.shown !== "revoked" && matchesName(d, words) &&
        Object.entries(GATHER).every(([name, g]) => !options[name] || g.of(d) === options[name]));
    const order = { quarantined: 0, connected: 1, away: 2 };
    const ways = (options.by === "node" ? ["node", "group"] : ["group", "node"]).filter(way => !options[way] && new Set(devices.map(GATHER[way].of)).size > 1);
    const by = devices.length > NODES_MAX ? ways[0] : undefined;
    const place = n => (n.at ? `0 ${n.at}` : n.at === null ? "1" : "2"); // sort key: keeps the devices of a gateway together
    const nodes = deviceNodes(devices, by).sort((a, b) => (place(a) < place(b) ? -1 : place(a) > place(b) ? 1 : 0) ||
        order[a.state] - order[b.state] || a.label.localeCompare(b.label, "en", { numeric: true }));
    const paths = pathsBetween(nodes);
    const rank = new Map(nodes.map((n, i) => [n.key, i]));
    const consumers = consumersBy(paths, path => rank.get(path.node.key));

    return {
        devices: devices.length, by, paths,
        nodes: nodes.slice(0, NODES_MAX), moreNodes: Math.max(0, nodes.length - NODES_MAX),
        consumers: consumers.slice(0, NODES_MAX), moreConsumers: Math.max(0, consumers.length - NODES_MAX),
    };
}

// ---- drawing the map ----

const lettersIn = width => Math.max(3, Math.floor((width - 16) / CHAR_W));
const shorten = (text, width) => {
    const n = lettersIn(width);
    return text.length <= n ? text : `${text.slice(0, n - 1)}…`;
};
// If a consumer's name does not fit, it is shown without kind and folders, which many consumers share.
const consumerLabel = (consumer, width) => (consumer.length <= lettersIn(width) ? consumer : consumer.replace(/^(user|group|cgroup|platform):(.*\/)?/, ""));
const words = { granted: "may reach", active: "is connected to", denied: "was refused at" };
const portsText = path => `port ${[...path.ports].join(", ")}`;
// Returns "logged in" and the certificates of the consumer's sessions; "": the consumer is not a platform, or has no session.
function loginText(consumer) {
    const platform = model.platforms.find(p => p.session && consumerOf(p) === consumer);
    return platform ? ["logged in", ...platform.certificates.map(c => `certificate ${certificateText(c)}`)].join(", ") : "";
}
const pathText = path => `${path.consumer} ${words[path.state]} ${path.node.label}, ${portsText(path)}`;

function drawNode({ x, y, w, label, state, href, options, text, key }) {
    return svg("a", { href: `#${cockpit.location.encode(href, options)}`, class: `node ${state}`, "aria-label": text, "data-key": key },
               svg("title", {}, text), svg("rect", { x, y: y - BOX_H / 2, width: w, height: BOX_H, rx: 4 }),
               svg("text", { x: x + 8, y: y + 5 }, `${state ? `${sign(state)} ` : ""}${shorten(label, w - (state ? 16 : 0))}`));
}

// Places each consumer as near to its devices as the other consumers allow. consumers is in the order of consumersBy.
function placeConsumers(consumers, paths, nodeY, height) {
    const y = new Map();
    let lowest = 10 + ROW / 2;
    consumers.forEach((consumer, i) => {
        const ends = paths.filter(p => p.consumer === consumer).map(p => nodeY.get(p.node.key));
        const wanted = ends.length ? ends.reduce((sum, end) => sum + end, 0) / ends.length : lowest;
        const highest = height - 10 - ROW / 2 - (consumers.length - 1 - i) * ROW;
        y.set(consumer, Math.max(lowest, Math.min(wanted, highest)));
        lowest = y.get(consumer) + ROW;
    });
    return y;
}

// Returns the bar of the gateway or, if there are several, one bar for each gateway, beside its devices.
function gatewayBars(nodes, nodeY, height) {
    const { host } = model.gateway;
    const bars = [];

    if (model.nodes.length < 2)
        return [{ label: host, key: "gateway", to: [["overview"]], text: `Gateway ${host}, ${model.status ? "running" : "not running"}`, y: 8, h: height - 16 }];
    for (const n of nodes) {
        const y = nodeY.get(n.key) - ROW / 2 + 3;
        const last = bars[bars.length - 1];
        const node = model.nodes.find(other => other.name === n.at);
        if (last && last.at === n.at)
            last.h = y + ROW - 6 - last.y;
        else
            bars.push({ at: n.at, y, h: ROW - 6, key: `gateway ${n.at}`, label: n.at || (n.at === null ? "several" : "none"), to: node ? [["paths"], { node: n.at }] : [["nodes"]],
                        text: node ? `Gateway ${n.at}: ${node.state}, ${count(node.sessions, "session")}` : n.at === null ? "Several gateways" : "No gateway" });
    }
    return bars;
}

function drawMap(graph, width) {
    const rows = Math.max(graph.nodes.length, graph.consumers.length, 1);
    const height = rows * ROW + 20;
    const box = Math.min(300, Math.floor(width * 0.34));
    const barX = Math.floor(width * 0.5), barW = Math.max(18, Math.min(40, Math.floor(width * 0.06)));
    const rightX = width - box - 1;
    const place = (i, n) => 10 + ROW / 2 + i * ROW + (rows - n) * ROW / 2;
    const nodeY = new Map(graph.nodes.map((n, i) => [n.key, place(i, graph.nodes.length)]));
    const drawn = graph.paths.filter(p => nodeY.has(p.node.key) && graph.consumers.includes(p.consumer));
    const consumerY = placeConsumers(graph.consumers, drawn, nodeY, height);
    const bars = gatewayBars(graph.nodes, nodeY, height);

    return svg("svg", { class: "map", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Paths from consumers through the gateway to devices" },
        svg("g", { "aria-hidden": "true" },
            drawn.map(p => {
                const y1 = consumerY.get(p.consumer), y2 = nodeY.get(p.node.key), mid = (box + barX) / 2;
                return svg("path", { class: `path ${p.state}`, d: `M ${box + 1} ${y1} C ${mid} ${y1}, ${mid} ${y2}, ${barX} ${y2}` }, svg("title", {}, pathText(p)));
            }),
            drawn.filter(p => p.state === "denied").map(p => svg("text", { // in the middle of the path, so that the marks of several paths do not overlap
                class: "cross", x: (box + barX) / 2, y: (consumerY.get(p.consumer) + nodeY.get(p.node.key)) / 2 + 5, "text-anchor": "middle",
            }, "✕")),
            graph.nodes.map(n => svg("line", { class: `session ${n.up ? "connected" : "away"}${n.rate > 0 ? " busy" : ""}`, x1: barX + barW, x2: rightX, y1: nodeY.get(n.key), y2: nodeY.get(n.key) })),
            width > 560 && graph.nodes.filter(n => n.rate > 0).map(n =>
                svg("text", { class: "rate", x: (barX + barW + rightX) / 2, y: nodeY.get(n.key) - 6, "text-anchor": "middle" }, rate(n.rate)))),
        graph.consumers.map(c => drawNode({
            x: 1, y: consumerY.get(c), w: box, label: consumerLabel(c, box - (loginText(c) ? 16 : 0)), state: loginText(c) && "connected", href: ["access"], options: { consumer: c }, key: `consumer ${c}`,
            text: `Consumer ${[c, loginText(c)].filter(Boolean).join(", ")}: ${drawn.filter(p => p.consumer === c).map(p => `${words[p.state]} ${p.node.label}`).join("; ")}`,
        })),
        bars.map(bar => svg("a", { href: `#${cockpit.location.encode(...bar.to)}`, class: "node bar", "data-key": bar.key, "aria-label": bar.text },
            svg("title", {}, bar.text), svg("rect", { x: barX, y: bar.y, width: barW, height: bar.h, rx: 4 }),
            svg("text", { transform: `translate(${barX + barW / 2 + 5} ${bar.h > 2 * ROW ? bar.y + 8 : bar.y + bar.h / 2}) rotate(-90)`, "text-anchor": bar.h > 2 * ROW ? "end" : "middle" }, shorten(bar.label, bar.h)))),
        graph.nodes.map(n => drawNode({
            x: rightX, y: nodeY.get(n.key), w: box, label: graph.by ? `${n.label} (${n.members.length.toLocaleString("en")})` : n.label, state: n.state,
            href: n.href, options: n.options, key: `node ${n.key}`,
            text: `${graph.by === "node" ? "Gateway" : graph.by ? "Group" : "Device"} ${n.label}: ${n.note}${n.rate > 0 ? `, ${rate(n.rate)}` : ""}`,
        })));
}

const TABLE = [
    { id: "consumer", title: "Consumer", value: p => p.consumer },
    { id: "login", title: "Its login", value: p => loginText(p.consumer) || "–", shown: rows => rows.some(p => loginText(p.consumer)) },
    { id: "state", title: "Path", value: p => p.state, cell: p => badge(p.state) },
    { id: "node", title: "Device, group or gateway", value: p => p.node.label, cell: p => link(p.node.href, p.node.options, p.node.label, { "data-key": `row ${p.key}` }) },
    { id: "session", title: "Its session", value: p => p.node.state, cell: p => badge(p.node.state) },
    { id: "ports", title: "Port", value: p => [...p.ports].join(", ") },
    { id: "devices", title: "Devices", value: p => p.devices.size },
];

const LEGEND = [["granted", "granted"], ["active", "in use"], ["denied", "denied in the last 5 minutes"]];

export function pathsView() {
    const search = filterField({ name: "search", label: "Search" });
    const group = filterField({ name: "group", label: "Group", choices: () => choicesOf("all", model.devices.map(d => d.group)) });
    const node = filterField({ name: "node", label: "Gateway", choices: () => [...choicesOf("all", model.nodes.map(n => n.name)), [NO_GATEWAY, NO_GATEWAY]] });
    const by = filterField({ name: "by", label: "Combine many devices by", choices: () => [["", GATHER.group.one], ["node", GATHER.node.one]] });
    const map = el("div", { class: "map-frame" });
    const note = el("p", { role: "status" });
    const table = createTable({ caption: "Paths", columns: TABLE, noun: ["path"], sort: "consumer", empty: "No grant leads to these devices." });
    const legend = el("ul", { class: "legend" },
        LEGEND.map(([state, text]) => el("li", {}, svg("svg", { width: 36, height: 12, "aria-hidden": "true" }, svg("path", { class: `path ${state}`, d: "M 0 6 H 36" })), ` ${text}`)),
        el("li", {}, svg("svg", { width: 36, height: 12, "aria-hidden": "true" }, svg("line", { class: "session connected", x1: 0, y1: 6, x2: 36, y2: 6 })), " session"),
        el("li", {}, svg("svg", { width: 36, height: 12, "aria-hidden": "true" }, svg("line", { class: "session away", x1: 0, y1: 6, x2: 36, y2: 6 })), " no session"));
    let options = {};

    function update(given) {
        options = given;
        search.update(options);
        group.update(options);
        for (const field of [node, by]) {
            field.update(options);
            field.element.hidden = model.nodes.length < 2;
        }
        if (!map.isConnected)
            return;
        const graph = build(options);
        const all = count(graph.devices, "device");
        const gather = GATHER[graph.by];
        const chosen = Object.keys(GATHER).some(name => options[name]);
        replace(note, gather ? `${all} by ${gather.one}; choose one to see its devices` : all,
                graph.moreNodes ? `; the map shows ${NODES_MAX} ${gather ? gather.many : "of them"}, search to see others` : "",
                graph.moreConsumers ? `; ${count(graph.moreConsumers, "consumer")} more in the table` : "",
                chosen ? [". ", link(["paths"], options.by ? { by: options.by } : {}, "All devices", { "data-key": "all devices" })] : "");
        replace(map, drawMap(graph, Math.max(240, map.clientWidth - 2 * FRAME)));
        table.update(graph.paths);
    }
    new ResizeObserver(() => { if (map.isConnected) update(options); }).observe(map);

    return {
        title: "Paths", update,
        element: el("div", {}, el("div", { class: "toolbar" }, search.element, group.element, node.element, by.element), note, legend, map, section("The same as a table", table.element)),
    };
}
