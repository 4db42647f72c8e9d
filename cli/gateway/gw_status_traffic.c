/* `cmxsafe gateway status`: the command, and its view --traffic, which shows the last hour minute by minute, over all
 * gateways. */
#include <stdlib.h>
#include <string.h>

#include "cli/common/json_get.h"
#include "cli/gateway/gw_fleet_answer.h"
#include "cli/gateway/gw_fleet_ask.h"
#include "cli/gateway/gw_status.h"
#include "cmxsafe/core/mem.h"
#include "gateway/registry/list.h"
#include "gateway/server/gw_report.h"

static const char about_status[] =
    "Shows the connected sessions with start time, source, bytes and listeners, and each device's last attestation, on "
    "all\ngateways of the fleet. With --traffic: the total sessions and bytes in each minute of the last hour.";

static const char *const minute_keys[] = {"sessions", "bytes_in", "bytes_out", "denied"};
static const char *const party_keys[] = {"sessions", "bytes_in", "bytes_out", "refused", "denied", "takeovers_refused"};

#define COUNTS_MAX GW_COUNT(party_keys)

/* The counts for a minute or a party, from one gateway or added up over all gateways. */
struct traffic_row {
    char name[GW_NAME_MAX]; /* name of the party; "": the row is a minute */
    int64_t at;             /* Unix time of the minute's end, a multiple of 60 */
    uint64_t length_ms;
    uint64_t counts[COUNTS_MAX]; /* the numbers, in the order of traffic_rows.keys */
};

struct traffic_rows {
    const char *list_key; /* name of the list in the answer */
    const char *const *keys;
    size_t n_keys;
    struct traffic_row *list;
    size_t n, cap;
};

/* Reads one list from a gateway's answer. False: out of memory. */
static bool rows_read(struct traffic_rows *rows, const char *answer)
{
    for (const char *object = json_first(answer, rows->list_key); object; object = json_next(object)) {
        struct traffic_row row = {.at = json_number(object, "at"),
                                  .length_ms = (uint64_t)json_number(object, "length_ms")};

        json_text(object, "name", row.name, sizeof row.name);
        for (size_t i = 0; i < rows->n_keys; i++)
            row.counts[i] = (uint64_t)json_number(object, rows->keys[i]);
        if (gw_list_add(&rows->list, &rows->n, &rows->cap, &row, sizeof row))
            return false;
    }
    return true;
}

static int compare_rows(const void *a, const void *b)
{
    const struct traffic_row *x = a;
    const struct traffic_row *y = b;

    return x->at != y->at ? (x->at < y->at ? -1 : 1) : strcmp(x->name, y->name);
}

/* Adds up the rows of the same minute or party into one row. */
static void rows_sum(struct traffic_rows *rows)
{
    size_t n = 0;

    if (rows->n)
        qsort(rows->list, rows->n, sizeof rows->list[0], compare_rows);
    for (size_t i = 0; i < rows->n; i++) {
        struct traffic_row *sum = &rows->list[n ? n - 1 : 0];

        if (n == 0 || compare_rows(sum, &rows->list[i]) != 0) {
            rows->list[n++] = rows->list[i];
            continue;
        }
        if (rows->list[i].length_ms > sum->length_ms)
            sum->length_ms = rows->list[i].length_ms;
        for (size_t k = 0; k < rows->n_keys; k++)
            sum->counts[k] += rows->list[i].counts[k];
    }
    rows->n = n;
}

/* Returns the index of the first minute to print. If the gateways' clocks differ, the list can have more minutes than
 * an hour has. */
static size_t first_minute(const struct traffic_rows *minutes)
{
    return minutes->n > GW_TRAFFIC_MINUTES ? minutes->n - GW_TRAFFIC_MINUTES : 0;
}

static void print_minutes(const struct traffic_rows *minutes)
{
    char when[GW_TIME_TEXT_MAX];
    char in[GW_BYTES_TEXT_MAX];
    char out[GW_BYTES_TEXT_MAX];

    printf("%-21s %8s %8s %8s %8s\n", "UNTIL", "SESSIONS", "IN", "OUT", "DENIED");
    for (size_t i = first_minute(minutes); i < minutes->n; i++) {
        const struct traffic_row *row = &minutes->list[i];

        gw_status_bytes((int64_t)row->counts[1], in);
        gw_status_bytes((int64_t)row->counts[2], out);
        printf("%-21s %8llu %8s %8s %8llu\n", gw_command_time(row->at, when), (unsigned long long)row->counts[0], in,
               out, (unsigned long long)row->counts[3]);
    }
}

static void put_rows(struct cmx_json *j, const char *key, const struct traffic_rows *rows, size_t first)
{
    cmx_json_array(j, key);
    for (size_t i = first; i < rows->n; i++) {
        const struct traffic_row *row = &rows->list[i];

        cmx_json_object(j, NULL);
        if (row->name[0])
            cmx_json_str(j, "name", row->name);
        else {
            cmx_json_i64(j, "at", row->at);
            cmx_json_u64(j, "length_ms", row->length_ms);
        }
        for (size_t k = 0; k < rows->n_keys; k++)
            cmx_json_u64(j, rows->keys[k], row->counts[k]);
        cmx_json_end(j);
    }
    cmx_json_end(j);
}

static void put_names(struct cmx_json *j, const char *key, const struct gw_fleet_answers *others, bool malformed)
{
    cmx_json_array(j, key);
    for (size_t i = 0; i < others->n; i++)
        if (malformed ? others->list[i].malformed > 0 : !others->list[i].text)
            cmx_json_str(j, NULL, others->list[i].node->name);
    cmx_json_end(j);
}

static void put_json(const struct traffic_rows *minutes, const struct traffic_rows *parties,
                     const struct gw_fleet_answers *others)
{
    struct gw_json json;

    gw_json_begin_stdout(&json);
    put_rows(&json.j, "minutes", minutes, first_minute(minutes));
    put_rows(&json.j, "parties", parties, 0);
    put_names(&json.j, "unanswered", others, false);
    put_names(&json.j, "malformed", others, true);
    gw_json_end_stdout(&json);
}

/* Prints the sums of the numbers in all gateways' answers. */
static int print_traffic(struct gw *g, const char *answer, const struct gw_fleet_answers *others, bool json)
{
    struct traffic_rows minutes = {.list_key = "minutes", .keys = minute_keys, .n_keys = GW_COUNT(minute_keys)};
    struct traffic_rows parties = {.list_key = "parties", .keys = party_keys, .n_keys = GW_COUNT(party_keys)};
    bool ok = rows_read(&parties, answer) && rows_read(&minutes, answer);

    (void)g;
    for (size_t i = 0; i < others->n && ok; i++)
        if (others->list[i].text)
            ok = rows_read(&parties, others->list[i].text) && rows_read(&minutes, others->list[i].text);
    rows_sum(&minutes);
    rows_sum(&parties);
    if (ok && json)
        put_json(&minutes, &parties, others);
    else if (ok)
        print_minutes(&minutes);
    cmx_mem_free(minutes.list);
    cmx_mem_free(parties.list);
    return ok ? CLI_OK : cli_fail("status failed", "out of memory", NULL);
}

static const struct gw_status_view traffic_view = {"traffic", GW_REPORT_TRAFFIC "\n", gw_fleet_answer_traffic,
                                                   "figures", print_traffic};

int gw_cmd_status(int argc, char **argv)
{
    struct gw_common c = {0};
    bool traffic = false;
    bool here = false;
    const struct cli_option options[] = {
        GW_DIR_OPTION(c),
        CLI_FLAG("traffic", "show the last hour minute by minute; with --json, also the traffic of each party",
                 &traffic),
        CLI_FLAG("here", "only this gateway", &here),
        GW_JSON_OPTION(c),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway status", "", about_status, 0, 0, options);
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    return gw_status_show(&c, here, traffic ? &traffic_view : &gw_status_sessions);
}
