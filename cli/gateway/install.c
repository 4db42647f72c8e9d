#include "cli/gateway/init.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/gateway/units.h"

static cmx_err make_account(const struct gw *g, struct gw_error *e)
{
    const char *argv[] = {"useradd",      "--system", "--user-group",      "--no-create-home", "--home-dir",
                          "/nonexistent", "--shell",  "/usr/sbin/nologin", g->account,         NULL};

    if (getpwnam(g->account))
        return CMX_OK;
    return gw_run(false, argv) ? CMX_OK : gw_error_set(e, CMX_EPERM, NULL, "useradd could not make %s", g->account);
}

/* Root's, readable by the account: sshd runs as the account and may use its key but not change it. */
static cmx_err give_to_account(const struct gw *g, const char *name, mode_t mode, struct gw_error *e)
{
    char path[GW_PATH_MAX];
    const struct passwd *pw = getpwnam(g->account);

    gw_path(g, name, path);
    if (g->user) /* 'serve' does it inside, where the account exists */
        return chmod(path, mode) == 0 ? CMX_OK : gw_error_set(e, CMX_EPERM, NULL, "%s (%s)", path, strerror(errno));
    if (!pw || chown(path, 0, pw->pw_gid) != 0 || chmod(path, mode) != 0)
        return gw_error_set(e, CMX_EPERM, NULL, "can't give %s to %s (%s)", path, g->account, strerror(errno));
    return CMX_OK;
}

static cmx_err make_host_key(const struct gw *g, const char *name, const char *type, struct gw_error *e)
{
    char path[GW_PATH_MAX];
    char comment[GW_HOST_MAX + 8];
    const char *argv[] = {"ssh-keygen", "-q", "-t", type, "-N", "", "-C", comment, "-f", path, NULL};

    gw_path(g, name, path);
    snprintf(comment, sizeof comment, "%s", g->host);
    if (access(path, F_OK) != 0 && !gw_run(false, argv))
        return gw_error_set(e, CMX_EIO, "install openssh-client", "ssh-keygen could not make a host key");
    return give_to_account(g, name, 0640, e);
}

cmx_err gw_helper_source(char out[GW_PATH_MAX], struct gw_error *e)
{
    static const char *const installed = "/usr/lib/cmxsafe/cmxsafe-authkeys";
    ssize_t n = readlink("/proc/self/exe", out, GW_PATH_MAX - 32);

    if (n > 0) {
        size_t len;

        out[n] = '\0';
        len = (size_t)(strrchr(out, '/') + 1 - out);
        snprintf(out + len, GW_PATH_MAX - len, "cmxsafe-authkeys");
        if (access(out, X_OK) == 0)
            return CMX_OK;
    }
    snprintf(out, GW_PATH_MAX, "%s", installed);
    return access(out, X_OK) == 0 ? CMX_OK
                                  : gw_error_set(e, CMX_ENOENT, "install cmxsafe whole",
                                                 "there is no cmxsafe-authkeys beside this program");
}

/* sshd's own rule for a command that it runs: root's, and writable by nobody else, all the way up. */
static bool safe_for_sshd(const char *path)
{
    char part[GW_PATH_MAX];
    struct stat st;

    snprintf(part, sizeof part, "%s", path);
    for (;;) {
        char *slash = strrchr(part, '/');
        if (stat(part, &st) != 0 || st.st_uid != 0 || (st.st_mode & 022))
            return false;
        if (slash == part)
            return stat("/", &st) == 0 && st.st_uid == 0 && !(st.st_mode & 022);
        *slash = '\0';
    }
}

static cmx_err copy_helper(const char *from, const char *to, struct gw_error *e)
{
    const char *argv[] = {"install", "-m", "0755", from, to, NULL};

    return gw_run(false, argv) ? CMX_OK : gw_error_set(e, CMX_EIO, NULL, "can't copy the helper to %s", to);
}

cmx_err gw_helper_path(const struct gw *g, char out[GW_PATH_MAX], struct gw_error *e)
{
    char source[GW_PATH_MAX];
    cmx_err err;

    if (g->user) {
        snprintf(out, GW_PATH_MAX, "/cmxsafe-authkeys"); /* copied there when the gateway comes up */
        return CMX_OK;
    }
    err = gw_helper_source(source, e);
    if (err)
        return err;
    snprintf(out, GW_PATH_MAX, "%s", source);
    if (safe_for_sshd(source))
        return CMX_OK;
    gw_path(g, "cmxsafe-authkeys", out);
    err = copy_helper(source, out, e);
    if (err || safe_for_sshd(out))
        return err;
    return gw_error_set(e, CMX_EPERM, "use the default folder, or mend the owners and modes of these folders",
                        "sshd runs nothing from %s: a folder above it is not root's alone", g->dir);
}

static cmx_err write_sshd_config(struct gw *g, struct gw_error *e)
{
    char path[GW_PATH_MAX];
    char helper[GW_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    FILE *f;
    cmx_err err = gw_helper_path(g, helper, e);

    if (err)
        return err;
    f = open_memstream(&text, &len);
    if (!f)
        return gw_error_set(e, CMX_ENOMEM, NULL, "out of memory");
    gw_sshd_config(f, g, helper);
    if (fclose(f) != 0)
        err = gw_error_set(e, CMX_ENOMEM, NULL, "out of memory");
    if (!err)
        err = gw_write_file(gw_path(g, "sshd_config", path), text, len, 0644, e);
    free(text); /* open_memstream's own */
    return err;
}

cmx_err gw_install(struct gw *g, struct gw_error *e)
{
    char path[GW_PATH_MAX];
    cmx_err err = g->user ? CMX_OK : make_account(g, e);

    if (!err)
        err = gw_mkdir(gw_path(g, "run", path), 0755, e);
    if (!err)
        err = give_to_account(g, "run", 0775, e);
    if (!err)
        err = give_to_account(g, "registry.db", 0640, e);
    if (!err)
        err = make_host_key(g, "hostkey_ed25519", "ed25519", e);
    if (!err)
        err = make_host_key(g, "hostkey_ecdsa", "ecdsa", e);
    if (!err)
        err = write_sshd_config(g, e);
    return err ? err : gw_units_write(g, e);
}

void gw_pin(const struct gw *g, const char *name, char out[GW_FINGERPRINT_MAX])
{
    char path[GW_PATH_MAX];
    struct gw_key k;

    out[0] = '\0';
    if (gw_key_read(&k, gw_path(g, name, path), NULL) == CMX_OK)
        snprintf(out, GW_FINGERPRINT_MAX, "%s", k.fingerprint);
}

static void print_json(const struct gw *g, const char *ed25519, const char *ecdsa)
{
    putchar('{');
    gw_json_text(stdout, true, "folder", g->dir);
    gw_json_text(stdout, false, "mode", g->user ? "user" : "system");
    printf(",\"simple\":%s", g->simple ? "true" : "false");
    gw_json_text(stdout, false, "fleet", g->fleet_text);
    gw_json_text(stdout, false, "listen", g->listen);
    gw_json_text(stdout, false, "host", g->host);
    gw_json_number(stdout, false, "port", g->port);
    gw_json_text(stdout, false, "account", g->account);
    gw_json_text(stdout, false, "pin", ed25519);
    gw_json_text(stdout, false, "pin_ecdsa", ecdsa);
    printf("}\n");
}

void gw_print_init(struct gw *g, bool json, const char *done)
{
    char ed25519[GW_FINGERPRINT_MAX];
    char ecdsa[GW_FINGERPRINT_MAX];

    gw_pin(g, "hostkey_ed25519.pub", ed25519);
    gw_pin(g, "hostkey_ecdsa.pub", ecdsa);
    if (json) {
        print_json(g, ed25519, ecdsa);
        return;
    }
    printf("%sthe gateway in %s\n", done ? done : "", g->dir);
    printf("  registry     %s/registry.db\n", g->dir);
    printf("  sshd         %s/sshd_config, account %s, forwards only\n", g->dir, g->account);
    printf("  listens on   %s (devices call it %s port %u)\n", g->listen, g->host, g->port);
    if (g->simple)
        printf("  ports        on the loopback, one device a port\n");
    else
        printf("  fleet        %s, in a network namespace of its own; rules in %s/fleet.nft\n", g->fleet_text, g->dir);
    printf("  pin          %s (ed25519)\n", ed25519);
    printf("               %s (ecdsa)\n", ecdsa);
    if (!done)
        return;
    if (g->user)
        printf("start it with 'cmxsafe gateway serve --dir %s'\n", g->dir);
    else
        printf("start it with 'systemctl enable --now cmxsafe-gateway.socket cmxsafe-gateway.service'\n");
}
