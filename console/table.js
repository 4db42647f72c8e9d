// table.js - a list that stays fast with 10,000 rows: filtered and sorted as a whole, drawn one page at a time. On a narrow
// screen each row becomes a card (console.css); the ARIA roles keep it a table there.
import { button, el, replace } from "./dom.js";
import { count } from "./text.js";

const PAGE = 100;

const collator = new Intl.Collator("en", { numeric: true });
const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));

// columns: [{id, title, value(row), cell(row), shown(rows)}]. cell: the drawn content; without it, the value is drawn. A column is drawn
// unless `shown` returns false. noun: what a row is, for the count. sort, descending: the column and the direction by which the rows are
// sorted at first.
export function createTable({ caption, columns, noun, sort, descending = false, empty }) {
    const body = el("tbody", { role: "rowgroup" });
    const head = el("tr", { role: "row" });
    const summary = el("p", { class: "summary", role: "status" });
    const pager = el("div", { class: "pager" });
    const table = el("table", { role: "table", hidden: true }, el("caption", {}, caption), el("thead", { role: "rowgroup" }, head), body);
    const state = { column: sort, descending, page: 0 };
    let rows = [];

    function drawHead(visible) {
        replace(head, visible.map(column => el("th", {
            role: "columnheader", scope: "col", class: column.value ? null : "unsorted",
            "aria-sort": column.id === state.column ? (state.descending ? "descending" : "ascending") : null,
        }, column.value ? el("button", {
            type: "button", class: "sort", "data-key": `sort ${column.id}`,
            click: () => {
                state.descending = column.id === state.column && !state.descending;
                state.column = column.id;
                state.page = 0;
                draw();
            },
        }, column.title, el("span", { "aria-hidden": "true" },
                            column.id !== state.column ? "" : state.descending ? " ▼" : " ▲")) : column.title)));
    }

    function drawPager(pages) {
        const go = (label, page, enabled) => {
            const b = button(label, () => { state.page = page; draw(); }, "plain");
            b.disabled = !enabled;
            return b;
        };
        replace(pager, pages < 2 ? [] : [
            go("First", 0, state.page > 0), go("Previous", state.page - 1, state.page > 0),
            el("span", {}, `Page ${state.page + 1} of ${pages}`),
            go("Next", state.page + 1, state.page + 1 < pages), go("Last", pages - 1, state.page + 1 < pages),
        ]);
    }

    function draw() {
        const visible = columns.filter(column => !column.shown || column.shown(rows));
        const by = columns.find(column => column.id === state.column);
        const pages = Math.max(1, Math.ceil(rows.length / PAGE));
        const [first] = columns;
        const sorted = [...rows].sort((a, b) => compare(by.value(a), by.value(b)) * (state.descending ? -1 : 1) || compare(first.value(a), first.value(b)));

        state.page = Math.min(state.page, pages - 1);
        drawHead(visible);
        drawPager(pages);
        replace(summary, rows.length ? count(rows.length, ...noun) : empty);
        table.hidden = rows.length === 0;
        replace(body, sorted.slice(state.page * PAGE, (state.page + 1) * PAGE).map(row => el("tr", { role: "row" },
            visible.map(column => el("td", { role: "cell", "data-label": column.title },
                                     el("span", {}, column.cell ? column.cell(row) : String(column.value(row))))))));
    }

    return {
        element: el("div", { class: "list" }, summary, el("div", { class: "scroll" }, table), pager),
        update(next) { rows = next; draw(); },
        firstPage() { state.page = 0; },
    };
}
