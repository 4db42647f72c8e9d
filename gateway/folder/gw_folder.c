#include "gateway/folder/gw_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"
#include "gateway/registry/nss.h"
#include "gateway/shared/shared.h"

cmx_err gw_folder_find(struct gw *g, const char *dir, struct cmx_why *e)
{
    const char *env = getenv("CMXSAFE_GATEWAY");
    const char *home = getenv("HOME");
    char cwd[PATH_MAX] = "";
    int n;

    memset(g, 0, sizeof *g);
    if (dir && !dir[0])
        return cmx_why_fail(e, CMX_EINVAL, "--dir is empty; name the gateway's folder");
    if (!dir && env && env[0])
        dir = env;
    if (dir && dir[0] != '/' && !getcwd(cwd, sizeof cwd))
        return cmx_why_fail(e, CMX_EINVAL, "the folder '%.80s': the current folder can't be found (%s)", dir,
                            strerror(errno));
    if (dir)
        n = snprintf(g->dir, sizeof g->dir, "%s%s%s", cwd, cwd[0] ? "/" : "", dir);
    else if (geteuid() == 0 || !home)
        n = snprintf(g->dir, sizeof g->dir, "%s", GW_SYSTEM_DIR);
    else
        n = snprintf(g->dir, sizeof g->dir, "%s/.local/share/cmxsafe/gateway", home);
    if (n < 0 || (size_t)n >= sizeof g->dir) {
        g->dir[0] = '\0';
        return cmx_why_fail(e, CMX_EINVAL, "the path of the gateway's folder is too long");
    }
    for (size_t len = strlen(g->dir); len > 1 && g->dir[len - 1] == '/'; len--)
        g->dir[len - 1] = '\0';
    return CMX_OK;
}

const char *gw_path(const struct gw *g, const char *name, char out[GW_PATH_MAX])
{
    snprintf(out, GW_PATH_MAX, "%s/%.60s", g->dir, name);
    return out;
}

cmx_err gw_path_check(const char *path, struct cmx_why *e)
{
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || strchr("\"'\\%#$", *p))
            return cmx_why_fail(
                e, CMX_EINVAL,
                "the path '%.150s' has blanks, control characters or one of \" ' \\ %% # $; use another "
                "folder",
                path);
    return CMX_OK;
}

const char *gw_inside_dir(const struct gw *g)
{
    return g->user ? GW_INSIDE_DIR : g->dir;
}

static cmx_err load_port(struct gw *g, struct cmx_why *e)
{
    const char *colon = strrchr(g->listen, ':');
    uint64_t port;

    if (!colon || cmx_text_u64(colon + 1, 1, 65535, &port))
        return cmx_why_fail(e, CMX_EFORMAT, "the registry has no listening port; run 'cmxsafe gateway init' again");
    g->port = (uint16_t)port;
    return CMX_OK;
}

cmx_err gw_folder_load(struct gw *g, struct cmx_why *e)
{
    struct gw_registry *r = &g->registry;
    char mode[16];
    char simple[8];
    cmx_err err = gw_meta_get(r, "mode", mode, sizeof mode);

    if (err || gw_meta_get(r, "domain", g->domain, sizeof g->domain) ||
        gw_meta_get(r, "account", g->account, sizeof g->account) ||
        gw_meta_get(r, "listen", g->listen, sizeof g->listen) || gw_meta_get(r, "host", g->host, sizeof g->host) ||
        gw_meta_get(r, "simple", simple, sizeof simple))
        return cmx_why_fail(e, CMX_EFORMAT,
                            "the registry lacks the gateway's settings; run 'cmxsafe gateway init' again");
    err = gw_meta_get(r, "proxy_protocol", g->proxies, sizeof g->proxies);
    if (err == CMX_ENOENT)
        g->proxies[0] = '\0';
    else if (err) /* without the list, every device would appear to connect from the load balancer */
        return cmx_why_fail(e, CMX_EFORMAT,
                            "the load balancers' addresses can't be read; run 'cmxsafe gateway init "
                            "--proxy-protocol' again");
    if (!gw_sql_is_id(g->domain) || strchr(g->domain, ' ') || !gw_sql_is_id(g->listen) || !gw_sql_is_id(g->host))
        return cmx_why_fail(e, CMX_EFORMAT, "the registry has malformed settings; restore another backup");
    err = CMX_OK;
    g->user = strcmp(mode, "user") == 0;
    g->simple = strcmp(simple, "1") == 0;
    if (!g->simple) {
        if (gw_meta_get(r, "fleet", g->fleet_text, sizeof g->fleet_text))
            return cmx_why_fail(e, CMX_EFORMAT,
                                "the registry lacks the fleet's prefix; run 'cmxsafe gateway init' again");
        err = gw_fleet_parse(&g->fleet, g->fleet_text, e);
    }
    return err ? err : load_port(g, e);
}

static cmx_err attach_shared(struct gw *g, struct cmx_why *e)
{
    char url[GW_REGISTRY_URL_MAX];
    cmx_err err = gw_meta_get(&g->registry, "registry", url, sizeof url);

    if (err == CMX_ENOENT)
        return CMX_OK;
    return err ? cmx_why_fail(e, CMX_EFORMAT, "can't read the shared registry's URL from registry.db; restore a backup")
               : gw_shared_attach(&g->registry, url, e);
}

cmx_err gw_folder_open(struct gw *g, bool write, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    cmx_err err = gw_registry_open(&g->registry, gw_path(g, "registry.db", path), write, e);

    /* SQLite repairs an interrupted write only when it opens the file for writing. */
    if (err == CMX_EBUSY && !write && access(path, W_OK) == 0)
        err = gw_registry_open(&g->registry, path, true, e);
    if (!err)
        err = gw_folder_load(g, e);
    if (!err && g->registry.writable)
        err = attach_shared(g, e);
    if (err)
        gw_folder_close(g);
    return err;
}

void gw_folder_unlock(struct gw *g)
{
    if (g->locked) {
        if (!g->unsettled)
            (void)!ftruncate(g->lock, 0);
        close(g->lock);
    }
    g->locked = false;
}

void gw_folder_close(struct gw *g)
{
    gw_registry_close(&g->registry);
    gw_folder_unlock(g);
}

/* The lock file has one byte while a process holds the lock. A process that is killed releases the lock, but leaves the
 * byte. Later holders do not remove it either, until one of them sets g->unsettled to false. */
cmx_err gw_folder_lock(struct gw *g, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    struct stat st;
    unsigned waited_ms = 0;

    if (g->locked)
        return CMX_OK;
    g->lock = open(gw_path(g, "apply.lock", path), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (g->lock < 0)
        return cmx_why_fail(e, CMX_EPERM, "can't open %s (%s); run this as the gateway's owner", path, strerror(errno));
    while (flock(g->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK || waited_ms >= GW_LOCK_PATIENCE_MS) {
            close(g->lock);
            return cmx_why_fail(
                e, CMX_EBUSY,
                "another command has been changing this gateway for a long time; find it with 'fuser -v %s'", path);
        }
        usleep(20000);
        waited_ms += 20;
    }
    g->locked = true;
    g->unsettled = fstat(g->lock, &st) != 0 || st.st_size > 0;
    (void)!pwrite(g->lock, "1", 1, 0);
    return CMX_OK;
}

bool gw_folder_is_abandoned(const struct gw *g)
{
    char path[GW_PATH_MAX];
    struct stat st;
    int fd = open(gw_path(g, "apply.lock", path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool abandoned = fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
                     fstat(fd, &st) == 0 && st.st_size > 0; /* the size may have changed before the lock was taken */

    if (fd >= 0)
        close(fd);
    return abandoned;
}

bool gw_folder_is_settled(const struct gw *g)
{
    char path[GW_PATH_MAX];
    struct stat st;

    return stat(gw_path(g, "apply.lock", path), &st) != 0 || st.st_size == 0;
}

void gw_device_host(const struct gw *g, const struct gw_device *d, char out[GW_HOST_MAX])
{
    if (g->simple)
        snprintf(out, GW_HOST_MAX, "localhost");
    else
        snprintf(out, GW_HOST_MAX, "%.63s.%.63s", d->name, g->domain);
}

void gw_pin(const struct gw *g, const char *name, char out[GW_FINGERPRINT_MAX])
{
    char path[GW_PATH_MAX];
    struct gw_key k;

    out[0] = '\0';
    if (gw_key_read(&k, gw_path(g, name, path), NULL) == CMX_OK)
        snprintf(out, GW_FINGERPRINT_MAX, "%s", k.fingerprint);
}

/* The path in the cgroup v2 hierarchy is in the line that begins with "0::". */
bool gw_cgroup_of(const char *file, char *out, size_t cap)
{
    char line[512];
    FILE *f = fopen(file, "re");
    bool found = false;

    while (f && !found && fgets(line, sizeof line, f))
        if (strncmp(line, "0::", 3) == 0) {
            line[strcspn(line, "\n")] = '\0';
            found = (size_t)snprintf(out, cap, "%s", line + 3) < cap;
        }
    if (f)
        fclose(f);
    return found;
}

cmx_err gw_link_get(struct gw *g, struct gw_link *l, struct cmx_why *e)
{
    char link[GW_ADDRESS_MAX - 2];

    if (gw_meta_get(&g->registry, "link", link, sizeof link) || !gw_sql_is_id(link))
        return cmx_why_fail(e, CMX_EFORMAT,
                            "the registry lacks the link's addresses; run 'cmxsafe gateway init' again");
    snprintf(l->host, sizeof l->host, "%s1", link);
    snprintf(l->inside, sizeof l->inside, "%s2", link);
    return CMX_OK;
}

long gw_account_gid(const struct gw *g)
{
    long gid = g->user ? GW_USER_UID : gw_nss_find(GW_NSS_USER, g->account)->gid;

    return gid < 0 ? GW_NO_GID : gid;
}

const char *gw_cgroup_root(void)
{
    static char root[256];
    char line[1024];
    FILE *f = fopen("/proc/self/mounts", "re");

    root[0] = '\0';
    while (f && !root[0] && fgets(line, sizeof line, f)) {
        char type[32];
        char path[256];
        struct statfs fs;
        /* If another file system is mounted over this mount point, statfs reports that file system. */
        if (sscanf(line, "%*s %255s %31s", path, type) == 2 && strcmp(type, "cgroup2") == 0 && statfs(path, &fs) == 0 &&
            fs.f_type == CGROUP2_SUPER_MAGIC)
            snprintf(root, sizeof root, "%s", path);
    }
    if (f)
        fclose(f);
    return root;
}
