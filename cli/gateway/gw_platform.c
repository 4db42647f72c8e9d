#include "cli/gateway/gw_command.h"
#include "gateway/registry/authority.h"
#include "gateway/registry/party.h"

static const char about[] =
    "Registers a platform: a consumer that logs in to this gateway with a key of its own. It reaches the "
    "services that it has grants for, with ssh -L, -W or -D and the devices' names (docs/GATEWAY.md). "
    "Another key replaces the former one.\n\nWith --ca, NAME is a certificate authority: the holder of one of "
    "its certificates may log in as PRINCIPAL@NAME once that principal has a grant ('cmxsafe gateway grant alice@corp "
    "cam-17:81'). "
    "Another key replaces the CA's former one, and ends the sessions of its certificates. Without NAME it lists "
    "platforms, CAs and their principals.";

static void print_row(struct gw_read *x, const char *name, const char *kind, const char *identity, const char *key)
{
    struct cmx_json *j = &x->json.j;

    if (!x->printing) {
        printf("%-32s %-10s %-40s %s\n", name, kind, identity[0] ? identity : "-", key[0] ? key : "-");
        return;
    }
    cmx_json_object(j, NULL);
    cmx_json_str(j, "name", name);
    cmx_json_str(j, "kind", kind);
    cmx_json_str(j, "identity", identity);
    cmx_json_str(j, "key", key);
    cmx_json_end(j);
}

static cmx_err print_authority(void *arg, const struct gw_authority *a)
{
    print_row(arg, a->name, "ca", "", a->fingerprint);
    return CMX_OK;
}

static cmx_err print_consumer(void *arg, const struct gw_consumer *c, const char *fingerprint)
{
    struct gw_read *x = arg;
    char identity[GW_ADDRESS_MAX];

    gw_command_identity(&x->g, c, identity);
    print_row(x, c->name, gw_consumer_is_principal(c) ? "principal" : "platform", identity, fingerprint);
    return CMX_OK;
}

static int list(const struct gw_common *c)
{
    struct gw_read x = {.what = "listing platforms failed", .common = *c};

    if (gw_read_begin(&x))
        return x.status;
    if (!gw_read_array(&x))
        printf("%-32s %-10s %-40s %s\n", "NAME", "KIND", "IDENTITY", "KEY");
    return gw_read_finish(&x, gw_authority_each(&x.g.registry, print_authority, &x, &x.e) ||
                                  gw_consumer_each_platform(&x.g.registry, print_consumer, &x, &x.e));
}

int gw_cmd_platform(int argc, char **argv)
{
    struct gw_change x = {.what = "registering the platform failed"};
    const char *key = NULL;
    const char *ca = NULL;
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(x.common),
        CLI_TEXT("key", "FILE", "the platform's public key; -: from standard input", &key),
        CLI_TEXT("ca", "FILE", "the public key of a CA whose certificates may log in; -: from standard input", &ca),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway platform", "[NAME]", about, 0, 1, options);
    struct gw_consumer platform = {.kind = "platform"};
    struct gw_key k;
    bool failed;

    if (cli_parse(&line, argc, argv, &x.status))
        return x.status;
    if (line.n_operands == 0)
        return key || ca || x.common.dry_run ? cli_usage("cmxsafe gateway platform", "NAME is missing")
                                             : list(&x.common);
    if (!key == !ca)
        return cli_usage("cmxsafe gateway platform", key ? "give --key or --ca, not both" : "--key or --ca is missing");
    if (gw_change_begin(&x))
        return x.status;
    snprintf(platform.name, sizeof platform.name, "%s", line.operand[0]);
    failed = gw_key_read(&k, key ? key : ca, &x.e) ||
             (key ? gw_consumer_set_platform(&x.g.registry, line.operand[0], &k, &x.outcome, &x.e)
                  : gw_authority_set(&x.g.registry, line.operand[0], &k, &x.outcome, &x.e)) ||
             (key && gw_command_check_identities(&x.g, &platform, &x.e));
    return gw_change_report(&x, failed, "%s: %s", line.operand[0], gw_outcome_text(x.outcome));
}
