#include <stdlib.h>
#include <string.h>

#include "cli/gateway/status.h"

static const char about[] = "Prints metrics in Prometheus' text form (version 0.0.4), or writes them to a file as a "
                            "whole: for node_exporter's textfile\n"
                            "collector. A gateway that does not run is a metric too (cmxsafe_gateway_up 0).";

struct metric {
    const char *name;
    const char *kind;
    const char *key;
    const char *help;
};

static const struct metric metrics[] = {
    {"logging_in", "gauge", "logging_in", "Connections that have not logged in yet."},
    {"connections_total", "counter", "connections", "Connections accepted."},
    {"logins_total", "counter", "logins", "Sessions that logged in."},
    {"failed_total", "counter", "failed", "Connections that ended without a login."},
    {"refused_penalty_total", "counter", "refused_penalty", "Connections refused for their source's failures."},
    {"refused_pressed_total", "counter", "refused_pressed", "Slow logins ended because others waited."},
    {"revoked_total", "counter", "revoked", "Sessions ended because their key lost its rights."},
    {"takeovers_total", "counter", "takeovers", "Dead sessions ended because their device came back."},
    {"takeovers_refused_total", "counter", "takeovers_refused", "Takeovers beyond the rate."},
    {"forwards_denied_total", "counter", "forwards_denied", "Forwards asked for and not permitted."},
    {"ports_in_use_total", "counter", "ports_in_use", "Listeners refused because a live session holds them."},
    {"registry_trouble_total", "counter", "registry_trouble", "Logins refused because the registry could not be read."},
};

static void put_sessions(FILE *f, char *answer)
{
    char *rest = gw_answer_sessions(answer);
    char *object;
    char name[GW_NAME_MAX];
    size_t n = 0;
    char *in = NULL;
    size_t in_len = 0;
    FILE *bytes = open_memstream(&in, &in_len);

    for (; (object = gw_answer_next(&rest)) != NULL; n++) {
        long long pid = (long long)gw_answer_number(object, "pid");
        gw_answer_text(object, "name", name, sizeof name);
        if (!bytes)
            continue;
        fprintf(bytes, "cmxsafe_gateway_session_bytes{name=\"%s\",session=\"%lld\",direction=\"in\"} %lld\n", name, pid,
                (long long)gw_answer_number(object, "bytes_in"));
        fprintf(bytes, "cmxsafe_gateway_session_bytes{name=\"%s\",session=\"%lld\",direction=\"out\"} %lld\n", name,
                pid, (long long)gw_answer_number(object, "bytes_out"));
    }
    fprintf(f,
            "# HELP cmxsafe_gateway_sessions Sessions that are logged in.\n# TYPE cmxsafe_gateway_sessions gauge\n"
            "cmxsafe_gateway_sessions %zu\n",
            n);
    fprintf(f, "# HELP cmxsafe_gateway_session_bytes Bytes that a session's connection carried.\n"
               "# TYPE cmxsafe_gateway_session_bytes counter\n");
    if (bytes && fclose(bytes) == 0)
        fputs(in, f);
    free(in); /* open_memstream's own */
}

static cmx_err count_device(void *arg, const struct gw_device *d)
{
    size_t *n = arg;
    *n += d->revoked == 0;
    return CMX_OK;
}

static void put_all(FILE *f, struct gw *g)
{
    struct gw_error e = {0};
    char *answer = NULL;
    size_t len = 0;
    size_t devices = 0;
    FILE *into = open_memstream(&answer, &len);
    bool up = into && gw_control(g, "status", into, &e) == CMX_OK;

    if (into && fclose(into) != 0)
        up = false;
    fprintf(
        f,
        "# HELP cmxsafe_gateway_up Whether the gateway runs.\n# TYPE cmxsafe_gateway_up gauge\ncmxsafe_gateway_up %d\n",
        up);
    if (gw_device_each(&g->registry, NULL, count_device, &devices, &e) == CMX_OK)
        fprintf(f,
                "# HELP cmxsafe_gateway_devices Devices enrolled.\n# TYPE cmxsafe_gateway_devices gauge\n"
                "cmxsafe_gateway_devices %zu\n",
                devices);
    for (size_t i = 0; up && i < GW_COUNT(metrics); i++)
        fprintf(f, "# HELP cmxsafe_gateway_%s %s\n# TYPE cmxsafe_gateway_%s %s\ncmxsafe_gateway_%s %lld\n",
                metrics[i].name, metrics[i].help, metrics[i].name, metrics[i].kind, metrics[i].name,
                (long long)gw_answer_number(answer, metrics[i].key));
    if (up)
        put_sessions(f, answer);
    free(answer); /* open_memstream's own */
}

int gw_cmd_metrics(int argc, char **argv)
{
    struct gw_common c = {0};
    const char *file = NULL;
    const struct gw_option options[] = {
        GW_DIR_OPTION(c),
        {"file", "PATH", "write them there, whole or not at all", &file},
    };
    struct gw_command_line line = {
        .command = "metrics", .operands = "", .about = about, .options = options, .n_options = GW_COUNT(options)};
    struct gw_error e = {0};
    char *text = NULL;
    size_t len = 0;
    cmx_err err = CMX_OK;
    struct gw g;
    FILE *f;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (gw_open(&g, &c, false))
        return CLI_FAILED;
    f = open_memstream(&text, &len);
    if (f)
        put_all(f, &g);
    gw_close(&g);
    if (!f || fclose(f) != 0)
        err = gw_error_set(&e, CMX_ENOMEM, NULL, "out of memory");
    else if (file)
        err = gw_write_file(file, text, len, 0644, &e);
    else
        fputs(text, stdout);
    free(text); /* open_memstream's own */
    return err ? gw_fail("metrics failed", &e) : CLI_OK;
}
