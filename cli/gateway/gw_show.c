#include <string.h>

#include "cli/gateway/gw_hwkey.h"
#include "cli/gateway/gw_install.h"
#include "gateway/render/gw_snippet.h"

struct grants_job {
    struct gw *g;
    const char *device;
    struct cmx_json *json; /* NULL: the output is text */
    size_t n;
};

static cmx_err print_grant(void *arg, const struct gw_grant *p)
{
    struct grants_job *job = arg;
    char who[sizeof p->consumer.kind + sizeof p->consumer.name + 2];
    char identity[GW_ADDRESS_MAX];

    if (strcmp(p->device, job->device) != 0)
        return CMX_OK;
    gw_command_identity(job->g, &p->consumer, identity);
    snprintf(who, sizeof who, "%s:%s", p->consumer.kind, p->consumer.name);
    if (job->json) {
        cmx_json_object(job->json, NULL);
        cmx_json_str(job->json, "consumer", who);
        cmx_json_str(job->json, "identity", identity);
        cmx_json_u64(job->json, "port", p->port);
        cmx_json_end(job->json);
    } else {
        printf("%s%s (port %u)%s%s\n", job->n ? "               " : "", who, p->port, identity[0] ? " as " : "",
               identity);
    }
    job->n++;
    return CMX_OK;
}

/* Writes the claims of the evidence as the array "claims". Modifies the text in claims. */
static void put_claims(struct cmx_json *j, char *claims)
{
    char *rest = claims;
    char *line;

    cmx_json_array(j, "claims");
    while ((line = strsep(&rest, "\n")) != NULL) {
        const char *result = strsep(&line, " ");
        const char *name = strsep(&line, " ");

        if (!name)
            continue;
        cmx_json_object(j, NULL);
        cmx_json_str(j, "name", name);
        cmx_json_str(j, "result", result);
        cmx_json_str(j, "found", line ? line : "");
        cmx_json_end(j);
    }
    cmx_json_end(j);
}

static cmx_err show_device(struct gw_read *x, const struct gw_device *d)
{
    struct gw *g = &x->g;
    struct grants_job job = {g, d->name, NULL, 0};
    struct gw_attestation attested;
    char when[GW_TIME_TEXT_MAX];
    char host[GW_HOST_MAX];
    struct gw_standing standing = {0};
    struct gw_seen seen;
    struct cmx_json *j;
    cmx_err err = d->revoked ? CMX_OK : gw_standing_get(&g->registry, d->name, &standing, &x->e);

    if (err)
        return err;
    gw_seen_get(&g->registry, d->id, &seen);
    gw_attestation_get(&g->registry, d->id, &attested);
    gw_device_host(g, d, host);
    j = gw_read_object(x);
    if (j) {
        job.json = j;
        cmx_json_object(j, "device");
        gw_command_put_device(j, g, d);
        gw_command_put_node(j, g, d);
        gw_command_put_seen(j, &seen);
        gw_policy_put_standing(j, &standing);
        cmx_json_end(j);
        cmx_json_object(j, "attestation");
        cmx_json_i64(j, "at", attested.at);
        cmx_json_str(j, "verdict", attested.verdict);
        cmx_json_str(j, "detail", attested.detail);
        put_claims(j, attested.claims);
        cmx_json_end(j);
        cmx_json_array(j, "grants");
        err = gw_grant_each(&g->registry, print_grant, &job, &x->e);
        cmx_json_end(j);
        return err;
    }
    printf("name           %s\nhost           %s\naddress        %s\ngroup          %s\nkey            %s %s\nports    "
           "      ",
           d->name, host, d->address[0] ? d->address : "-", d->group[0] ? d->group : "-",
           d->fingerprint[0] ? d->fingerprint : "-", d->key_type);
    gw_command_print_ports(d, " ", "-");
    printf("\ndirect         ");
    gw_command_print_directs(d, " ", "-");
    printf("\nenrolled       %s\n", gw_command_time(d->enrolled, when));
    printf("revoked        %s\n", gw_command_time(d->revoked, when));
    printf("last seen      %s%s%s\nclient         %s\nfirmware       %s\n", gw_command_time(seen.at, when),
           seen.source[0] ? " from " : "", seen.source, seen.client[0] ? seen.client : "-",
           seen.firmware[0] ? seen.firmware : "-");
    printf("policy         %s%s%s\n", gw_standing_text(&standing), standing.reason[0] ? ": " : "", standing.reason);
    printf("attested       %s%s%s", gw_command_time(attested.at, when), attested.verdict[0] ? " " : "",
           attested.verdict);
    printf(attested.detail[0] ? " (%s)\n" : "%s\n", attested.detail);
    printf("reached by     ");
    err = gw_grant_each(&g->registry, print_grant, &job, &x->e);
    if (job.n == 0)
        printf("nobody\n");
    return err;
}

int gw_cmd_show(int argc, char **argv)
{
    struct gw_read x = {.what = "show failed"};
    const char *form = NULL;
    const struct cli_option options[] = {
        GW_DIR_OPTION(x.common),
        CLI_TEXT("form", "FORM", "print the device's configuration: agent, settings or kconfig", &form),
        GW_JSON_OPTION(x.common),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway show", "[NAME]",
                                    "Shows a device or, without NAME, the gateway itself.", 0, 1, options);
    struct gw_device d;
    cmx_err err = CMX_OK;

    if (cli_parse(&line, argc, argv, &x.status))
        return x.status;
    if (form && (!gw_snippet_form(form) || !line.n_operands || x.common.json))
        return cli_usage("cmxsafe gateway show",
                         "--form takes agent, settings or kconfig, needs a NAME, and excludes --json");
    if (gw_read_begin(&x))
        return x.status;
    if (line.n_operands)
        err = gw_device_get(&x.g.registry, line.operand[0], &d, &x.e);
    else
        gw_install_print(&x.g, x.common.json, NULL);
    if (line.n_operands && !err && form)
        gw_snippet(stdout, &x.g, &d, form, gw_hwkey_is_derived(&x.g.registry, &d));
    else if (line.n_operands && !err)
        err = show_device(&x, &d);
    return gw_read_finish(&x, err);
}
