#include "gateway/server/gw_inside.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"
#include "gateway/registry/nss.h"
#include "gateway/server/gw_account.h"
#include "gateway/server/gw_confine.h"
#include "port/linux/child.h"

#define ID_TEXT_MAX 24

static bool is_same(int a, int b)
{
    struct stat x;
    struct stat y;

    return a >= 0 && b >= 0 && fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* True if the owner of the gateway's folder created the user namespace fd[0], and the others belong to it. The account
 * may write to the folder `run`, and a compromised one could name a process in namespaces of its own. */
static bool are_owners(const struct gw *g, const int fd[3])
{
    struct stat folder;
    uid_t owner;
    bool good = stat(g->dir, &folder) == 0 && ioctl(fd[0], NS_GET_OWNER_UID, &owner) == 0 && owner == folder.st_uid;

    for (size_t i = 1; good && i < 3; i++) {
        int user = ioctl(fd[i], NS_GET_USERNS);

        good = is_same(user, fd[0]);
        if (user >= 0)
            close(user);
    }
    return good;
}

/* --user mode: opens the namespaces of the process whose pid is in the gateway's folder. */
static bool open_user_namespaces(const struct gw *g, int fd[3])
{
    static const char *const kinds[] = {"user", "mnt", "net"};
    char path[GW_PATH_MAX];
    char text[16] = "";
    int file = open(gw_path(g, "run/pid", path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    uint64_t pid;

    if (file < 0)
        return false;
    (void)!read(file, text, sizeof text - 1); /* after an error, text is empty */
    close(file);
    text[strcspn(text, "\n")] = '\0';
    if (cmx_text_u64(text, 2, 0x7fffffff, &pid))
        return false;
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "/proc/%llu/ns/%s", (unsigned long long)pid, kinds[i]);
        fd[i] = open(path, O_RDONLY | O_CLOEXEC);
        if (fd[i] < 0)
            return false;
    }
    return are_owners(g, fd);
}

static bool enter_user(const struct gw *g)
{
    int fd[3];

    if (!open_user_namespaces(g, fd) || setns(fd[0], CLONE_NEWUSER) != 0)
        return false;
    /* Become root of the user namespace before entering the mount namespace, so that all files there are opened as
     * root. The kernel may refuse to clear the groups; this is harmless, because groups that remain have no permissions
     * in the namespace. */
    (void)setgroups(0, NULL);
    if (setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0)
        return false;
    return setns(fd[1], CLONE_NEWNS) == 0 && setns(fd[2], CLONE_NEWNET) == 0;
}

static bool enter_system(const struct gw *g)
{
    char path[GW_PATH_MAX];
    int fd = open("/run/netns/" GW_NETNS, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
        return false;
    close(fd);
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0 &&
           mount(gw_path(g, "hosts", path), "/etc/hosts", NULL, MS_BIND, NULL) == 0;
}

static bool become(long uid, long gid)
{
    char number[ID_TEXT_MAX];
    long own;

    if (gid >= 0 && setresgid((gid_t)gid, (gid_t)gid, (gid_t)gid) != 0)
        return false;
    if (uid < 0)
        return true;
    snprintf(number, sizeof number, "%ld", uid);
    own = gw_nss_find(GW_NSS_USER, number)->gid;
    gw_nss_end(); /* the program that this process is about to run must not have a child that it does not know */
    return gw_account_become((uid_t)uid, (gid_t)(own >= 0 ? own : uid));
}

/* Changes back to the caller's folder, so that relative paths in the command line still work. */
static void back_to(const char *cwd)
{
    if (cwd[0] == '\0' || chdir(cwd) != 0)
        (void)!chdir("/"); /* the folder does not exist here; absolute paths still work */
}

bool gw_inside_enter(const struct gw *g, long uid, long gid)
{
    char cwd[GW_PATH_MAX] = "";

    if (!getcwd(cwd, sizeof cwd))
        cwd[0] = '\0';
    if (!g->simple && !(g->user ? enter_user(g) : enter_system(g)))
        return false;
    back_to(cwd);
    return become(uid, gid);
}

/* Runs in the child, in the namespaces. out < 0: the child inherits stdout and stderr. */
_Noreturn static void exec_inside(const char *program, int out, int err, const char *const argv[])
{
    if (out >= 0) {
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
    }
    execvp(program, (char *const *)(uintptr_t)argv);
    _exit(GW_COULD_NOT);
}

pid_t gw_inside_start(const struct gw *g, bool unprivileged, int out, int err, const char *const argv[])
{
    bool drop = unprivileged && !g->user && !g->simple;
    pid_t parent = getpid();
    pid_t pid;

    fflush(NULL);
    pid = cmx_child_fork();
    if (pid != 0)
        return pid;
    if (!gw_inside_enter(g, -1, drop || g->simple ? -1 : gw_account_gid(g)) ||
        (drop && !(gw_account_become(GW_UNUSED_UID, GW_NOBODY) && gw_confine_self())) ||
        !cmx_child_end_with(parent, SIGTERM))
        _exit(GW_COULD_NOT);
    /* Do not start the program by its path: after an upgrade of the package, the file of the running program no longer
     * exists. */
    exec_inside("/proc/self/exe", out, err, argv);
}

int gw_inside(const struct gw *g, long uid, bool quiet, const char *const argv[])
{
    int null = quiet ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
    int status;
    pid_t pid;

    fflush(NULL);
    pid = cmx_child_fork();
    if (pid == 0 && gw_inside_enter(g, uid, -1))
        exec_inside(argv[0], null, null, argv);
    if (pid == 0)
        _exit(GW_COULD_NOT);
    if (null >= 0)
        close(null);
    status = cmx_child_wait(pid);
    return status < 0 ? GW_COULD_NOT : status;
}
