/* Running a program inside the running gateway's namespaces: `cmxsafe gateway exec`, and nft for its rules. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/gateway/gw.h"
#include "cmxsafe/core/text.h"

#define COULD_NOT 127

/* --user mode: the namespaces of the process whose pid the gateway left in its folder. */
static bool open_user_namespaces(const struct gw *g, int fd[3])
{
    static const char *const kinds[] = {"user", "mnt", "net"};
    char path[GW_PATH_MAX];
    char text[16] = "";
    FILE *f = fopen(gw_path(g, "run/pid", path), "re");
    uint64_t pid;

    if (!f)
        return false;
    if (!fgets(text, sizeof text, f))
        text[0] = '\0';
    fclose(f);
    text[strcspn(text, "\n")] = '\0';
    if (cmx_text_u64(text, 2, 0x7fffffff, &pid))
        return false;
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "/proc/%llu/ns/%s", (unsigned long long)pid, kinds[i]);
        fd[i] = open(path, O_RDONLY | O_CLOEXEC);
        if (fd[i] < 0)
            return false;
    }
    return true;
}

static bool enter_user(const struct gw *g)
{
    int fd[3];

    if (!open_user_namespaces(g, fd) || setns(fd[0], CLONE_NEWUSER) != 0)
        return false;
    /* Become that namespace's root before looking at its files. */
    (void)setgroups(0, NULL); /* not allowed everywhere; then our own groups stay, which are nobody's inside */
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
    const struct passwd *pw;
    gid_t own;

    if (gid >= 0 && setresgid((gid_t)gid, (gid_t)gid, (gid_t)gid) != 0)
        return false;
    if (uid < 0)
        return true;
    pw = getpwuid((uid_t)uid);
    own = pw ? pw->pw_gid : (gid_t)uid;
    return setgroups(0, NULL) == 0 && setresgid(own, own, own) == 0 &&
           setresuid((uid_t)uid, (uid_t)uid, (uid_t)uid) == 0;
}

/* Where paths of the command line mean what they meant outside; the new root has the same folders. */
static void back_to(const char *cwd)
{
    if (cwd[0] == '\0' || chdir(cwd) != 0)
        (void)!chdir("/"); /* then absolute paths still work */
}

static bool go_inside(const struct gw *g, long uid, long gid)
{
    char cwd[GW_PATH_MAX] = "";

    if (!getcwd(cwd, sizeof cwd))
        cwd[0] = '\0';
    if (!g->simple && !(g->user ? enter_user(g) : enter_system(g)))
        return false;
    back_to(cwd);
    return become(uid, gid);
}

/* The child: enters, becomes, runs. output < 0: inherited. */
_Noreturn static void run_inside(const struct gw *g, long uid, long gid, int output, char *const argv[])
{
    if (!go_inside(g, uid, gid))
        _exit(COULD_NOT);
    if (output >= 0) {
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);
    }
    execvp(argv[0], argv);
    _exit(COULD_NOT);
}

pid_t gw_inside_start(const struct gw *g, int output, char *const argv[])
{
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0)
        run_inside(g, -1, g->simple ? -1 : gw_account_gid(g), output, argv);
    return pid;
}

int gw_inside(const struct gw *g, long uid, bool quiet, char *const argv[])
{
    int null = quiet ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
    int status = 0;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0)
        run_inside(g, uid, -1, null, argv);
    if (null >= 0)
        close(null);
    if (pid < 0)
        return COULD_NOT;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return COULD_NOT;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static const char about[] = "Runs COMMAND where the devices' names and addresses are reachable: inside the gateway's "
                            "network namespace, with its hosts\n"
                            "file. For example: cmxsafe gateway exec -- curl http://cam-17.cmx:81/stream\n"
                            "Grants apply here too (cmxsafe gateway grant user:NAME cam-17:81).";

int gw_cmd_exec(int argc, char **argv)
{
    struct gw_common c = {0};
    const char *uid_text = NULL;
    const struct gw_option options[] = {
        GW_DIR_OPTION(c),
        {"uid", "N", "as this user id of the namespace (default: as you)", &uid_text},
    };
    struct gw_command_line line = GW_COMMAND_LINE("exec", "-- COMMAND ...", about, 0, 0, options);
    uint64_t uid = 0;
    struct gw g;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (!line.rest || !line.rest[0])
        return cli_usage("cmxsafe gateway exec", "no command after --");
    if (uid_text && cmx_text_u64(uid_text, 0, 65534, &uid))
        return cli_usage("cmxsafe gateway exec", "'%s' is not a user id", uid_text);
    if (gw_open(&g, &c, false))
        return CLI_FAILED;
    gw_close(&g);
    if (!go_inside(&g, uid_text ? (long)uid : -1, -1))
        return cli_fail("exec failed", "the gateway is not running, or not yours", "see 'cmxsafe gateway status'");
    fflush(NULL);
    execvp(line.rest[0], line.rest); /* in our place: signals reach the command */
    return cli_fail(line.rest[0], strerror(errno), NULL);
}
