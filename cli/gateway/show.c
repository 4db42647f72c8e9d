#include <string.h>

#include "cli/gateway/init.h"
#include "cli/gateway/snippet.h"

struct grants_job {
    const char *device;
    bool json;
    size_t n;
};

static cmx_err print_grant(void *arg, const struct gw_permit *p)
{
    struct grants_job *job = arg;
    char who[sizeof p->consumer.kind + sizeof p->consumer.name + 2];

    if (strcmp(p->device, job->device) != 0)
        return CMX_OK;
    snprintf(who, sizeof who, "%s:%s", p->consumer.kind, p->consumer.name);
    if (job->json) {
        fputs(job->n ? "," : "", stdout);
        putchar('{');
        gw_json_text(stdout, true, "consumer", who);
        gw_json_number(stdout, false, "port", p->port);
        putchar('}');
    } else {
        printf("%s%s (port %u)\n", job->n ? "               " : "", who, p->port);
    }
    job->n++;
    return CMX_OK;
}

static cmx_err show_device(struct gw *g, const struct gw_device *d, bool json, struct gw_error *e)
{
    struct grants_job job = {d->name, json, 0};
    char verdict[64];
    char when[32];
    char host[GW_HOST_MAX];
    int64_t at;
    cmx_err err;

    gw_attestation_get(&g->registry, d->id, &at, verdict, sizeof verdict);
    gw_device_host(g, d, host);
    if (json) {
        printf("{\"device\":");
        gw_json_device(stdout, g, d);
        printf(",\"attestation\":{");
        gw_json_number(stdout, true, "at", at);
        gw_json_text(stdout, false, "verdict", verdict);
        printf("},\"grants\":[");
        err = gw_permit_each(&g->registry, NULL, print_grant, &job, e);
        printf("]}\n");
        return err;
    }
    printf("name           %s\nhost           %s\naddress        %s\ngroup          %s\nkey            %s %s\nports    "
           "     ",
           d->name, host, d->address[0] ? d->address : "-", d->team[0] ? d->team : "-",
           d->fingerprint[0] ? d->fingerprint : "-", d->key_type);
    for (size_t i = 0; i < d->n_ports; i++)
        printf(" %u", d->ports[i]);
    printf("%s\nopens         ", d->n_ports ? "" : " -");
    for (size_t i = 0; i < d->n_directs; i++)
        printf(strchr(d->directs[i].host, ':') ? " [%s]:%u" : " %s:%u", d->directs[i].host, d->directs[i].port);
    printf("%s\nenrolled       %s\n", d->n_directs ? "" : " -", gw_time_text(d->enrolled, when));
    printf("revoked        %s\n", gw_time_text(d->revoked, when));
    printf("attested       %s%s%s\n", gw_time_text(at, when), verdict[0] ? " " : "", verdict);
    printf("reached by     ");
    err = gw_permit_each(&g->registry, NULL, print_grant, &job, e);
    if (job.n == 0)
        printf("nobody\n");
    return err;
}

int gw_cmd_show(int argc, char **argv)
{
    struct gw_common c = {0};
    const char *form = NULL;
    const struct gw_option options[] = {
        GW_DIR_OPTION(c),
        {"form", "FORM", "print the device's configuration: agent, settings or kconfig", &form},
        GW_JSON_OPTION(c),
    };
    struct gw_command_line line =
        GW_COMMAND_LINE("show", "[NAME]", "Shows a device, or without a name the gateway itself.", 0, 1, options);
    struct gw_error e = {0};
    struct gw_device d;
    struct gw g;
    cmx_err err = CMX_OK;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (form && (!gw_snippet_form(form) || !line.n_operands))
        return cli_usage("cmxsafe gateway show", "--form agent, settings or kconfig goes with a NAME");
    if (gw_open(&g, &c, false))
        return CLI_FAILED;
    if (!line.n_operands) {
        gw_print_init(&g, c.json, NULL);
        gw_close(&g);
        return CLI_OK;
    }
    err = gw_device_get(&g.registry, line.operand[0], &d, &e);
    if (!err && form)
        gw_snippet(stdout, &g, &d, form, false);
    else if (!err)
        err = show_device(&g, &d, c.json, &e);
    gw_close(&g);
    return err ? gw_fail("show failed", &e) : CLI_OK;
}
