// page.js - shared by the console and the agent's page: light or dark as chosen in Cockpit's style menu ("auto" follows the browser), the
// link that skips the navigation, repeated reading, and the end of the connection.
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function apply(chosen) {
    const style = chosen || localStorage.getItem("shell:style") || "auto";
    document.documentElement.classList.toggle("dark", style === "dark" || (style === "auto" && dark.matches));
}

// Calls `read` again and again; each call begins `ms` milliseconds after the last one has ended. Skips the calls while the page is hidden.
export async function every(ms, read) {
    for (;;) {
        if (!document.hidden)
            await read();
        await new Promise(resolve => setTimeout(resolve, ms));
    }
}

// lost: the connection to Cockpit has ended. A command that is started then gets neither an answer nor an error.
export const connection = { lost: false };

// onLost is called when the connection has ended.
export function beginPage(onLost) {
    window.cockpit.channel({ payload: "null" }).addEventListener("close", (event, { problem }) => {
        if (problem === "not-supported") // the bridge has no channels of this kind
            return;
        connection.lost = true;
        onLost();
    });
    document.getElementById("skip").addEventListener("click", event => { event.preventDefault(); document.getElementById("content").focus(); });
    window.addEventListener("storage", event => { if (event.key === "shell:style") apply(); });
    window.addEventListener("cockpit-style", event => apply(event.detail && event.detail.style));
    dark.addEventListener("change", () => apply());
    apply();
}
