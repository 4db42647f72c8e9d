#include "cli/gateway/gw_install.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/folder/gw_helper.h"
#include "gateway/registry/nss.h"
#include "gateway/render/gw_bird.h"
#include "gateway/render/gw_units.h"
#include "gateway/server/gw_access_read.h"
#include "gateway/server/gw_control.h"

static cmx_err make_account(const struct gw *g, struct cmx_why *e)
{
    bool group = gw_nss_find(GW_NSS_GROUP, g->account)->id >= 0; /* the group may be left over from a removed account */

    if (gw_nss_find(GW_NSS_USER, g->account)->id >= 0)
        return CMX_OK;
    if (!gw_program_runf(false,
                         "useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin %s%s %s",
                         group ? "--gid=" : "--user-group", group ? g->account : "", g->account) ||
        gw_nss_find(GW_NSS_USER, g->account)->id < 0)
        return cmx_why_fail(e, CMX_EPERM,
                            "useradd could not create the account %s; see above, or install the package passwd",
                            g->account);
    return CMX_OK;
}

/* Makes sure that the gateway's account can enter every folder above the gateway's folder. Corrects the mode of
 * /var/lib/cmxsafe, which belongs to cmxsafe; fails if another folder denies access. Not needed in --user mode, which
 * mounts the folder elsewhere. */
static cmx_err open_way(const struct gw *g, struct cmx_why *e)
{
    char part[GW_PATH_MAX];
    struct stat st;

    snprintf(part, sizeof part, "%s", g->dir);
    for (char *slash = strrchr(part, '/'); slash && slash != part; slash = strrchr(part, '/')) {
        *slash = '\0';
        if (stat(part, &st) != 0)
            return cmx_why_fail(e, CMX_EPERM, "can't read the mode of %s (%s)", part, strerror(errno));
        if (st.st_mode & S_IXOTH)
            continue;
        if (strcmp(part, "/var/lib/cmxsafe") != 0)
            return cmx_why_fail(
                e, CMX_EPERM,
                "the account %s can't enter %s, so no device could log in; run 'chmod o+x' on it, or use "
                "the default folder",
                g->account, part);
        if (chmod(part, 0755) != 0)
            return cmx_why_fail(e, CMX_EPERM, "can't set the mode of %s (%s)", part, strerror(errno));
    }
    return CMX_OK;
}

/* Sets the file's owner to root, its group to the group of the gateway's account, and its mode. sshd runs as the
 * account, so the group permissions apply to sshd. */
static cmx_err give_to_account(const struct gw *g, const char *name, mode_t mode, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    long gid = g->user ? -1 : gw_nss_find(GW_NSS_USER, g->account)->gid;

    gw_path(g, name, path);
    if (g->user) /* the account exists only in the namespace: 'serve' sets the owner there */
        return chmod(path, mode) == 0 ? CMX_OK : cmx_why_fail(e, CMX_EPERM, "%s (%s)", path, strerror(errno));
    if (gid < 0 || chown(path, 0, (gid_t)gid) != 0 || chmod(path, mode) != 0)
        return cmx_why_fail(e, CMX_EPERM, "can't give %s to %s (%s)", path, g->account, strerror(errno));
    return CMX_OK;
}

/* Gives the access log to the account. It has another owner if the account was created again, or if the folder comes
 * from another machine. A compromised account may have put links to other users' files there; these files keep their
 * owner. */
static cmx_err give_access_log(const struct gw *g, struct cmx_why *e)
{
    const struct gw_nss_entry *account = g->user ? NULL : gw_nss_find(GW_NSS_USER, g->account);
    bool give = account && account->gid >= 0;
    char path[GW_PATH_MAX];
    struct stat st;
    int dir = open(gw_path(g, "run/access", path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool ok = true;

    for (unsigned n = 0; give && dir >= 0 && n < GW_ACCESS_FILES; n++) {
        int fd =
            openat(dir, strrchr(gw_access_path(g, n, path), '/') + 1, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

        if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
            ok = fchown(fd, (uid_t)account->id, (gid_t)account->gid) == 0 && ok;
        if (fd >= 0)
            close(fd);
    }
    if (give && dir >= 0)
        ok = fchown(dir, (uid_t)account->id, (gid_t)account->gid) == 0 && ok;
    if (dir >= 0)
        close(dir);
    return ok ? CMX_OK
              : cmx_why_fail(e, CMX_EPERM, "can't give %s/run/access to %s (%s)", g->dir, g->account, strerror(errno));
}

cmx_err gw_install_public(const char *path, struct gw_key *out, struct cmx_why *e)
{
    /* ssh-keygen refuses a private key file that a group may read, so it reads the key from a pipe. */
    const char *argv[] = {"sh", "-c", "cat \"$0\" | ssh-keygen -y -P '' -f /dev/stdin 2>/dev/null", path, NULL};
    char *text = NULL;
    size_t len = 0;
    bool good = gw_program_output(argv, &text, &len) && gw_key_parse(out, text, NULL) == CMX_OK;

    free(text); /* allocated by open_memstream */
    return good ? CMX_OK : cmx_why_fail(e, CMX_EFORMAT, "ssh-keygen can't read %s; restore it from a backup", path);
}

/* Writes the .pub file, unless it already has the public half of the host key. The pins are computed from the .pub
 * file. */
static cmx_err make_public(const struct gw *g, const char *path, const char *public, struct cmx_why *e)
{
    char line[GW_KEY_TYPE_MAX + GW_KEY_BLOB_MAX + GW_HOST_MAX + 4];
    struct gw_key own;
    struct gw_key there;
    cmx_err err = gw_install_public(path, &own, e);
    int len;

    if (err || (gw_key_read(&there, public, NULL) == CMX_OK && strcmp(own.fingerprint, there.fingerprint) == 0))
        return err;
    len = snprintf(line, sizeof line, "%s %s %s\n", own.type, own.blob, g->host);
    return gw_file_write(public, line, (size_t)len, 0644, e);
}

/* Creates a missing host key. The operator may have removed the former one to replace it, or have lost it. */
static cmx_err make_host_key(struct gw *g, const char *name, const char *type, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    char public[GW_PATH_MAX];
    char comment[GW_HOST_MAX + 8];
    const char *argv[] = {"ssh-keygen", "-q", "-t", type, "-N", "", "-C", comment, "-f", path, NULL};
    bool missing;
    cmx_err err;

    missing = access(gw_path(g, name, path), F_OK) != 0;
    snprintf(comment, sizeof comment, "%s", g->host);
    if (missing && !gw_program_run(false, argv))
        return cmx_why_fail(e, CMX_EIO, "ssh-keygen could not create a host key; install openssh-client");
    if (missing &&
        gw_sql_number(&g->registry, NULL, NULL, "SELECT 1 FROM device WHERE revoked IS NULL LIMIT 1", "") == CMX_OK)
        fprintf(
            stderr,
            "cmxsafe: note: %s was missing, so a new one was created; devices that do not pin it, or the other host "
            "key, refuse this gateway: if you did not remove the key, restore it from a backup\n",
            path);
    snprintf(public, sizeof public, "%.4000s.pub", path);
    err = make_public(g, path, public, e);
    if (err)
        return err;
    if (chmod(public, 0644) != 0)
        return cmx_why_fail(e, CMX_EPERM, "can't set the mode of %s (%s)", public, strerror(errno));
    return give_to_account(g, name, 0640, e);
}

static cmx_err write_sshd_config(struct gw *g, struct cmx_why *e)
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
    err = gw_file_end_text(f, f ? gw_units_sshd_config(f, g, helper, e) : CMX_OK, e);
    if (!err)
        err = gw_file_write(gw_path(g, "sshd_config", path), text, len, 0644, e);
    free(text); /* allocated by open_memstream */
    return err;
}

static cmx_err write_unit(const struct gw *g, const char *dir, const struct gw_unit *unit, const char *program,
                          struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    cmx_err err = gw_file_end_text(f, f ? gw_unit_text(f, g, unit, program, e) : CMX_OK, e);

    snprintf(path, sizeof path, "%s/%s", dir, unit->file);
    if (!err)
        err = gw_file_write(path, text, len, 0644, e);
    free(text); /* allocated by open_memstream */
    return err;
}

static cmx_err write_units(struct gw *g, struct cmx_why *e)
{
    const char *dir = getenv("CMXSAFE_UNIT_DIR");
    char program[GW_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    cmx_err err = CMX_OK;
    const char *reload[] = {"systemctl", "daemon-reload", NULL};

    if (g->user || n <= 0 || (!dir && access("/etc/systemd/system", W_OK) != 0))
        return CMX_OK;
    program[n] = '\0';
    for (size_t i = 0; !err && i < GW_UNITS; i++)
        if (!g->simple || !gw_units[i].fleet)
            err = write_unit(g, dir ? dir : "/etc/systemd/system", &gw_units[i], program, e);
    if (!err && !dir && access("/run/systemd/system", F_OK) == 0)
        (void)gw_program_run(true, reload); /* on failure, systemd warns when a unit is next started */
    return err;
}

/* With write access to one of these files, a user can grant access or run commands as root. */
cmx_err gw_install_check_owners(struct gw *g, struct cmx_why *e)
{
    static const char *const names[] = {".",   "run",   "store",     "registry.db", "sshd_config",
                                        "krl", "hosts", "fleet.nft", "host.nft",    GW_BIRD_FOLDER};
    char path[GW_PATH_MAX];
    struct stat st;

    for (size_t i = 0; i < GW_COUNT(names); i++) {
        const mode_t others = strcmp(names[i], "run") == 0 ? S_IWOTH : S_IWGRP | S_IWOTH;

        if (stat(gw_path(g, names[i], path), &st) == 0 && ((st.st_mode & others) || (!g->user && st.st_uid != 0)))
            return cmx_why_fail(e, CMX_EPERM,
                                "%.120s has another owner, or is writable by others; run 'cmxsafe gateway init'", path);
    }
    return CMX_OK;
}

/* Repairs the owner and the mode of the files that init does not replace. */
static cmx_err repair_owners(const struct gw *g, struct cmx_why *e)
{
    static const char *const names[] = {".", "store", "hosts", "apply.lock", GW_BIRD_FOLDER};
    char path[GW_PATH_MAX];
    struct stat st;

    for (size_t i = 0; i < GW_COUNT(names); i++) {
        gw_path(g, names[i], path);
        if (stat(path, &st) == 0 && ((!g->user && chown(path, 0, (gid_t)-1) != 0) ||
                                     chmod(path, st.st_mode & ~(mode_t)(S_IWGRP | S_IWOTH) & 07777) != 0))
            return cmx_why_fail(e, CMX_EPERM, "can't set owner and mode of %s (%s)", path, strerror(errno));
    }
    return CMX_OK;
}

bool gw_install(struct gw *g, struct cmx_why *e)
{
    char path[GW_PATH_MAX];

    return (g->user || !make_account(g, e)) && !repair_owners(g, e) && (g->user || !open_way(g, e)) &&
           !gw_file_mkdir(gw_path(g, "run", path), 0755, e) && !give_to_account(g, "run", 0775, e) &&
           (g->user || g->simple || !gw_file_mkdir(gw_path(g, GW_BIRD_FOLDER, path), 0755, e)) &&
           !give_access_log(g, e) && !give_to_account(g, "registry.db", 0640, e) &&
           !make_host_key(g, "hostkey_ed25519", "ed25519", e) && !make_host_key(g, "hostkey_ecdsa", "ecdsa", e) &&
           !write_sshd_config(g, e) && !write_units(g, e);
}

static void print_json(const struct gw *g, const char *ed25519, const char *ecdsa)
{
    struct gw_json json;

    gw_json_begin_stdout(&json);
    cmx_json_str(&json.j, "folder", g->dir);
    cmx_json_str(&json.j, "mode", g->user ? "user" : "system");
    cmx_json_bool(&json.j, "simple", g->simple);
    cmx_json_str(&json.j, "fleet", g->fleet_text);
    cmx_json_str(&json.j, "listen", g->listen);
    cmx_json_str(&json.j, "host", g->host);
    cmx_json_u64(&json.j, "port", g->port);
    cmx_json_str(&json.j, "account", g->account);
    cmx_json_str(&json.j, "pin", ed25519);
    cmx_json_str(&json.j, "pin_ecdsa", ecdsa);
    gw_json_end_stdout(&json);
}

void gw_install_print(struct gw *g, bool json, const char *done)
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
    printf("  listens on   %s (devices connect to %s port %u)\n", g->listen, g->host, g->port);
    if (g->simple)
        printf("  ports        on the loopback, one device per port\n");
    else
        printf("  fleet        %s, in a network namespace of its own; rules in %s/fleet.nft\n", g->fleet_text, g->dir);
    printf("  pin          %s (ed25519)\n", ed25519[0] ? ed25519 : "missing; run 'cmxsafe gateway doctor'");
    printf("               %s (ecdsa)\n", ecdsa[0] ? ecdsa : "missing; run 'cmxsafe gateway doctor'");
    if (!done)
        return;
    if (gw_control_is_serving(g))
        printf("restart the running gateway to use new settings%s%s%s\n", g->user ? "" : ": '",
               g->user ? "" : gw_install_restart(g), g->user ? "" : "'");
    else if (g->user)
        printf("start it with 'cmxsafe gateway serve --dir %s'\n", g->dir);
    else
        printf("start it with 'systemctl enable --now cmxsafe-gateway.socket cmxsafe-gateway.service'\n");
}

const char *gw_install_restart(const struct gw *g)
{
    return g->simple ? "systemctl restart cmxsafe-gateway.socket cmxsafe-gateway.service"
                     : "systemctl restart cmxsafe-gateway-net.service cmxsafe-gateway.socket cmxsafe-gateway.service";
}
