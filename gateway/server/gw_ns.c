/* --user mode: runs a system gateway in an ordinary user's namespaces. The process outside maps ids, runs the worker
 * and waits. The process inside is root in the user namespace. It creates its own root folder, because sshd runs its
 * helper only from folders that root owns. It then sets up the fleet's network, and runs the server as the unprivileged
 * account. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_fail.h"
#include "gateway/folder/gw_files.h"
#include "gateway/folder/gw_helper.h"
#include "gateway/folder/gw_program.h"
#include "gateway/registry/nss.h"
#include "gateway/server/gw_account.h"
#include "gateway/server/gw_expiry.h"
#include "gateway/server/gw_network.h"
#include "gateway/server/gw_server.h"
#include "gateway/server/gw_worker_child.h"
#include "port/linux/child.h"

/* If root runs the gateway, the id N > 0 inside the user namespace is the id ROOT_RUN_FIRST + N outside. No account has
 * such an id. */
#define ROOT_RUN_FIRST 1000000
#define MAP_COUNT 65535
#define EXPIRY_CHECK_MS 250
#define HOST_ETC "/.host-etc" /* where the system's /etc is mounted within the new root folder */

static volatile sig_atomic_t child_pid;

/* ---- the process outside the namespaces ---- */

static bool map_as_root(pid_t pid)
{
    char path[64];
    char map[80];

    snprintf(map, sizeof map, "0 0 1\n1 %d %d\n", ROOT_RUN_FIRST + 1, MAP_COUNT);
    snprintf(path, sizeof path, "/proc/%d/uid_map", (int)pid);
    if (!gw_file_put(AT_FDCWD, path, map))
        return false;
    snprintf(path, sizeof path, "/proc/%d/gid_map", (int)pid);
    return gw_file_put(AT_FDCWD, path, map);
}

#define ID_TEXT_MAX 24

/* Reads the first id range of this process's user from /etc/subuid or /etc/subgid, whose lines are "name:first:count"
 * (subuid(5)). */
static bool sub_range(const char *file, char first[ID_TEXT_MAX], char count[ID_TEXT_MAX])
{
    const struct gw_nss_entry *user;
    char number[ID_TEXT_MAX];
    char line[256];
    FILE *f = fopen(file, "re");
    bool found = false;

    snprintf(number, sizeof number, "%u", (unsigned)getuid());
    user = gw_nss_find(GW_NSS_USER, number);
    while (f && !found && fgets(line, sizeof line, f)) {
        char *a = strchr(line, ':');
        char *b = a ? strchr(a + 1, ':') : NULL;
        if (!b)
            continue;
        *a = *b = '\0';
        b[1 + strcspn(b + 1, "\n")] = '\0';
        if (strcmp(line, number) != 0 && strcmp(line, user->first) != 0)
            continue;
        snprintf(first, ID_TEXT_MAX, "%.20s", a + 1);
        snprintf(count, ID_TEXT_MAX, "%.20s", b + 1);
        found = true;
    }
    if (f)
        fclose(f);
    return found;
}

static bool map_as_user(pid_t pid)
{
    char first[ID_TEXT_MAX];
    char count[ID_TEXT_MAX];

    return sub_range("/etc/subuid", first, count) &&
           gw_program_runf(false, "newuidmap %d 0 %u 1 1 %s %s", (int)pid, (unsigned)getuid(), first, count) &&
           sub_range("/etc/subgid", first, count) &&
           gw_program_runf(false, "newgidmap %d 0 %u 1 1 %s %s", (int)pid, (unsigned)getgid(), first, count);
}

static void pass_on(int signo)
{
    if (child_pid > 0)
        kill(child_pid, signo);
}

/* Runs in the child: waits until its ids are mapped, then starts this program again as the namespace's root. Only after
 * this exec does the kernel let other cmxsafe processes enter the namespaces through /proc. */
_Noreturn static void become_inside(const struct gw *g, const int *listeners, size_t n, int go, int up, pid_t parent)
{
    char byte;
    char count[ID_TEXT_MAX];

    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | (g->simple ? 0 : CLONE_NEWNET)) != 0) {
        fprintf(stderr, "cmxsafe: the gateway can't start: no user namespace (%s); see 'cmxsafe gateway doctor'\n",
                strerror(errno));
        _exit(EXIT_FAILURE);
    }
    if (write(up, "u", 1) != 1 || read(go, &byte, 1) != 1)
        _exit(EXIT_FAILURE);
    for (size_t i = 0; i < n; i++)
        /* dup2 clears close-on-exec. It overwrites no other listener: n is 1, or each listeners[i] is 3 + i already. */
        dup2(listeners[i], 3 + (int)i);
    snprintf(count, sizeof count, "%zu", n);
    setenv("LISTEN_FDS", count, 1);
    unsetenv("LISTEN_PID");
    if (setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0)
        _exit(EXIT_FAILURE);
    if (cmx_child_end_with(parent, SIGTERM))
        execl("/proc/self/exe", "cmxsafe", "gateway", "serve", "--inside", "--dir", g->dir, (char *)NULL);
    _exit(EXIT_FAILURE);
}

/* The outer process runs as the gateway's owner, who may write the registry. It removes grants that have ended, and
 * runs the worker. */
static int serve_outside(struct gw *g, pid_t pid)
{
    struct gw_worker_child worker = {0};
    struct gw_expiry expiry = {0};
    int status = EXIT_FAILURE;

    for (;;) {
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid || (ended < 0 && errno != EINTR)) {
            gw_worker_stop(&worker);
            return ended == pid && WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
        }
        gw_worker_watch(&worker, g, pid);
        (void)gw_expiry_tick(&expiry, g);
        cmx_port_sleep_ms(EXPIRY_CHECK_MS);
    }
}

int gw_ns_user(struct gw *g, const int *listeners, size_t n)
{
    struct sigaction pass = {.sa_handler = pass_on};
    int go[2];
    int up[2];
    char byte;
    bool mapped;
    pid_t self = getpid();

    if (pipe2(go, O_CLOEXEC) != 0 || pipe2(up, O_CLOEXEC) != 0)
        return cli_fail("the gateway can't start", strerror(errno), NULL);
    fflush(NULL);
    child_pid = fork();
    if (child_pid == 0) {
        close(go[1]); /* otherwise the child would hold the pipe open and never see its end */
        close(up[0]);
        become_inside(g, listeners, n, go[0], up[1], self);
    }
    close(go[0]);
    close(up[1]);
    sigaction(SIGTERM, &pass, NULL);
    sigaction(SIGINT, &pass, NULL);
    sigaction(SIGHUP, &pass, NULL);
    if (child_pid < 0 || read(up[0], &byte, 1) != 1)
        return cmx_child_wait(child_pid) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    mapped = geteuid() == 0 ? map_as_root(child_pid) : map_as_user(child_pid);
    gw_nss_end();
    if (!mapped) {
        kill(child_pid, SIGKILL);
        (void)cmx_child_wait(child_pid);
        return cli_fail("the gateway can't start", "your ids can't be mapped",
                        "install the package uidmap, and check that /etc/subuid and /etc/subgid have a range for you");
    }
    if (write(go[1], "g", 1) != 1)
        kill(child_pid, SIGKILL);
    return serve_outside(g, child_pid);
}

/* ---- the process inside the namespaces ---- */

static bool fill_file(const char *path, const char *first, const char *copy)
{
    FILE *out = fopen(path, "we");
    FILE *in = copy ? fopen(copy, "re") : NULL;
    char line[2048];
    bool ok = out != NULL;

    if (out)
        fputs(first, out);
    while (out && in && fgets(line, sizeof line, in))
        fputs(line, out);
    if (in)
        fclose(in);
    if (out)
        ok = fclose(out) == 0;
    return ok;
}

/* Makes an entry of the real root folder available in the new root folder. */
static bool bind_entry(const char *root, const char *name)
{
    char from[300];
    char to[GW_PATH_MAX];
    char link[GW_PATH_MAX];
    struct stat st;
    ssize_t n;

    snprintf(from, sizeof from, "/%.255s", name);
    snprintf(to, sizeof to, "%.3500s/%.255s", root, name);
    if (lstat(from, &st) != 0)
        return true;
    if (S_ISLNK(st.st_mode)) {
        n = readlink(from, link, sizeof link - 1);
        if (n > 0)
            link[n] = '\0';
        return n > 0 && symlink(link, to) == 0;
    }
    if (S_ISDIR(st.st_mode))
        return mkdir(to, 0755) == 0 && mount(from, to, NULL, MS_BIND | MS_REC, NULL) == 0;
    if (!S_ISREG(st.st_mode))
        return true;
    return fill_file(to, "", NULL) && mount(from, to, NULL, MS_BIND, NULL) == 0;
}

static bool bind_all(const char *root)
{
    struct dirent *entry;
    DIR *dir = opendir("/");
    bool ok = dir != NULL;

    while (ok && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && strcmp(entry->d_name, "etc") &&
            strcmp(entry->d_name, &GW_INSIDE_DIR[1]))
            ok = bind_entry(root, entry->d_name) || strcmp(entry->d_name, "lost+found") == 0;
    if (dir)
        closedir(dir);
    return ok;
}

/* The new /etc has links to the system's files, except for three files that the gateway writes. Mounting the gateway's
 * files onto the system's would not last: when another program replaces such a file (useradd does), the kernel removes
 * the mount. */
static bool make_etc(const struct gw *g, const char *root)
{
    char host[GW_PATH_MAX];
    char path[GW_PATH_MAX];
    char target[300];
    char text[GW_NAME_MAX * 2 + 64];
    struct dirent *entry;
    DIR *dir = opendir("/etc");
    bool ok;

    snprintf(host, sizeof host, "%.3500s" HOST_ETC, root);
    snprintf(path, sizeof path, "%.3500s/etc", root);
    ok = dir && mkdir(host, 0755) == 0 && mount("/etc", host, NULL, MS_BIND | MS_REC, NULL) == 0 &&
         mkdir(path, 0755) == 0;
    while (ok && (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "passwd") == 0 ||
            strcmp(name, "group") == 0 || strcmp(name, "hosts") == 0)
            continue;
        snprintf(target, sizeof target, HOST_ETC "/%.255s", name);
        snprintf(path, sizeof path, "%.3500s/etc/%.255s", root, name);
        ok = symlink(target, path) == 0;
    }
    if (dir)
        closedir(dir);
    snprintf(path, sizeof path, "%.3500s/etc/hosts", root);
    ok = ok && symlink(GW_INSIDE_DIR "/hosts", path) == 0;
    snprintf(path, sizeof path, "%.3500s/etc/passwd", root);
    snprintf(text, sizeof text, "%s:x:%d:%d::/nonexistent:/usr/sbin/nologin\n", g->account, GW_USER_UID, GW_USER_UID);
    ok = ok && fill_file(path, text, "/etc/passwd") && chmod(path, 0644) == 0;
    snprintf(path, sizeof path, "%.3500s/etc/group", root);
    snprintf(text, sizeof text, "%s:x:%d:\n", g->account, GW_USER_UID);
    return ok && fill_file(path, text, "/etc/group") && chmod(path, 0644) == 0;
}

static bool bring_folder(const struct gw *g, const char *root)
{
    char to[GW_PATH_MAX];

    snprintf(to, sizeof to, "%.3500s" GW_INSIDE_DIR, root);
    return mkdir(to, 0755) == 0 && mount(g->dir, to, NULL, MS_BIND, NULL) == 0;
}

static bool bring_helper(const char *root, struct cmx_why *e)
{
    char from[GW_PATH_MAX];
    char to[GW_PATH_MAX];

    snprintf(to, sizeof to, "%.3500s/cmxsafe-authkeys", root);
    return gw_helper_source(from, e) == CMX_OK && gw_program_runf(false, "cp %s %s", from, to) && chmod(to, 0755) == 0;
}

static bool enter_root(const char *root)
{
    return chdir(root) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
           chdir("/") == 0;
}

static bool make_root(const struct gw *g, struct cmx_why *e)
{
    char root[GW_PATH_MAX];
    gw_path(g, "run/root", root);
    cmx_why_set(e, "the gateway's root folder can't be created; see 'cmxsafe gateway doctor'");
    if ((mkdir(root, 0755) != 0 && errno != EEXIST) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0 ||
        mount("cmxsafe", root, "tmpfs", 0, "mode=0755,size=64m") != 0 || !bind_all(root) || !make_etc(g, root) ||
        !bring_folder(g, root) || !bring_helper(root, e) || !enter_root(root)) {
        cmx_why_set(e, "%s (%s)", e->text, strerror(errno));
        return false;
    }
    return true;
}

/* Lets the account read the registry and the host keys, and create files in the control socket's folder. */
static bool give_to_account(void)
{
    return chown(GW_INSIDE_DIR "/registry.db", 0, GW_USER_UID) == 0 &&
           chown(GW_INSIDE_DIR "/hostkey_ed25519", 0, GW_USER_UID) == 0 &&
           chown(GW_INSIDE_DIR "/hostkey_ecdsa", 0, GW_USER_UID) == 0 &&
           chmod(GW_INSIDE_DIR "/registry.db", 0640) == 0 && chmod(GW_INSIDE_DIR "/hostkey_ed25519", 0640) == 0 &&
           chmod(GW_INSIDE_DIR "/hostkey_ecdsa", 0640) == 0 && chown(GW_INSIDE_DIR "/run", 0, GW_USER_UID) == 0 &&
           chmod(GW_INSIDE_DIR "/run", 0775) == 0;
}

/* Always creates a new file: the account may write to the folder, and may have left a link to another file. */
static bool write_pid(void)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    int fd;

    (void)unlink(GW_INSIDE_DIR "/run/pid"); /* there may be no such file */
    fd = open(GW_INSIDE_DIR "/run/pid", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, (size_t)len) != len)
        return false;
    close(fd);
    return true;
}

static int run_as_account(struct gw *g, pid_t parent, const int *listeners, size_t n)
{
    if (!gw_account_become(GW_USER_UID, GW_USER_UID))
        _exit(cli_fail("the gateway can't start", strerror(errno), NULL));
    if (!cmx_child_end_with(parent, SIGTERM))
        _exit(EXIT_FAILURE);
    /* Sessions have no identities here, because eBPF needs capabilities on the host. */
    return gw_server_run(g, NULL, NULL, listeners, n);
}

int gw_ns_inside(struct gw *g, const int *listeners, size_t n)
{
    struct sigaction pass = {.sa_handler = pass_on};
    struct cmx_why e = {0};
    pid_t self = getpid();
    int status;

    if (!make_root(g, &e))
        return gw_fail("the gateway can't start", &e);
    snprintf(g->dir, sizeof g->dir, "%s", GW_INSIDE_DIR);
    if (!g->simple && gw_network_configure(g, &e))
        return gw_fail("the gateway can't start", &e);
    if (!give_to_account() || !write_pid())
        return cli_fail("the gateway can't start",
                        "registry.db, the folder 'run' or a host key is missing, or can't be given to the account",
                        "see 'cmxsafe gateway doctor'");
    fflush(NULL);
    child_pid = fork();
    if (child_pid == 0)
        exit(run_as_account(g, self, listeners, n));
    for (size_t i = 0; i < n; i++)
        close(listeners[i]);
    sigaction(SIGTERM, &pass, NULL);
    sigaction(SIGINT, &pass, NULL);
    sigaction(SIGHUP, &pass, NULL);
    status = cmx_child_wait(child_pid) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    unlink(GW_INSIDE_DIR "/run/pid");
    return status;
}
