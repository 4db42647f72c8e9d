/* `cmxsafe gateway doctor`: looks at everything that usually goes wrong, and says how to mend it. */
#include <errno.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/gateway/init.h"

#define SPACE_MIN (50ll << 20)
#define BUILT_AFTER 1704067200 /* 2024-01-01: a clock before it was never set */

typedef enum { FINE, HINT, BAD } finding;

struct doctor {
    struct gw g;
    struct gw_common common;
    size_t bad, printed, devices;
    bool running;
};

static void say(struct doctor *d, finding f, const char *what, const char *why, const char *todo)
{
    static const char *const words[] = {"ok", "hint", "bad"};

    d->bad += f == BAD;
    if (d->common.json) {
        printf("%s{", d->printed ? ",\n" : "");
        gw_json_text(stdout, true, "check", what);
        gw_json_text(stdout, false, "finding", words[f]);
        gw_json_text(stdout, false, "why", f == FINE ? "" : why);
        gw_json_text(stdout, false, "todo", f == FINE ? "" : todo);
        printf("}");
    } else if (f == FINE) {
        printf("%-5s %s\n", words[f], what);
    } else {
        printf("%-5s %s: %s; %s\n", words[f], what, why, todo);
    }
    d->printed++;
}

static void check(struct doctor *d, bool good, const char *what, const char *why, const char *todo)
{
    say(d, good ? FINE : BAD, what, why, todo);
}

static bool in_path(const char *program)
{
    char script[128];
    const char *argv[] = {"sh", "-c", script, NULL};

    snprintf(script, sizeof script, "command -v %s", program);
    return gw_run(true, argv);
}

static bool inside_says_to(struct doctor *d, long uid, const char *script)
{
    char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)script, NULL};
    return gw_inside(&d->g, uid, true, argv) == 0;
}

static bool inside_says(struct doctor *d, const char *script)
{
    return inside_says_to(d, -1, script);
}

static bool file_holds(const char *path, const char *text)
{
    char line[256] = "";
    FILE *f = fopen(path, "re");
    bool found = false;

    while (f && !found && fgets(line, sizeof line, f))
        found = strstr(line, text) != NULL;
    if (f)
        fclose(f);
    return found;
}

static cmx_err count_device(void *arg, const struct gw_device *x)
{
    struct doctor *d = arg;
    d->devices += x->revoked == 0;
    return CMX_OK;
}

static void check_registry(struct doctor *d)
{
    struct gw_error e = {0};
    struct statvfs vfs;
    cmx_err err = gw_registry_check(&d->g.registry, &e);

    check(d, !err, "registry is whole", e.why, e.todo);
    err = gw_device_each(&d->g.registry, NULL, count_device, d, &e);
    check(d, !err, "registry can be read", e.why, e.todo);
    check(d, statvfs(d->g.dir, &vfs) == 0 && (long long)(vfs.f_bavail * vfs.f_frsize) > SPACE_MIN,
          "space for the registry", "less than 50 MB are free", "make room");
}

static void check_programs(struct doctor *d)
{
    static const char *const programs[][2] = {
        {"ip", "install iproute2"}, {"nft", "install nftables"}, {"ssh-keygen", "install openssh-client"}};

    check(d, access("/usr/sbin/sshd", X_OK) == 0, "sshd is installed", "there is no /usr/sbin/sshd",
          "install openssh-server");
    for (size_t i = 0; i < GW_COUNT(programs); i++)
        if (!d->g.simple || i == 2) {
            char what[40];
            snprintf(what, sizeof what, "%s is installed", programs[i][0]);
            check(d, in_path(programs[i][0]), what, "it is not in PATH", programs[i][1]);
        }
}

static void check_keys(struct doctor *d)
{
    static const char *const names[] = {"hostkey_ed25519", "hostkey_ecdsa"};

    for (size_t i = 0; i < GW_COUNT(names); i++) {
        char path[GW_PATH_MAX];
        char what[64];
        struct stat st;
        bool there = stat(gw_path(&d->g, names[i], path), &st) == 0;

        snprintf(what, sizeof what, "%s is there and private", names[i]);
        check(d, there && (st.st_mode & 027) == 0, what, there ? "others can read it" : strerror(errno),
              there ? "chmod 640 it" : "restore it from a backup: devices pin it; or 'init' makes a new one");
    }
}

static void check_helper(struct doctor *d)
{
    char path[GW_PATH_MAX];
    struct gw_error e = {0};
    cmx_err err = d->g.user ? gw_helper_source(path, &e) : gw_helper_path(&d->g, path, &e);

    check(d, !err, "sshd may run the look-up helper", e.why, e.todo);
}

static bool can_unshare(int what)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0)
        _exit(unshare(what) == 0 ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void check_namespaces(struct doctor *d)
{
    if (!d->g.user)
        return;
    check(d, can_unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET), "user namespaces work", "the kernel refuses them",
          "see sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns, or the container's "
          "profile");
    if (geteuid() != 0)
        check(d, in_path("newuidmap"), "newuidmap is installed", "it is not in PATH",
              "install uidmap, and give yourself a range in /etc/subuid and /etc/subgid");
}

static void check_time(struct doctor *d)
{
    struct timex tx = {0};
    int state = adjtimex(&tx);

    check(d, time(NULL) > BUILT_AFTER, "the clock is set", "it is far in the past", "start an NTP client");
    say(d, state >= 0 && !(tx.status & STA_UNSYNC) ? FINE : HINT, "the clock is kept by NTP",
        "the kernel says it is not synchronised", "start one (systemd-timesyncd, chrony); evidence carries times");
}

static void check_limits(struct doctor *d)
{
    struct rlimit lim = {0, 0};
    size_t needed = 3 * d->devices + 200;
    char todo[80];

    getrlimit(RLIMIT_NOFILE, &lim);
    snprintf(todo, sizeof todo, "raise it to %zu or more (LimitNOFILE=, limits.conf)", needed);
    check(d, lim.rlim_max >= needed, "enough open files for the fleet", "the limit is too low", todo);
    check(d, !file_holds("/proc/sys/kernel/pid_max", "32768") || d->devices < 8000, "enough processes for the fleet",
          "kernel.pid_max is 32768, a device needs two processes", "sysctl kernel.pid_max=4194304");
    say(d, file_holds("/proc/sys/net/core/somaxconn", "128\n") ? HINT : FINE, "room for a storm of logins",
        "net.core.somaxconn is 128: devices beyond it wait for their next attempt", "sysctl net.core.somaxconn=4096");
}

static void check_security_modules(struct doctor *d)
{
    say(d, file_holds("/sys/fs/selinux/enforce", "1") ? HINT : FINE, "SELinux", "it is enforcing",
        "allow the port with 'semanage port -a -t ssh_port_t -p tcp PORT' and label the folder bin_t where sshd runs "
        "its helper");
    say(d, file_holds("/sys/kernel/security/apparmor/profiles", "sshd") ? HINT : FINE, "AppArmor",
        "a profile confines sshd", "let it read the gateway's folder and run cmxsafe-authkeys");
}

static void check_running(struct doctor *d)
{
    struct gw_error e = {0};
    char *answer = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&answer, &len);
    const char *trouble;

    d->running = f && gw_control(&d->g, "status", f, &e) == CMX_OK;
    if (f)
        fclose(f);
    say(d, d->running ? FINE : HINT, "the gateway runs", e.why, e.todo);
    if (d->running) {
        trouble = strstr(answer, "\"trouble\":\"");
        say(d, trouble && trouble[11] == '"' ? FINE : HINT, "logins find the registry",
            "some could not read it since the start",
            "see 'cmxsafe gateway status'; restart the gateway to forget them");
    }
    free(answer); /* open_memstream's own */
}

/* What holds inside the namespace, seen from inside. */
static void check_inside(struct doctor *d)
{
    char script[GW_PATH_MAX + 64];
    const struct passwd *pw;

    if (!d->running)
        return;
    snprintf(script, sizeof script, "/usr/sbin/sshd -T -f %.3800s/sshd_config >/dev/null", gw_inside_dir(&d->g));
    pw = getpwnam(d->g.account);
    check(d,
          inside_says_to(d,
                         d->g.user ? GW_USER_UID
                         : pw      ? (long)pw->pw_uid
                                   : -1,
                         script),
          "sshd accepts its configuration", "sshd -T complains",
          "run 'cmxsafe gateway init' again; do not edit sshd_config");
    if (d->g.simple)
        return;
    check(d, inside_says(d, "test \"$(cat /proc/sys/net/ipv6/ip_nonlocal_bind)\" = 1"),
          "any address can be listened on", "net.ipv6.ip_nonlocal_bind is off", "restart the gateway ('net up')");
    check(d, inside_says(d, "test \"$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)\" -le 1"),
          "ports below 1024 are free", "net.ipv4.ip_unprivileged_port_start is set", "restart the gateway ('net up')");
    snprintf(script, sizeof script, "ip -6 route show table local | grep -qF '%s'", d->g.fleet_text);
    check(d, inside_says(d, script), "the fleet has its route", "it is missing", "restart the gateway ('net up')");
    check(d, inside_says(d, "nft list table inet cmxsafe | grep -q by_user"), "the packet filter is loaded",
          "it is missing", "restart the gateway; who changed the rules?");
}

static const char about[] =
    "Checks everything that usually goes wrong and says how to mend it. Also heals a registry whose last write was\n"
    "interrupted. Exits 0 when nothing is bad.";

int gw_cmd_doctor(int argc, char **argv)
{
    struct doctor d = {0};
    const struct gw_option options[] = {GW_DIR_OPTION(d.common), GW_JSON_OPTION(d.common)};
    struct gw_command_line line = {
        .command = "doctor", .operands = "", .about = about, .options = options, .n_options = GW_COUNT(options)};
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (gw_open(&d.g, &d.common, true)) /* opening for writing heals */
        return CLI_FAILED;
    fputs(d.common.json ? "[" : "", stdout);
    check_registry(&d);
    check_programs(&d);
    check_keys(&d);
    check_helper(&d);
    check_namespaces(&d);
    check(&d, d.g.simple || access("/proc/net/if_inet6", F_OK) == 0, "IPv6 is on", "the kernel has it off",
          "boot without ipv6.disable=1");
    check_time(&d);
    check_limits(&d);
    check_security_modules(&d);
    check_running(&d);
    check_inside(&d);
    fputs(d.common.json ? "]\n" : "", stdout);
    gw_close(&d.g);
    return d.bad ? CLI_FAILED : CLI_OK;
}
