/* `cmxsafe gateway krl`: installs and removes the list of revoked keys and certificates. */
#include <stdlib.h>
#include <string.h>

#include "cli/gateway/gw_command.h"
#include "cmxsafe/core/mem.h"
#include "gateway/folder/gw_revocation.h"
#include "gateway/registry/authority.h"
#include "port/linux/file_read.h"

static const char about[] =
    "Installs FILE (-: standard input), a key revocation list made by 'ssh-keygen -k', and replaces the former one. It "
    "can revoke keys, whole CAs, and certificates by serial number or key ID. Live sessions with a revoked key or "
    "certificate end at once, on every gateway of the fleet. Without FILE, prints which list is installed.";

static int print_installed(const struct gw_common *c)
{
    struct gw_read x = {.what = "the KRL can't be read", .common = *c};
    struct cmx_json *j;
    struct gw_krl krl = {0};
    char when[GW_TIME_TEXT_MAX];
    cmx_err err;

    if (gw_read_begin(&x))
        return x.status;
    err = gw_krl_get(&x.g.registry, true, &krl, &x.e);
    if (err)
        return gw_read_finish(&x, err);
    j = gw_read_object(&x);
    if (j) {
        cmx_json_str(j, "sha256", krl.digest);
        cmx_json_u64(j, "bytes", krl.len);
        cmx_json_i64(j, "installed", krl.at);
    } else if (krl.digest[0]) {
        printf("sha256 %s, %zu bytes, installed %s\n", krl.digest, krl.len, gw_command_time(krl.at, when));
    } else {
        printf("no KRL is installed\n");
    }
    cmx_mem_free(krl.bytes);
    return gw_read_finish(&x, CMX_OK);
}

/* Fails if sshd's configuration is from a version of cmxsafe without KRLs, because sshd would ignore the list. */
static cmx_err check_sshd_config(struct gw *g, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    cmx_err err = gw_file_read(gw_path(g, "sshd_config", path), &text, &len, e);

    if (!err && !strstr(text, "\nRevokedKeys "))
        err = cmx_why_fail(e, CMX_EPERM,
                           "sshd's configuration is from an older version; run 'cmxsafe gateway init', and restart the "
                           "gateway");
    free(text); /* allocated by open_memstream */
    return err;
}

static cmx_err install(struct gw_change *x, const char *file)
{
    struct cmx_why why = {0};
    char *bytes = NULL;
    size_t len = 0;
    cmx_err err = check_sshd_config(&x->g, &x->e);

    if (!err)
        err = cmx_file_read_any(file, GW_KRL_MAX, &bytes, &len, &why);
    if (err == CMX_ENOSPC)
        cmx_why_set(&x->e, "%s is longer than %d bytes; revoke by serial numbers or by CA", file, GW_KRL_MAX);
    else if (err && why.text[0])
        cmx_why_set(&x->e, "can't read %s (%s)", file, why.text);
    if (!err)
        err = gw_revocation_ask((const uint8_t *)bytes, len, NULL, 0, NULL, &x->e);
    if (!err)
        err = gw_krl_set(&x->g.registry, (const uint8_t *)bytes, len, &x->outcome, &x->e);
    cmx_mem_free_secret(bytes);
    return err;
}

int gw_cmd_krl(int argc, char **argv)
{
    struct gw_change x = {.what = "the KRL was not changed"};
    bool remove = false;
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(x.common),
        CLI_FLAG("remove", "remove the installed list, with all its revocations", &remove),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway krl", "[FILE]", about, 0, 1, options);
    cmx_err err;

    if (cli_parse(&line, argc, argv, &x.status))
        return x.status;
    if (remove && line.n_operands)
        return cli_usage("cmxsafe gateway krl", "give FILE or --remove, not both");
    if (!remove && !line.n_operands && x.common.dry_run)
        return cli_usage(line.command, "--dry-run needs FILE or --remove");
    if (!remove && !line.n_operands)
        return print_installed(&x.common);
    if (gw_change_begin(&x))
        return x.status;
    err = remove ? gw_krl_set(&x.g.registry, NULL, 0, &x.outcome, &x.e) : install(&x, line.operand[0]);
    return gw_change_report(&x, err, "%s",
                            remove                      ? "no KRL is installed"
                            : x.outcome == GW_UNCHANGED ? "the KRL was installed already"
                                                        : "the KRL is installed");
}
