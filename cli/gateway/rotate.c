#include "cli/gateway/enroll.h"

static const char about[] =
    "Gives a device a new key. Its name, address, ports and grants stay; sessions under the old key end at\n"
    "once, and that key never comes back.";

int gw_cmd_rotate(int argc, char **argv)
{
    struct gw_common c = {0};
    const char *key = NULL;
    const char *hwkey = NULL;
    const struct gw_option options[] = {
        GW_DIR_OPTION(c),
        {"key", "FILE", "the new public key", &key},
        {"hwkey", "FILE", "the new hardware key (private_key.bin)", &hwkey},
        GW_JSON_OPTION(c),
        GW_DRY_RUN_OPTION(c),
    };
    struct gw_command_line line = GW_COMMAND_LINE("rotate", "NAME", about, 1, 1, options);
    struct gw_error e = {0};
    gw_outcome outcome = GW_UNCHANGED;
    struct gw_key k;
    struct gw g;
    cmx_err err;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (!key == !hwkey)
        return cli_usage("cmxsafe gateway rotate", "give --key or --hwkey");
    status = gw_begin(&g, &c, "rotation failed", &e);
    if (status)
        return status;
    err = hwkey ? gw_key_from_hwkey(&k, hwkey, &e) : gw_key_read(&k, key, &e);
    if (!err)
        err = gw_device_rotate(&g.registry, line.operand[0], &k, &outcome, &e);
    status = gw_finish(&g, &c, "rotation failed", err, &e);
    if (!status && c.json)
        gw_json_outcome(&c, outcome);
    else if (!status)
        printf("%s: key %s%s\n", line.operand[0], outcome == GW_UNCHANGED ? "unchanged" : k.fingerprint,
               gw_dry_text(&c));
    return status;
}
