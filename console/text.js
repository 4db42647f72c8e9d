// text.js - how the console writes times, sizes, states and commands.

const two = n => String(n).padStart(2, "0");

export const isTime = at => !Number.isNaN(new Date(at * 1000).getTime());

// Returns seconds since 1970 as a local time; "" for 0 and for a number that is not a valid time.
export function time(at) {
    if (!at || !isTime(at))
        return "";
    const d = new Date(at * 1000);
    return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

// Returns the time since `at` as text, in the largest unit that fits, such as "5 min".
export function ago(at, now = Date.now() / 1000) {
    const s = Math.max(0, Math.round(now - at));
    for (const [unit, seconds] of [["d", 86400], ["h", 3600], ["min", 60]])
        if (s >= seconds)
            return `${Math.floor(s / seconds)} ${unit}`;
    return `${s} s`;
}

// Returns a number of milliseconds as text, in the largest unit that fits.
export const duration = ms => (ms < 1000 ? `${ms} ms` : ago(0, ms / 1000));

export function bytes(n) {
    let value = n;
    for (const unit of ["B", "kB", "MB", "GB"]) {
        if (value < 1000)
            return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)}\u00a0${unit}`;
        value /= 1000;
    }
    return `${value < 10 ? value.toFixed(1) : Math.round(value)}\u00a0TB`;
}
export const rate = n => `${bytes(n)}/s`;

// Returns "1 device" or "2 devices".
export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

const quote = word => (/^[A-Za-z0-9_.\/:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

// Returns the command as a person types it in a shell. input: the text for its standard input.
export function shell(args, { sudo = false, input = null } = {}) {
    const command = `${sudo ? "sudo " : ""}cmxsafe gateway ${args.map(quote).join(" ")}`;
    return input === null ? command : `echo ${quote(input)} | ${command}`;
}

// A state is shown as a word with a sign, never by colour alone.
const SIGNS = {
    connected: "●", skipped: "–", here: "●", linked: "✓", unlinked: "!", away: "○", revoked: "✕", pending: "…", quarantined: "!", match: "✓", differs: "✕", failed: "!", ok: "✓",
    warning: "!", hint: "i", error: "✕", never: "–", granted: "–", active: "▶", denied: "✕",
};
export const sign = word => (Object.hasOwn(SIGNS, word) ? SIGNS[word] : "·");
