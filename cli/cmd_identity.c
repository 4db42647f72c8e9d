/* cmxsafe identity - who a device is, computed from its key before it is ever switched on. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/identity/identity.h"
#include "key_file.h"

#define COMMAND "cmxsafe identity public"

static const char help[] =
    "usage: " COMMAND " [--key private_key.bin] [--json]\n"
    "\n"
    "Prints the line for a gateway's authorized_keys and the ueid of the device into which this key was, or will be,\n"
    "burned. Both are public.\n"
    "\n"
    "  --key FILE   the 32 bytes of BLOCK_KEY3 (default: private_key.bin)\n"
    "  --json       as one JSON object\n";

static void print_json(const char *line, const uint8_t ueid[CMX_UEID_LEN])
{
    uint8_t mem[1024];
    struct cmx_json j;
    struct cmx_buf b;
    const char *text;

    cmx_buf_init(&b, mem, sizeof mem);
    cmx_json_init(&j, &b);
    cmx_json_object(&j, NULL);
    cmx_json_str(&j, "authorized_key", line);
    cmx_json_hex(&j, "ueid", ueid, CMX_UEID_LEN);
    cmx_json_end(&j);
    if (cmx_json_finish(&j) == CMX_OK && cmx_buf_cstr(&b, &text) == CMX_OK)
        puts(text);
}

static int print_identity(uint8_t key[32], bool json)
{
    uint8_t mem[CMX_IDENTITY_PUBLIC_MAX], ueid[CMX_UEID_LEN];
    char hex[2 * CMX_UEID_LEN + 1];
    struct cmx_buf b;
    const char *line;
    cmx_err err = cmx_identity_ueid(key_file_hmac, key, ueid);

    cmx_buf_init(&b, mem, sizeof mem);
    if (!err)
        err = cmx_identity_ssh_public(key_file_hmac, key, &b);
    if (!err)
        err = cmx_buf_cstr(&b, &line);
    if (err)
        return cli_fail("deriving the identity", cmx_err_text(err), NULL);
    cmx_hex_encode(hex, ueid, sizeof ueid);
    if (json)
        print_json(line, ueid);
    else
        printf("%s\nueid %s\n", line, hex);
    return CLI_OK;
}

static int identity_public(int argc, char **argv)
{
    static const struct option options[] = {
        {"key", required_argument, NULL, 'k'}, {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *path = "private_key.bin";
    bool json = false;
    uint8_t key[32];
    char why[128];
    int c, rc;

    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_OK;
        }
        if (c == '?')
            return cli_usage(COMMAND, "unknown option or missing value: '%s'", argv[optind - 1]);
        if (c == 'k')
            path = optarg;
        json = json || c == 'j';
    }
    if (optind < argc)
        return cli_usage(COMMAND, "unexpected argument '%s'", argv[optind]);
    if (key_file_read(path, key, why, sizeof why))
        return cli_fail(path, why, "give the file burned into the device with --key");
    rc = print_identity(key, json);
    cmx_secret_wipe(key, sizeof key);
    return rc;
}

int cmd_identity(int argc, char **argv)
{
    static const struct cli_command table[] = {
        {"public", identity_public, "print the authorized_keys line and ueid that belong to a private_key.bin"}};

    return cli_dispatch("cmxsafe identity", table, sizeof table / sizeof table[0], argc, argv);
}
