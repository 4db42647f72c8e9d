#include "cli/gateway/gw_status.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/common/json_get.h"
#include "cli/gateway/gw_fleet_answer.h"
#include "cli/gateway/gw_fleet_ask.h"
#include "cmxsafe/core/text.h"
#include "gateway/folder/gw_copy.h"
#include "gateway/registry/certificate.h"
#include "gateway/server/gw_control.h"
#include "gateway/server/gw_report.h"

int gw_status_ask(const struct gw *g, const char *request, char **answer)
{
    struct cmx_why e = {0};

    if (gw_control(g, request, answer, &e))
        return gw_fail("asking the running gateway failed", &e);
    (*answer)[strcspn(*answer, "\n")] = '\0';
    if ((*answer)[0] != '{' || !json_is_whole(*answer)) {
        cmx_why_set(&e, "its answer is malformed; restart it");
        return gw_fail("asking the running gateway failed", &e);
    }
    cmx_text_clean(*answer); /* the name of a session's SSH software may contain C1 control characters */
    return CLI_OK;
}

int gw_status_show(const struct gw_common *c, bool here, const struct gw_status_view *view)
{
    struct gw_fleet_answers others = {0};
    char *answer = NULL;
    struct gw g;
    int status = gw_command_open(&g, c, false);

    if (status)
        return status;
    status = gw_status_ask(&g, view->request, &answer);
    if (!status && view->question && !here && geteuid() == 0)
        gw_fleet_ask(&g, view->question, view->reader, &others);
    if (!status && c->json && !others.n)
        puts(answer);
    else if (!status)
        status = view->print(&g, answer, &others, c->json);
    fflush(stdout);
    gw_fleet_warn(&others, view->what);
    gw_fleet_free(&others);
    free(answer); /* allocated by open_memstream */
    gw_folder_close(&g);
    return status;
}

/* ---- printing the sessions ---- */

void gw_status_bytes(int64_t n, char out[GW_BYTES_TEXT_MAX])
{
    static const char units[] = "BkMGT";
    double v = (double)n;
    size_t u = 0;

    while (v >= 10000 && u < 4) {
        v /= 1000;
        u++;
    }
    snprintf(out, GW_BYTES_TEXT_MAX, "%.0f%c", v, units[u]);
}

static void print_forwards(const char *object)
{
    char text[80];

    for (const char *f = json_first(object, "forwards"); f; f = json_next(f)) {
        json_text(f, "", text, sizeof text);
        printf(" %s", text);
    }
}

static void print_attested(struct gw *g, const char *name)
{
    struct gw_device d;
    struct gw_attestation attested = {0};
    char when[GW_TIME_TEXT_MAX];

    if (gw_device_get(&g->registry, name, &d, NULL) == CMX_OK)
        gw_attestation_get(&g->registry, d.id, &attested);
    printf("%s", attested.at ? attested.verdict : "never");
    if (attested.at)
        printf(" %s", gw_command_time(attested.at, when));
}

static void print_standing(struct gw *g, const char *name)
{
    struct gw_standing s;

    if (gw_standing_get(&g->registry, name, &s, NULL) == CMX_OK && (s.quarantined || s.exempt))
        printf(" %s%s%s", gw_standing_text(&s), s.reason[0] ? ": " : "", s.reason);
}

/* Prints " by certificate 'alice-7' (serial 7 of corp) until 2026-11-29 18:00:00Z". */
static void print_certificate(const char *object)
{
    char id[GW_CERTIFICATE_ID_MAX];
    char authority[GW_NAME_MAX];
    char serial[24];
    char when[GW_TIME_TEXT_MAX];
    int64_t ends = json_number(object, "certificate_ends");

    if (!json_text(object, "ca", authority, sizeof authority))
        return;
    json_text(object, "certificate", id, sizeof id);
    json_text(object, "serial", serial, sizeof serial);
    printf(" by certificate '%s' (serial %s of %s)%s%s", id, serial, authority, ends ? " until " : "",
           ends ? gw_command_time(ends, when) : "");
}

/* Prints one session. node: the gateway that has the session; NULL: the table has no column for gateways. */
static void print_session(struct gw *g, const char *node, const char *object)
{
    char name[GW_NAME_MAX];
    char from[GW_SOURCE_TEXT_MAX];
    char when[GW_TIME_TEXT_MAX];
    char in[GW_BYTES_TEXT_MAX];
    char out[GW_BYTES_TEXT_MAX];

    json_text(object, "name", name, sizeof name);
    json_text(object, "from", from, sizeof from);
    gw_status_bytes(json_number(object, "bytes_in"), in);
    gw_status_bytes(json_number(object, "bytes_out"), out);
    if (node)
        printf("%-12s ", node);
    printf("%-20s %-21s %-22s %7s %7s  ", name, gw_command_time(json_number(object, "since"), when), from, in, out);
    print_attested(g, name);
    print_standing(g, name);
    print_certificate(object);
    putchar(' ');
    print_forwards(object);
    putchar('\n');
}

static size_t print_sessions(struct gw *g, const char *node, const char *answer)
{
    size_t n = 0;

    for (const char *x = json_first(answer, "sessions"); x; x = json_next(x), n++)
        print_session(g, node, x);
    return n;
}

static void print_all(struct gw *g, const char *answer, const struct gw_fleet_answers *others)
{
    const char *own = others->n ? others->nodes.own->name : NULL;
    char trouble[300];
    size_t n;

    json_text(answer, "trouble", trouble, sizeof trouble);
    if (own)
        printf("%-12s ", "GATEWAY");
    printf("%-20s %-21s %-22s %7s %7s  %s\n", "NAME", "SINCE", "FROM", "IN", "OUT", "ATTESTED  LISTENERS");
    n = print_sessions(g, own, answer);
    for (size_t i = 0; i < others->n; i++)
        if (others->list[i].text)
            n += print_sessions(g, others->list[i].node->name, others->list[i].text);
    printf("%zu connected; %s%lld logging in, %lld logins, %lld takeovers, %lld refused forwards\n", n,
           own ? "at this gateway " : "", (long long)json_number(answer, "logging_in"),
           (long long)json_number(answer, "counters.logins"), (long long)json_number(answer, "counters.takeovers"),
           (long long)json_number(answer, "counters.forwards_denied"));
    if (trouble[0])
        printf("trouble: %lld logins failed since the start because the registry could not be read; "
               "last error: %s\n",
               (long long)json_number(answer, "counters.registry_trouble"), trouble);
}

/* Writes the sessions of one gateway, each with the gateway's name. */
static void put_sessions(const char *node, const char *answer, const char **separator)
{
    for (const char *x = json_first(answer, "sessions"); x; x = json_next(x)) {
        printf("%s{\"gateway\":\"%s\",%.*s", *separator, node, (int)json_length(x) - 1, x + 1);
        *separator = ",";
    }
}

static void put_names(const char *key, const struct gw_fleet_answers *others, bool malformed)
{
    const char *separator = "";

    printf(",\"%s\":[", key);
    for (size_t i = 0; i < others->n; i++)
        if (malformed ? others->list[i].malformed > 0 : !others->list[i].text) {
            printf("%s\"%s\"", separator, others->list[i].node->name);
            separator = ",";
        }
    printf("]");
}

/* Prints this gateway's answer with the sessions of all gateways. The sessions are the answer's last member, and are
 * copied as text; node names need no escaping. */
static void print_json(const char *answer, const struct gw_fleet_answers *others)
{
    const char *sessions = json_find(answer, "sessions");
    const char *separator = "";

    if (!sessions)
        return;
    printf("%.*s[", (int)(sessions - answer), answer);
    put_sessions(others->nodes.own->name, answer, &separator);
    for (size_t i = 0; i < others->n; i++)
        if (others->list[i].text)
            put_sessions(others->list[i].node->name, others->list[i].text, &separator);
    printf("]");
    put_names("unanswered", others, false);
    put_names("malformed", others, true);
    printf("}\n");
}

static void print_warning(const char *text)
{
    if (text[0])
        printf("warning: %s\n", text);
}

static void print_warnings(struct gw *g, const char *answer)
{
    char warning[GW_COPY_WARNING_MAX];

    gw_copy_warning(g, warning);
    print_warning(warning);
    gw_copy_left_out(g, warning);
    print_warning(warning);
    if (g->user && !g->simple)
        printf("--user mode: sessions have no identities\n");
    json_text(answer, "judge", warning, sizeof warning);
    print_warning(warning);
    if (!g->user && !g->simple && !json_is_true(answer, "confined"))
        print_warning("the kernel has no Landlock; a session whose sshd is taken over could act as another session");
}

static int print_status(struct gw *g, const char *answer, const struct gw_fleet_answers *others, bool json)
{
    if (json) {
        print_json(answer, others);
        return CLI_OK;
    }
    print_warnings(g, answer);
    print_all(g, answer, others);
    return CLI_OK;
}

static int watch_status(struct gw *g, const char *answer, const struct gw_fleet_answers *others, bool json)
{
    fputs("\033[H\033[2J", stdout); /* clears the terminal */
    return print_status(g, answer, others, json);
}

const struct gw_status_view gw_status_sessions = {"status", GW_REPORT_STATUS "\n", gw_fleet_answer_status, "sessions",
                                                  print_status};
static const struct gw_status_view watched = {"status", GW_REPORT_STATUS "\n", gw_fleet_answer_status, "sessions",
                                              watch_status};

int gw_cmd_watch(int argc, char **argv)
{
    struct gw_common c = {0};
    uint64_t every = 2;
    uint64_t times = 0;
    const struct cli_option options[] = {
        GW_DIR_OPTION(c),
        CLI_NUMBER("every", "SECONDS", 1, 3600, "the interval", &every),
        CLI_NUMBER("times", "N", 0, 1000000, "stop after N times; 0: never", &times),
    };
    struct cli_line line =
        CLI_LINE("cmxsafe gateway watch", "", "Shows the status repeatedly, until Ctrl-C.", 0, 0, options);
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    for (uint64_t i = 0;; i++) {
        status = gw_status_show(&c, false, isatty(STDOUT_FILENO) ? &watched : &gw_status_sessions);
        if (status || i + 1 == times || !cli_flush())
            return status;
        sleep((unsigned)every);
    }
}
