/* cmxsafe identity - computes a device's public identity from its hardware key. */
#include <stdio.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/common/key_file.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/identity/attest_key.h"
#include "gateway/folder/gw_json.h"
#include "port/linux/cli.h"

static const char about[] =
    "Prints the public description of the device whose hardware key is in FILE: the line for a gateway's "
    "authorized_keys, the attestation key that verifies its signed evidence, and its ueid. It can be computed before "
    "the "
    "device is first switched on.\n"
    "\n"
    "None of it is enough to impersonate the device. Treat the attestation key as confidential, like the firmware: "
    "with it "
    "and one of the device's tokens, an attacker can test guesses about the content of its flash.";

struct lines {
    char ssh[CMX_IDENTITY_PUBLIC_MAX];
    char attest[CMX_ATTEST_KEY_LINE_MAX];
    char ueid[2 * CMX_UEID_LEN + 1];
};

static cmx_err make_lines(uint8_t key[CMX_HMAC_KEY_LEN], struct lines *l)
{
    struct cmx_attest_key k;
    struct cmx_buf b;
    const char *text;
    cmx_err err = cmx_attest_key_derive(key_file_hmac, key, &k);

    cmx_buf_init(&b, l->ssh, sizeof l->ssh);
    if (!err)
        err = cmx_identity_ssh_public(key_file_hmac, key, &b, NULL);
    if (!err)
        err = cmx_buf_cstr(&b, &text);
    cmx_buf_init(&b, l->attest, sizeof l->attest);
    if (!err)
        err = cmx_attest_key_print(&k, &b);
    if (!err)
        err = cmx_buf_cstr(&b, &text);
    if (!err)
        cmx_text_hex_encode(l->ueid, k.ueid, sizeof k.ueid);
    return err;
}

static void print_json(const struct lines *l)
{
    struct gw_json out;

    gw_json_begin_stdout(&out);
    cmx_json_str(&out.j, "authorized_key", l->ssh);
    cmx_json_str(&out.j, "attest_key", l->attest);
    cmx_json_str(&out.j, "ueid", l->ueid);
    gw_json_end_stdout(&out);
}

static int identity_public(int argc, char **argv)
{
    const char *path = "private_key.bin";
    bool json = false;
    const struct cli_option options[] = {
        CLI_TEXT("key", "FILE", "the hardware key: the 32 bytes of the eFuse block BLOCK_KEY3", &path),
        CLI_FLAG("json", "print one JSON object", &json),
    };
    struct cli_line line = CLI_LINE("cmxsafe identity public", "", about, 0, 0, options);
    struct lines lines;
    uint8_t key[CMX_HMAC_KEY_LEN];
    cmx_err err;
    struct cmx_why why = {""};
    int rc;

    if (cli_parse(&line, argc, argv, &rc))
        return rc;
    if (key_file_read(path, key, &why))
        return cli_fail(path, why.text,
                        "use --key to give the file with the hardware key that was burned into the device");
    err = make_lines(key, &lines);
    cmx_secret_wipe(key, sizeof key);
    if (err)
        return cli_fail("can't derive the identity", cmx_err_text(err), NULL);
    if (json)
        print_json(&lines);
    else
        printf("%s\n%s\nueid %s\n", lines.ssh, lines.attest, lines.ueid);
    return CLI_OK;
}

int cmd_identity(int argc, char **argv)
{
    static const struct cli_command table[] = {
        {"public", identity_public, "print the SSH key, attestation key and ueid that belong to a private_key.bin"}};

    return cli_dispatch("cmxsafe identity", table, sizeof table / sizeof table[0], argc, argv);
}
