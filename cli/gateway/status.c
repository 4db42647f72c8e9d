#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/gateway/status.h"
#include "cmxsafe/core/text.h"

static const char about_status[] =
    "Says who is connected, since when, from where, with which listeners and how many bytes, and each device's last\n"
    "attestation.";

/* ---- reading the running gateway's answer: flat JSON of our own making, with known keys ---- */

bool gw_answer_text(const char *object, const char *key, char *out, size_t cap)
{
    char pattern[64];
    const char *at;
    size_t n = 0;

    out[0] = '\0';
    snprintf(pattern, sizeof pattern, "\"%s\":\"", key);
    at = strstr(object, pattern);
    if (!at)
        return false;
    for (at += strlen(pattern); *at && *at != '"' && n + 1 < cap; at++) {
        if (*at == '\\' && at[1])
            at++;
        out[n++] = *at;
    }
    out[n] = '\0';
    return true;
}

int64_t gw_answer_number(const char *object, const char *key)
{
    char pattern[64];
    const char *at;

    snprintf(pattern, sizeof pattern, "\"%s\":", key);
    at = strstr(object, pattern);
    return at ? strtoll(at + strlen(pattern), NULL, 10) : 0;
}

char *gw_answer_next(char **rest)
{
    char *begin = strchr(*rest, '{');
    char *end = begin ? strchr(begin, '}') : NULL;

    if (!end)
        return NULL;
    *end = '\0';
    *rest = end + 1;
    return begin;
}

char *gw_answer_sessions(char *answer)
{
    char *at = strstr(answer, "\"sessions\":[");
    return at ? at + strlen("\"sessions\":[") : answer + strlen(answer);
}

int gw_ask_status(const struct gw *g, char **answer)
{
    struct gw_error e = {0};
    size_t len = 0;
    FILE *f = open_memstream(answer, &len);
    cmx_err err;

    if (!f)
        return cli_fail("status failed", "out of memory", NULL);
    err = gw_control(g, "status", f, &e);
    if (fclose(f) != 0 && !err)
        err = gw_error_set(&e, CMX_ENOMEM, NULL, "out of memory");
    return err ? gw_fail("status failed", &e) : CLI_OK;
}

/* ---- printing ---- */

static void human_bytes(int64_t n, char out[16])
{
    static const char units[] = "BkMGT";
    double v = (double)n;
    size_t u = 0;

    while (v >= 10000 && u < 4) {
        v /= 1000;
        u++;
    }
    snprintf(out, 16, "%.0f%c", v, units[u]);
}

static void print_forwards(const char *object)
{
    const char *at = strstr(object, "\"forwards\":[");
    const char *end = at ? strrchr(at, ']') : NULL; /* addresses have brackets, too */

    for (at = at ? at + strlen("\"forwards\":[") : NULL; at && at < end; at++)
        if (*at != '"')
            putchar(*at == ',' ? ' ' : *at);
}

static void print_attested(struct gw *g, const char *name)
{
    struct gw_device d;
    char verdict[32] = "";
    char when[32];
    int64_t at = 0;

    if (gw_device_get(&g->registry, name, &d, NULL) == CMX_OK)
        gw_attestation_get(&g->registry, d.id, &at, verdict, sizeof verdict);
    printf("%s", at ? verdict : "never");
    if (at)
        printf(" %s", gw_time_text(at, when));
}

static void print_session(struct gw *g, const char *object)
{
    char name[GW_NAME_MAX];
    char from[64];
    char when[32];
    char in[16];
    char out[16];

    gw_answer_text(object, "name", name, sizeof name);
    gw_answer_text(object, "from", from, sizeof from);
    human_bytes(gw_answer_number(object, "bytes_in"), in);
    human_bytes(gw_answer_number(object, "bytes_out"), out);
    printf("%-20s %-21s %-22s %7s %7s  ", name, gw_time_text(gw_answer_number(object, "since"), when), from, in, out);
    print_attested(g, name);
    printf("  ");
    print_forwards(object);
    putchar('\n');
}

static void print_all(struct gw *g, char *answer)
{
    char trouble[300];
    char *rest = gw_answer_sessions(answer);
    char *object;
    size_t n = 0;

    gw_answer_text(answer, "trouble", trouble, sizeof trouble);
    printf("%-20s %-21s %-22s %7s %7s  %s\n", "NAME", "SINCE", "FROM", "IN", "OUT", "ATTESTED  LISTENERS");
    for (; (object = gw_answer_next(&rest)) != NULL; n++)
        print_session(g, object);
    printf("%zu connected, %lld logging in, %lld logins, %lld takeovers, %lld refused forwards\n", n,
           (long long)gw_answer_number(answer, "logging_in"), (long long)gw_answer_number(answer, "logins"),
           (long long)gw_answer_number(answer, "takeovers"), (long long)gw_answer_number(answer, "forwards_denied"));
    if (trouble[0])
        printf("trouble: %lld logins could not read the registry since the start, the last because %s\n",
               (long long)gw_answer_number(answer, "registry_trouble"), trouble);
}

static int show(const struct gw_common *c, bool clear)
{
    char *answer = NULL;
    struct gw g;
    int status = gw_open(&g, c, false);

    if (status)
        return status;
    status = gw_ask_status(&g, &answer);
    if (!status && c->json)
        fputs(answer, stdout);
    else if (!status) {
        printf("%s", clear ? "\033[H\033[2J" : "");
        print_all(&g, answer);
    }
    fflush(stdout);
    free(answer); /* open_memstream's own */
    gw_close(&g);
    return status;
}

int gw_cmd_status(int argc, char **argv)
{
    struct gw_common c = {0};
    const struct gw_option options[] = {GW_DIR_OPTION(c), GW_JSON_OPTION(c)};
    struct gw_command_line line = {
        .command = "status", .operands = "", .about = about_status, .options = options, .n_options = GW_COUNT(options)};
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    return show(&c, false);
}

int gw_cmd_watch(int argc, char **argv)
{
    struct gw_common c = {0};
    const char *every = "2";
    const char *times = "0";
    const struct gw_option options[] = {
        GW_DIR_OPTION(c),
        {"every", "SECONDS", "how often (default 2)", &every},
        {"times", "N", "stop after N times (default: never)", &times},
    };
    struct gw_command_line line =
        GW_COMMAND_LINE("watch", "", "Shows the status again and again, until Ctrl-C.", 0, 0, options);
    uint64_t seconds;
    uint64_t n;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (cmx_text_u64(every, 1, 3600, &seconds) || cmx_text_u64(times, 0, 1000000, &n))
        return cli_usage("cmxsafe gateway watch", "--every and --times take numbers");
    for (uint64_t i = 0;; i++) {
        status = show(&c, isatty(STDOUT_FILENO));
        if (status || i + 1 == n)
            return status;
        sleep((unsigned)seconds);
    }
}
