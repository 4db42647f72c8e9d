// gateway.js - the only module that runs commands. Everything that the console shows or does is a `cmxsafe gateway` command,
// started with an array of arguments and never through a shell. Cockpit decides who may run it with which privilege.

import { connection } from "./page.js";
import { shell } from "./text.js";

const { cockpit } = window;

// message: what the command printed on standard error, unchanged, or why Cockpit could not run it. output: what it printed on standard
// output.
export class CommandError extends Error {
    constructor(message, output, status) {
        super(message);
        this.output = output;
        this.status = status;
    }
}

const PROBLEMS = {
    "not-found": "cmxsafe: the program cmxsafe is not installed on this machine; install the package cmxsafe",
    "access-denied": "cmxsafe: this needs administrative access; turn it on at the top of Cockpit's page, then try again",
    "authentication-failed": "cmxsafe: this needs administrative access; turn it on at the top of Cockpit's page, then try again",
    "cancelled": "cancelled",
    "disconnected": "cmxsafe: the connection to the machine is lost; load this page again, and log in",
};

// A system gateway belongs to root, so a change needs administrative access. A --user gateway belongs to the person who is logged in. A
// command that only reads runs with administrative access if the person has it. Otherwise the command's message says what it could not
// read.
let superuser = "try";
export const setMode = mode => { superuser = mode === "system" ? "require" : "try"; };
export const needsSudo = () => superuser === "require";

// Returns the values in the lines of a command's output. Lines that are not JSON are ignored.
const parseLines = text => text.split("\n").flatMap(line => {
    try {
        return [JSON.parse(line)];
    } catch {
        return [];
    }
});

// Returns why devices failed: `update` and `attest` with --json print the reasons on standard output.
const reasonsIn = output => parseLines(output).filter(o => o?.outcome === "failed").map(o => o.detail).join("\n");

// Starts a command. change: the command changes something. input: text for its standard input. binary: the caller sends bytes to `process`
// instead. onText: gets output as it arrives. Returns {process, done}: the promise done gives {output, note} or fails with a CommandError.
// note: what the command printed on standard error.
export function start(args, { change = false, input = null, binary = false, onText = null } = {}) {
    if (connection.lost)
        return { process: { input() {}, close() {} }, done: Promise.reject(new CommandError(PROBLEMS.disconnected, "")) };
    const process = cockpit.spawn(["cmxsafe", "gateway", ...args], { superuser: change ? superuser : "try", err: "message", binary });
    const decoder = new TextDecoder();
    let streamed = "";

    if (onText)
        process.stream(data => { const text = binary ? decoder.decode(data, { stream: true }) : data; streamed += text; onText(text); });
    if (input !== null && !binary)
        process.input(`${input}\n`);
    const done = new Promise((resolve, reject) => {
        process.done((output, note) => resolve({ output: output || "", note: (note || "").trim() }));
        process.fail((problem, output) => {
            const message = (problem.message || "").trim();
            const text = onText ? streamed : output || "";
            reject(new CommandError(PROBLEMS[problem.problem] || message || reasonsIn(text) || `cmxsafe: ended with status ${problem.exit_status}`,
                                    text, problem.exit_status));
        });
    });
    return { process, done };
}

export const run = (args, options) => start(args, options).done;

// Runs a command with --json and returns the parsed JSON. evenFailed: also returns the JSON of a command that failed (doctor).
export async function json(args, { evenFailed = false } = {}) {
    let output;
    try {
        ({ output } = await run([...args, "--json"]));
    } catch (error) {
        if (!evenFailed || !(error instanceof CommandError) || !error.output)
            throw error;
        ({ output } = error);
    }
    try {
        return JSON.parse(output);
    } catch {
        throw new CommandError(`cmxsafe: the output of '${shell(args)} --json' is not JSON; check that cmxsafe and this console have the same version`, output, 0);
    }
}

// Starts a command that prints one JSON object per line. Lines that are not JSON are ignored.
export function startLines(args, onObject, options = {}) {
    let rest = "";
    const take = text => {
        const lines = (rest + text).split("\n");
        rest = lines.pop();
        parseLines(lines.join("\n")).forEach(onObject);
    };
    return start(args, { ...options, onText: take });
}

// Like startLines, for a command that reads a File from its standard input and meanwhile prints {"received":BYTES}. No more than WINDOW
// bytes are on their way to the command, so that neither the browser nor Cockpit has to hold the whole file in memory.
const WINDOW = 1 << 20;
const CHUNK = 1 << 17;
export function upload(args, file, onObject) {
    let sent = 0, received = 0, sending = false, ended = false, unreadable = null;
    const started = startLines(args, object => {
        received = object.received ?? received;
        onObject(object);
        send();
    }, { change: true, binary: true });

    async function send() {
        if (sending)
            return;
        sending = true;
        try {
            while (!ended && sent < file.size && sent - received < WINDOW) {
                const chunk = new Uint8Array(await file.slice(sent, sent + CHUNK).arrayBuffer());
                sent += chunk.length;
                if (!ended)
                    started.process.input(chunk, true);
            }
        } catch {
            unreadable = new CommandError(`${file.name} cannot be read: it has changed since it was chosen; choose it again`, "");
            started.process.close("cancelled");
            return;
        }
        sending = false;
        if (!ended && sent >= file.size) {
            ended = true;
            started.process.input();
        }
    }
    started.done = started.done.catch(error => { throw unreadable || error; }).finally(() => { ended = true; });
    send();
    return started;
}

// commands() returns the set of commands that the installed cmxsafe has. hasOption() returns whether a command has an option. The console
// shows nothing that needs a missing command or option.
export async function commands() {
    const { output } = await run(["--help"]);
    const names = [...output.matchAll(/^ {2}([a-z][a-z-]*) {2,}/gm)].map(match => match[1]);
    return new Set(names);
}
const help = new Map();
export async function hasOption(command, option) {
    if (!help.has(command))
        help.set(command, run([command, "--help"]).then(({ output }) => output, () => ""));
    return (await help.get(command)).includes(`--${option} `);
}
