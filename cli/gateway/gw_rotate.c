#include "cli/gateway/gw_hwkey.h"

static const char about[] =
    "Replaces a device's key. Its name, address, ports and grants stay. Sessions under the old key end at "
    "once, and that key can't be used again. --hwkey also replaces its attestation key.";

int gw_cmd_rotate(int argc, char **argv)
{
    struct gw_change x = {.what = "rotation failed"};
    const char *key = NULL;
    const char *hwkey = NULL;
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(x.common),
        CLI_TEXT("key", "FILE", "the new public key; -: from standard input", &key),
        CLI_TEXT("hwkey", "FILE", "the new hardware key (private_key.bin)", &hwkey),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway rotate", "NAME", about, 1, 1, options);
    struct cmx_attest_key attest;
    struct gw_key k;
    bool failed;

    if (cli_parse(&line, argc, argv, &x.status))
        return x.status;
    if (!key == !hwkey)
        return cli_usage("cmxsafe gateway rotate", "give --key or --hwkey");
    if (gw_change_begin(&x))
        return x.status;
    failed = (hwkey ? gw_hwkey_login(&k, hwkey, &x.e) : gw_key_read(&k, key, &x.e)) ||
             gw_device_rotate(&x.g.registry, line.operand[0], &k, &x.outcome, &x.e) ||
             (hwkey && (gw_hwkey_attest(&attest, hwkey, &x.e) ||
                        gw_hwkey_store_attest(&x.g.registry, line.operand[0], &attest, true, &x.outcome, &x.e)));
    return gw_change_report(&x, failed, "%s: key %s", line.operand[0],
                            x.outcome == GW_UNCHANGED ? "unchanged" : k.fingerprint);
}
