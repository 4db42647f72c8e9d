/* `cmxsafe gateway doctor`: checks for common problems and says how to repair them. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "cli/common/json_get.h"
#include "cli/gateway/gw_hooks.h"
#include "cli/gateway/gw_install.h"
#include "cli/gateway/gw_store.h"
#include "cmxsafe/core/mem.h"
#include "gateway/folder/gw_copy.h"
#include "gateway/folder/gw_helper.h"
#include "gateway/registry/authority.h"
#include "gateway/registry/nss.h"
#include "gateway/registry/party.h"
#include "gateway/server/gw_account.h"
#include "gateway/server/gw_apply.h"
#include "gateway/server/gw_control.h"
#include "gateway/server/gw_idsock.h"
#include "gateway/server/gw_inside.h"
#include "gateway/server/gw_links.h"
#include "gateway/server/gw_start.h"
#include "gateway/shared/shared.h"
#include "port/linux/child.h"

#define SPACE_MIN (50ll << 20)
#define JUDGE_PENDING_MS 200 /* interval between requests until a gateway that just started has checked its rules */
#define JUDGE_PENDING_TRIES 30
#define BUILT_AFTER 1704067200 /* 2024-01-01: a clock that shows an earlier time was never set */

typedef enum { FINE, HINT, BAD } finding;

struct doctor {
    struct gw g;
    struct gw_common common;
    struct gw_json json; /* with --json, one array of findings */
    size_t bad, devices;
    bool running;
};

static void say(struct doctor *d, finding f, const char *what, const char *why, const char *todo)
{
    static const char *const words[] = {"ok", "hint", "bad"};

    d->bad += f == BAD;
    if (d->common.json) {
        cmx_json_object(&d->json.j, NULL);
        cmx_json_str(&d->json.j, "check", what);
        cmx_json_str(&d->json.j, "finding", words[f]);
        cmx_json_str(&d->json.j, "why", f == FINE ? "" : why);
        cmx_json_str(&d->json.j, "todo", f == FINE ? "" : todo);
        cmx_json_end(&d->json.j);
    } else if (f == FINE) {
        printf("%-5s %s\n", words[f], what);
    } else {
        printf("%-5s %s: %s; %s\n", words[f], what, why, todo);
    }
}

static void check(struct doctor *d, bool good, const char *what, const char *why, const char *todo)
{
    say(d, good ? FINE : BAD, what, why, todo);
}

/* Reports a finding, as `say` does. The reason's text is "why; what to do"; this function splits it. */
static void say_reason(struct doctor *d, finding f, const char *what, const struct cmx_why *reason)
{
    char why[CMX_WHY_MAX];
    char *todo;

    snprintf(why, sizeof why, "%s", reason->text);
    todo = strstr(why, "; ");
    if (todo)
        *todo = '\0';
    say(d, f, what, why, todo ? todo + 2 : "see docs/GATEWAY.md");
}

static void check_call(struct doctor *d, const char *what, cmx_err (*call)(struct gw *g, struct cmx_why *e))
{
    struct cmx_why e = {0};
    cmx_err err = call(&d->g, &e);

    say_reason(d, err ? BAD : FINE, what, &e);
}

/* Runs a script in the gateway's namespaces. uid: see gw_inside. Returns true if the script's exit status is 0. */
static bool inside_says(struct doctor *d, long uid, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    return gw_inside(&d->g, uid, true, argv) == 0;
}

static void check_registry(struct doctor *d)
{
    struct cmx_why e = {0};
    struct statvfs vfs;
    cmx_err err = gw_registry_check(&d->g.registry, &e);

    say_reason(d, err ? BAD : FINE, "the registry is intact", &e);
    err = gw_command_count_group(&d->g, NULL, &d->devices, &e);
    say_reason(d, err ? BAD : FINE, "the registry can be read", &e);
    check(d, statvfs(d->g.dir, &vfs) == 0 && (long long)(vfs.f_bavail * vfs.f_frsize) > SPACE_MIN,
          "the registry has free space", "less than 50 MB are free", "make room");
}

static void check_copy(struct doctor *d)
{
    char url[GW_REGISTRY_URL_MAX];
    char warning[GW_COPY_WARNING_MAX];
    struct cmx_why e = {0};
    struct gw_shared *s;
    cmx_err unreachable;

    if (!gw_copy_url(&d->g, url)[0])
        return;
    unreachable = gw_shared_open(&s, &d->g.registry, url, &e);
    gw_copy_warning(&d->g, warning);
    if (unreachable && !warning[0]) /* the follower has not noticed yet that PostgreSQL is unreachable */
        say_reason(d, BAD, "this gateway follows the registry in PostgreSQL", &e);
    else
        check(d, !warning[0], "this gateway follows the registry in PostgreSQL", warning,
              "make PostgreSQL reachable (docs/SCALE_OUT.md), or start the gateway");
    if (!unreachable) {
        /* The follower does not notice a missing table, because it reads a table only after the table has changed. */
        cmx_err err = gw_shared_check_tables(s, &d->g.registry, &e);

        say_reason(d, err ? BAD : FINE, "the registry in PostgreSQL has its tables", &e);
        gw_shared_close(s);
    }
    gw_copy_left_out(&d->g, warning);
    check(d, !warning[0], "the registry in PostgreSQL is well-formed", warning,
          "correct or delete the rows in PostgreSQL (docs/SCALE_OUT.md), and find out which gateway wrote them");
}

static cmx_err find_unknown(void *arg, const struct gw_grant_record *p)
{
    struct gw_consumer *unknown = arg;

    if (!unknown->name[0] && !gw_party_is_known(&p->consumer))
        *unknown = p->consumer;
    return CMX_OK;
}

/* Reports the first grant to a user or group that does not exist. If one with this name is created later, the grant
 * applies to it. */
static void check_consumers(struct doctor *d)
{
    struct gw_consumer unknown = {0};
    char why[sizeof unknown.kind + sizeof unknown.name + 32];

    if (gw_grant_record_each(&d->g.registry, find_unknown, &unknown, NULL))
        return; /* check_registry reports it */
    snprintf(why, sizeof why, "this machine has no %s '%s'", unknown.kind, unknown.name);
    say(d, unknown.name[0] ? HINT : FINE, "all users and groups that have grants exist", why,
        "create it, or remove its grants with 'cmxsafe gateway grant --remove'");
}

/* ---- checks that each consist of a shell script ---- */

/* Where a check is made: in which kind of gateway, and in which network namespace. */
enum where {
    EVERYWHERE,
    NOT_SIMPLE,   /* not in a small deployment */
    USER_NO_ROOT, /* in --user mode, if the operator is not root */
    HOST,         /* in a system gateway, on the host */
    FLEET,        /* in a system gateway, in the fleet's namespace */
    USER_FLEET,   /* in --user mode, in the fleet's namespace, while the gateway runs */
};

struct script_check {
    enum where where;
    finding fault; /* the finding if the script fails */
    const char *what;
    const char *script; /* $F: the fleet's prefix; $N: the number of devices */
    const char *why, *todo;
};

static const struct script_check programs[] = {
    {EVERYWHERE, BAD, "sshd is installed", "test -x /usr/sbin/sshd", "there is no /usr/sbin/sshd",
     "install openssh-server"},
    {NOT_SIMPLE, BAD, "ip is installed", "command -v ip", "it is not in PATH", "install iproute2"},
    {NOT_SIMPLE, BAD, "nft is installed", "command -v nft", "it is not in PATH", "install nftables"},
    {EVERYWHERE, BAD, "ssh-keygen is installed", "command -v ssh-keygen", "it is not in PATH",
     "install openssh-client"},
    {USER_NO_ROOT, BAD, "newuidmap is installed", "command -v newuidmap", "it is not in PATH",
     "install uidmap, and give yourself a range in /etc/subuid and /etc/subgid"},
};

static const struct script_check machine[] = {
    {NOT_SIMPLE, BAD, "IPv6 is on", "test -e /proc/net/if_inet6", "it is turned off in the kernel",
     "boot without ipv6.disable=1"},
    {EVERYWHERE, BAD, "the kernel allows enough processes for the fleet",
     "test $N -lt 8000 || test \"$(cat /proc/sys/kernel/pid_max)\" != 32768",
     "kernel.pid_max is 32768, but each device needs two processes", "sysctl kernel.pid_max=4194304"},
    {EVERYWHERE, HINT, "many devices can log in at the same time",
     "test \"$(cat /proc/sys/net/core/somaxconn)\" != 128",
     "net.core.somaxconn is 128: if more devices connect at the same time, the rest must try again",
     "sysctl net.core.somaxconn=4096"},
    {EVERYWHERE, HINT, "SELinux", "! grep -q 1 /sys/fs/selinux/enforce", "it is enforcing",
     "allow the port with 'semanage port -a -t ssh_port_t -p tcp PORT', and give the folder of sshd's helper the label "
     "bin_t"},
    {EVERYWHERE, HINT, "AppArmor", "! grep -q sshd /sys/kernel/security/apparmor/profiles", "a profile confines sshd",
     "let sshd read the gateway's folder and run cmxsafe-authkeys"},
};

static bool applies(const struct doctor *d, enum where where)
{
    switch (where) {
    case EVERYWHERE:
        return true;
    case NOT_SIMPLE:
        return !d->g.simple;
    case USER_NO_ROOT:
        return d->g.user && geteuid() != 0;
    case HOST:
    case FLEET:
        return !d->g.user && !d->g.simple;
    case USER_FLEET:
        return d->g.user && !d->g.simple && d->running;
    }
    return false;
}

static void check_scripts(struct doctor *d, const struct script_check *list, size_t n)
{
    char script[600];
    const char *argv[] = {"sh", "-c", script, NULL};

    for (const struct script_check *c = list; c < list + n; c++) {
        bool inside = c->where == FLEET || c->where == USER_FLEET;

        if (!applies(d, c->where))
            continue;
        snprintf(script, sizeof script, "F='%s'; N=%zu; %s", d->g.fleet_text, d->devices, c->script);
        say(d, (inside ? inside_says(d, -1, script) : gw_program_run(true, argv)) ? FINE : c->fault, c->what, c->why,
            c->todo);
    }
}

static void check_key(struct doctor *d, const char *name)
{
    char path[GW_PATH_MAX];
    char public[GW_PATH_MAX];
    char what[64];
    struct gw_key own;
    struct gw_key there;
    struct stat st;

    snprintf(public, sizeof public, "%.4000s.pub", gw_path(&d->g, name, path));
    snprintf(what, sizeof what, "%s is valid and private", name);
    if (stat(path, &st) != 0)
        say(d, BAD, what, strerror(errno),
            "restore it from a backup (devices pin it), or run 'init' to create a new one");
    else if (st.st_mode & 027)
        say(d, BAD, what, "others can read it", "run 'chmod 640' on it");
    else if (gw_install_public(path, &own, NULL))
        say(d, BAD, what, "ssh-keygen can't read it",
            "restore it from a backup (devices pin it), or remove it and run 'init' to create a new one");
    else
        check(d, gw_key_read(&there, public, NULL) == CMX_OK && strcmp(own.fingerprint, there.fingerprint) == 0, what,
              "its .pub file is missing or belongs to another key", "run 'cmxsafe gateway init'");
}

static void check_keys(struct doctor *d)
{
    check_key(d, "hostkey_ed25519");
    check_key(d, "hostkey_ecdsa");
    if (geteuid() == 0 && !d->g.user && !d->g.simple)
        check_call(d, "the link key is the registered one", gw_links_check_key);
}

static void check_hooks(struct doctor *d)
{
    struct cmx_why e = {0};

    say_reason(d, gw_hooks_check(&d->g, &e) ? HINT : FINE, "every file in hooks.d is run for events", &e);
}

/* Without the file krl, sshd refuses every login. With a wrong file, it accepts revoked keys or refuses valid ones. */
static void check_krl(struct doctor *d)
{
    struct gw_krl krl;
    struct cmx_why e = {0};
    char path[GW_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    bool same = false;

    if (gw_krl_get(&d->g.registry, true, &krl, &e) == CMX_OK && access(gw_path(&d->g, "krl", path), R_OK) == 0 &&
        gw_file_read(path, &text, &len, &e) == CMX_OK)
        same = len == krl.len && (len == 0 || memcmp(text, krl.bytes, len) == 0);
    check(d, same, "sshd has the list of revoked keys",
          e.text[0] ? e.text : "the file krl is missing or differs from the registry", "run 'cmxsafe gateway init'");
    free(text); /* allocated by open_memstream */
    cmx_mem_free(krl.bytes);
}

static cmx_err find_helper(struct gw *g, struct cmx_why *e)
{
    char path[GW_PATH_MAX];

    return g->user ? gw_helper_source(path, e) : gw_helper_path(g, path, e);
}

static bool can_unshare(int what)
{
    const pid_t pid = cmx_child_fork();

    if (pid == 0)
        _exit(unshare(what) == 0 ? 0 : 1);
    return cmx_child_wait(pid) == 0;
}

static void check_namespaces(struct doctor *d)
{
    if (!d->g.user)
        return;
    check(d, can_unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET), "user namespaces work", "the kernel refuses them",
          "see sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns, or the container's "
          "profile");
}

static void check_time(struct doctor *d)
{
    struct timex tx = {0};
    int state = adjtimex(&tx);

    check(d, time(NULL) > BUILT_AFTER, "the clock is set", "it is far in the past", "start an NTP client");
    say(d, state >= 0 && !(tx.status & STA_UNSYNC) ? FINE : HINT, "the clock is synchronised by NTP",
        "the kernel says it is not synchronised", "start an NTP client (systemd-timesyncd, chrony)");
}

static void check_limits(struct doctor *d)
{
    struct rlimit lim = {0, 0};
    size_t needed = 3 * d->devices + 200;
    char todo[80];

    getrlimit(RLIMIT_NOFILE, &lim);
    snprintf(todo, sizeof todo, "raise it to %zu or more (LimitNOFILE=, limits.conf)", needed);
    check(d, lim.rlim_max >= needed, "a process can open enough files for the fleet", "the limit is too low", todo);
}

/* True if the machine runs systemd, and this gateway has units. */
static bool has_units(const struct gw *g)
{
    return !g->user && access("/run/systemd/system", F_OK) == 0 &&
           access("/etc/systemd/system/cmxsafe-gateway.service", F_OK) == 0;
}

/* Checks the running gateway's answer to `status`. */
static void check_answer(struct doctor *d, const char *answer)
{
    char judge[200];
    char trouble[8];

    say(d, json_text(answer, "trouble", trouble, sizeof trouble) && !trouble[0] ? FINE : HINT,
        "logins can read the registry", "some logins have failed to read it since the gateway started",
        "see 'cmxsafe gateway status'; a restart of the gateway clears this hint");
    if (d->g.simple)
        return;
    if (d->g.user) {
        say(d, HINT, "sessions have identities", "--user mode has none",
            "set up a system gateway if services must know the identity of a consumer");
        return;
    }
    check(d, json_is_true(answer, "identities"), "sessions have identities", "the gateway is running without them",
          "restart the gateway");
    check(d, json_text(answer, "judge", judge, sizeof judge) && !judge[0],
          "the fleet's rules are watched, and in force", judge,
          "see 'journalctl -u cmxsafe-gateway-guard', and run 'cmxsafe gateway net up'");
    say(d, json_is_true(answer, "confined") ? FINE : HINT, "sessions are kept apart by Landlock",
        "the kernel has no Landlock: a session whose sshd is taken over could act as another session",
        "boot a kernel with CONFIG_SECURITY_LANDLOCK, and 'landlock' in its lsm= list");
}

static void check_running(struct doctor *d)
{
    struct cmx_why e = {0};
    char *answer;

    d->running = gw_control(&d->g, "status", &answer, &e) == CMX_OK;
    for (int i = 0; d->running && strstr(answer, GW_CONTROL_JUDGE_PENDING) && i < JUDGE_PENDING_TRIES; i++) {
        poll(NULL, 0, JUDGE_PENDING_MS);
        free(answer); /* allocated by open_memstream */
        d->running = gw_control(&d->g, "status", &answer, &e) == CMX_OK;
    }
    say_reason(d, d->running ? FINE : has_units(&d->g) ? BAD : HINT, "the gateway is running", &e);
    if (d->running)
        check_answer(d, answer);
    free(answer); /* allocated by open_memstream */
}

/* Checks that the gateway could listen on its port. Called while the gateway is not running; systemd may then already
 * listen on the port for it (cmxsafe-gateway.socket). */
static cmx_err check_port_is_free(struct gw *g, struct cmx_why *e)
{
    const char *argv[] = {"systemctl", "--quiet", "is-active", "cmxsafe-gateway.socket", NULL};

    return has_units(g) && gw_program_run(true, argv) ? CMX_OK : gw_start_check_listen(g, e);
}

/* Checks the socket that devices connect to. */
static void check_port(struct doctor *d)
{
    const char *todo = has_units(&d->g) ? gw_install_restart(&d->g) : "restart the gateway";
    char script[120];
    const char *argv[] = {"sh", "-c", script, NULL};

    if (!d->running) {
        check_call(d, "the gateway can listen on its port", check_port_is_free);
        return;
    }
    snprintf(script, sizeof script, "ss -Hltn 'sport = :%u' | grep -q .", d->g.port);
    check(d, gw_program_run(true, argv), "the gateway listens on its port", "nothing listens there", todo);
}

/* Runs a script as the gateway's account, in the host's namespaces. Returns true if the script's exit status is 0. */
static bool account_may(const struct doctor *d, const char *script)
{
    const struct gw_nss_entry *account = gw_nss_find(GW_NSS_USER, d->g.account);
    pid_t pid;

    if (account->gid < 0)
        return false;
    fflush(NULL);
    pid = cmx_child_fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 ||
            !gw_account_become((uid_t)account->id, (gid_t)account->gid))
            _exit(1);
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    return cmx_child_wait(pid) == 0;
}

/* Checks that the gateway's account can do what sshd and its helper do at every login. */
static void check_account(struct doctor *d)
{
    static const char again[] = "run 'cmxsafe gateway init' again";
    char script[2 * GW_PATH_MAX + 100];
    char helper[GW_PATH_MAX];
    struct cmx_why e = {0};

    if (d->g.user || geteuid() != 0)
        return;
    check(d, gw_nss_find(GW_NSS_USER, d->g.account)->gid >= 0, "the account exists", "there is no such user", again);
    snprintf(script, sizeof script,
             "cd '%.4000s' && test -r registry.db && test -r hostkey_ed25519 && test -r sshd_config", d->g.dir);
    check(d, account_may(d, script), "the account can read the folder",
          "it can't read the registry, a host key or sshd_config, or can't enter a folder above them",
          "run 'cmxsafe gateway init' again, and give the folders above it mode 755");
    snprintf(script, sizeof script,
             "cd '%.4000s/run' && for f in . access access/log; do test ! -e $f || test -w $f || exit 1; done",
             d->g.dir);
    check(d, account_may(d, script), "the account can write to the run folder and the access log", "it can't", again);
    snprintf(script, sizeof script, "/usr/sbin/sshd -T -f '%.4000s/sshd_config'", d->g.dir);
    check(d, account_may(d, script), "sshd, run as the account, accepts its configuration", "sshd -T complains",
          "run 'cmxsafe gateway init' again; do not edit sshd_config");
    if (gw_helper_path(&d->g, helper, &e))
        return; /* find_helper has reported this */
    snprintf(script, sizeof script, "'%.4000s' '%.4000s' SHA256:doctor", helper, d->g.dir);
    check(d, account_may(d, script), "the look-up helper, run as the account, can read the registry", "it fails",
          again);
}

/* Checks that the kernel accepts the eBPF programs that give sessions their identities. Without them, the gateway does
 * not start. */
static cmx_err probe_identity(struct gw *g, struct cmx_why *e)
{
    (void)g;
    return gw_idsock_probe(e);
}

#define NET_UP "run 'cmxsafe gateway net up'"

static const struct script_check network[] = {
    {HOST, BAD, "the host's rules are loaded", "nft list chain inet cmxsafe_host postrouting | grep -q by_user",
     "the table cmxsafe_host is missing or was changed", NET_UP},
    {HOST, BAD, "the link into the namespace is up", "ip -o link show dev cmxsafe0 up | grep -q .",
     "cmxsafe0 is missing or down", NET_UP},
    {HOST, BAD, "the link has its address", "ip -6 -o address show dev cmxsafe0 scope global | grep -q .",
     "cmxsafe0 has no IPv6 address; is net.ipv6.conf.cmxsafe0.disable_ipv6 set?", NET_UP},
    {HOST, BAD, "the host has the fleet's route", "ip -6 route show \"$F\" dev cmxsafe0 | grep -q 'via.* src'",
     "it is missing or incomplete", NET_UP},
    {HOST, BAD, "the fleet's route leads into the namespace",
     "hop=$(ip -6 route show \"$F\" dev cmxsafe0 | sed 's/.*via \\([^ ]*\\).*/\\1/'); "
     "ip -n cmxsafe -6 -o address show to \"$hop\" | grep -q cmxsafe1",
     "no interface of the namespace has the address of the next hop", NET_UP},
    {HOST, BAD, "each end of the link can find the other",
     "for n in '' '-n cmxsafe'; do ip $n -6 -o address show scope link -tentative | grep -q cmxsafe || exit 1; done",
     "one of them has no usable link-local address", NET_UP},
    {HOST, BAD, "local users are kept from using the fleet's addresses", "ip -6 rule show pref 1129 | grep -q prohibit",
     "the routing rule is missing", NET_UP},
    {FLEET, BAD, "the fleet's rules are loaded",
     "for c in output prerouting judge; do nft list chain inet cmxsafe $c | grep -q 'grants\\|judge' || exit 1; done",
     "the table cmxsafe is missing or was changed in the namespace", NET_UP},
    {FLEET, BAD, "the namespace has the fleet's routes",
     "ip -6 route show table 1129142 | grep -qF \"local $F\" && ip -6 route show \"$F\" | grep -q nowhere && "
     "ip -6 route show table 1129143 | grep -qF \"$F via\"",
     "the fleet's route in the main table, in table 1129142 or in table 1129143 is missing", NET_UP},
    {FLEET, BAD, "the namespace has the fleet's routing rules",
     "test \"$(ip -6 rule show | grep -c 'fwmark 0x434d5[89]')\" -ge 2",
     "a routing rule for the marks 0x434d58 and 0x434d59 is missing", NET_UP},
    {FLEET, BAD, "the link is up in the namespace", "ip -o link show dev cmxsafe1 up | grep -q .",
     "cmxsafe1 is missing or down", NET_UP},
    {FLEET, BAD, "sshd can listen on any address", "test \"$(cat /proc/sys/net/ipv6/ip_nonlocal_bind)\" = 1",
     "net.ipv6.ip_nonlocal_bind is off", NET_UP},
    {FLEET, BAD, "sshd can listen on ports below 1024",
     "test \"$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)\" -le 1",
     "net.ipv4.ip_unprivileged_port_start is greater than 1", NET_UP},
    {FLEET, BAD, "IPv6 is on in the namespace",
     "! cat /proc/sys/net/ipv6/conf/all/disable_ipv6 /proc/sys/net/ipv6/conf/lo/disable_ipv6 | grep -q 1",
     "disable_ipv6 is set", NET_UP},
    {USER_FLEET, BAD, "the fleet has its route", "ip -6 route show table local | grep -qF \"$F\"", "it is missing",
     "restart the gateway"},
    {USER_FLEET, BAD, "the packet filter is loaded", "nft list table inet cmxsafe | grep -q by_user", "it is missing",
     "restart the gateway, and find out who changed the rules"},
};

static void check_network(struct doctor *d)
{
    static const char sshd[] = "/usr/sbin/sshd -T -f " GW_INSIDE_DIR "/sshd_config >/dev/null";

    if (d->g.user && d->running)
        check(d, inside_says(d, GW_USER_UID, sshd), "sshd accepts its configuration", "sshd -T complains",
              "run 'cmxsafe gateway init' again; do not edit sshd_config");
    if (applies(d, HOST) && access("/run/netns/" GW_NETNS, F_OK) != 0)
        say(d, d->running || has_units(&d->g) ? BAD : HINT, "the fleet's namespace exists", "it is missing",
            "run 'cmxsafe gateway net up', then restart the gateway");
    else
        check_scripts(d, network, GW_COUNT(network));
}

static const char about[] =
    "Checks for common problems and says how to repair them. Also repairs a registry whose last write was\n"
    "interrupted. The exit status is 0 if no check is 'bad'.";

int gw_cmd_doctor(int argc, char **argv)
{
    struct doctor d = {0};
    const struct cli_option options[] = {GW_DIR_OPTION(d.common), GW_JSON_OPTION(d.common)};
    struct cli_line line = CLI_LINE("cmxsafe gateway doctor", "", about, 0, 0, options);
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (gw_command_open(&d.g, &d.common, true)) /* opening for writing repairs an interrupted write */
        return CLI_FAILED;
    gw_json_begin(&d.json, stdout);
    cmx_json_array(&d.json.j, NULL);
    check_registry(&d);
    check_copy(&d);
    check_consumers(&d);
    check_scripts(&d, programs, GW_COUNT(programs));
    check_keys(&d);
    check_krl(&d);
    check_call(&d, "only the gateway's owner can change its files", gw_install_check_owners);
    check_call(&d, "the policy and campaign files are intact", gw_store_check);
    check_hooks(&d);
    check_call(&d, "sshd can run the look-up helper", find_helper);
    check_namespaces(&d);
    check_time(&d);
    check_limits(&d);
    check_scripts(&d, machine, GW_COUNT(machine));
    check_account(&d);
    check_running(&d);
    check_port(&d);
    if (applies(&d, HOST)) {
        check(&d, gw_apply_has_etc_hosts(&d.g), "/etc/hosts has the devices' names", "it was changed",
              "run 'cmxsafe gateway init'");
        if (geteuid() == 0)
            check_call(&d, "identity programs can be attached (no session starts without them)", probe_identity);
    }
    check_network(&d);
    cmx_json_end(&d.json.j);
    if (d.common.json)
        (void)gw_json_end(&d.json); /* main reports a failed write to stdout */
    gw_folder_close(&d.g);
    return d.bad ? CLI_FAILED : CLI_OK;
}
