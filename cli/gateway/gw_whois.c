/* `cmxsafe gateway whois`: translates between identities and names. */
#include "cli/gateway/gw_command.h"
#include "gateway/registry/party.h"

static const char about[] =
    "Prints the owner of the identity ADDRESS, or the identity of NAME. NAME: a device, a platform, a local user, or\n"
    "KIND:NAME such as user:alice, group:ops or cgroup:system.slice/nvr.service.";

static void print_party(struct gw_read *x, const struct gw_party *p)
{
    struct cmx_json *json = gw_read_object(x);

    if (!json) {
        printf("%s %s:%s%s\n", p->address, p->kind, p->name, p->revoked ? " (revoked)" : "");
        return;
    }
    cmx_json_str(json, "address", p->address);
    cmx_json_str(json, "kind", p->kind);
    cmx_json_str(json, "name", p->name);
    cmx_json_bool(json, "revoked", p->revoked);
}

int gw_cmd_whois(int argc, char **argv)
{
    struct gw_read x = {.what = "whois failed"};
    const struct cli_option options[] = {GW_DIR_OPTION(x.common), GW_JSON_OPTION(x.common)};
    struct cli_line line = CLI_LINE("cmxsafe gateway whois", "ADDRESS|NAME", about, 1, 1, options);
    struct gw_party p;
    cmx_err err;

    if (cli_parse(&line, argc, argv, &x.status) || gw_read_begin(&x))
        return x.status;
    err = x.g.simple ? cmx_why_fail(&x.e, CMX_ENOTSUP, "a small deployment has no identities")
                     : gw_party_find(&x.g.registry, &x.g.fleet, line.operand[0], &p, &x.e);
    if (!err)
        print_party(&x, &p);
    return gw_read_finish(&x, err);
}
