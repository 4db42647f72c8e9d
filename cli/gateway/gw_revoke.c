#include "cli/gateway/gw_command.h"
#include "gateway/registry/authority.h"

static const char about[] =
    "Permanently revokes the key of a device or, with --platform, of a platform. Its live sessions end at once, "
    "and its ports and grants are removed. The name can be enrolled again with a new key.\n\nWith --platform, NAME may "
    "also be a CA, which is removed with the grants of its principals, or PRINCIPAL@CA, whose grants are removed; a "
    "certificate itself is revoked with 'cmxsafe gateway krl'.";

static cmx_err revoke_platform(struct gw_change *x, const char *name)
{
    cmx_err err = gw_authority_remove(&x->g.registry, name, &x->e);

    x->outcome = GW_CHANGED;
    return err == CMX_ENOENT ? gw_consumer_revoke_platform(&x->g.registry, name, &x->outcome, &x->e) : err;
}

int gw_cmd_revoke(int argc, char **argv)
{
    struct gw_change x = {.what = "revocation failed"};
    bool platform = false;
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(x.common),
        CLI_FLAG("platform", "NAME is a platform, a CA or PRINCIPAL@CA", &platform),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway revoke", "NAME", about, 1, 1, options);
    cmx_err err;

    if (cli_parse(&line, argc, argv, &x.status) || gw_change_begin(&x))
        return x.status;
    err = platform ? revoke_platform(&x, line.operand[0])
                   : gw_device_revoke(&x.g.registry, line.operand[0], &x.outcome, &x.e);
    return gw_change_report(&x, err, "%s: %s", line.operand[0],
                            x.outcome == GW_UNCHANGED ? "was revoked already" : "revoked");
}
