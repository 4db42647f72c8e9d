/* `cmxsafe gateway log`: the registry's audit trail. */
#include "cli/gateway/gw.h"
#include "cmxsafe/core/text.h"

static const char about[] =
    "Prints the registry's audit trail, the oldest first: enrolments, changes, rotations, revocations, grants. With "
    "NAME those\n"
    "that speak of this device, platform or user. Logins are in the journal (journalctl -u cmxsafe-gateway).";

struct log_job {
    bool json;
    size_t n;
};

static cmx_err print_event(void *arg, int64_t at, const char *what, const char *who, const char *detail)
{
    struct log_job *job = arg;
    char when[32];

    if (job->json) {
        fputs(job->n++ ? ",\n{" : "{", stdout);
        gw_json_number(stdout, true, "at", at);
        gw_json_text(stdout, false, "what", what);
        gw_json_text(stdout, false, "who", who);
        gw_json_text(stdout, false, "detail", detail);
        putchar('}');
    } else {
        printf("%s  %-16s %-24s %s\n", gw_time_text(at, when), what, who, detail);
    }
    return CMX_OK;
}

int gw_cmd_log(int argc, char **argv)
{
    struct gw_common c = {0};
    const char *last = "100";
    const struct gw_option options[] = {
        GW_DIR_OPTION(c),
        {"last", "N", "the last N (default 100; 0: all)", &last},
        GW_JSON_OPTION(c),
    };
    struct gw_command_line line = GW_COMMAND_LINE("log", "[NAME]", about, 0, 1, options);
    struct gw_error e = {0};
    struct log_job job = {0};
    uint64_t n = 0;
    struct gw g;
    cmx_err err;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (cmx_text_u64(last, 0, 1000000000, &n))
        return cli_usage("cmxsafe gateway log", "--last takes a number, not '%s'", last);
    if (gw_open(&g, &c, false))
        return CLI_FAILED;
    job.json = c.json;
    fputs(c.json ? "[" : "", stdout);
    err = gw_event_each(&g.registry, line.n_operands ? line.operand[0] : NULL, n, print_event, &job, &e);
    fputs(c.json ? "]\n" : "", stdout);
    gw_close(&g);
    return err ? gw_fail("log failed", &e) : CLI_OK;
}
