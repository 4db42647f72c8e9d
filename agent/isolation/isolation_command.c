#include "agent/isolation/isolation_command.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/config/agent_config.h"
#include "agent/config/unit_check.h"
#include "agent/isolation/agent_isolation.h"
#include "agent/isolation/nft_load.h"
#include "agent/isolation/saved_rules.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/proxy/net.h"
#include "port/linux/cli.h"

/* The file exists while applied rules are waiting for --confirm. The agent has no permission to write to the file's
 * folder; otherwise a compromised agent could confirm the rules by deleting the file. */
#define PENDING "/run/cmxsafe-isolation.unconfirmed"
#define LISTING_MAX (512 * 1024) /* maximum length of the rules as text, all elements included, in bytes */

enum action { NONE, SHOW, DRY_RUN, APPLY, REMOVE, CONFIRM, BOOT };

struct options {
    enum action action;
    const char *config;
    uint64_t confirm_s; /* time to wait for --confirm; 0: keep the rules without it */
};

static const char about[] =
    "The packet filter that permits this machine to talk only to its gateway. With `enabled = yes` in [isolation] the "
    "agent installs it before its first session, and again when another program changes it. "
    "Give exactly one of --show, --dry-run, --apply, --confirm, --remove and --boot.";

/* Parses the options. *done true: the command must end with the returned exit code. */
static int parse(int argc, char **argv, struct options *o, bool *done)
{
    bool given[BOOT + 1] = {false};
    const struct cli_option options[] = {
        CLI_FLAG("show", "print the installed ruleset", &given[SHOW]),
        CLI_FLAG("dry-run", "print the ruleset that --apply would install; root also checks it with the kernel",
                 &given[DRY_RUN]),
        CLI_FLAG("apply", "install the ruleset", &given[APPLY]),
        CLI_NUMBER("commit-confirm", "SECONDS", 1, 86400,
                   "with --apply: restore the previous rules after SECONDS, unless --confirm comes first",
                   &o->confirm_s),
        CLI_FLAG("confirm", "keep the rules that --apply --commit-confirm installed", &given[CONFIRM]),
        CLI_FLAG("remove", "remove the ruleset; an agent with `enabled = yes` installs it again", &given[REMOVE]),
        CLI_FLAG(
            "boot",
            "before the network comes up: load the rules that the agent saved, or deny everything if there are none "
            "(cmxsafed-isolation.service)",
            &given[BOOT]),
        CLI_TEXT("config", "FILE", "the agent's configuration", &o->config, .short_name = 'c'),
    };
    struct cli_line line = CLI_LINE("cmxsafed isolation", "", about, 0, 0, options);
    int n = 0, status;

    *done = true;
    if (cli_parse(&line, argc, argv, &status))
        return status;
    for (int action = SHOW; action <= BOOT; action++)
        if (given[action]) {
            o->action = (enum action)action;
            n++;
        }
    if (n != 1)
        return cli_usage(line.command, "give one of --show, --dry-run, --apply, --confirm, --remove and --boot");
    if (o->confirm_s && o->action != APPLY)
        return cli_usage(line.command, "--commit-confirm needs --apply");
    *done = false;
    return CLI_OK;
}

/* Appends a listing of each table. Skips a table that does not exist. *missing: the number of skipped tables. */
static cmx_err list_tables(struct nft *n, struct cmx_buf *out, unsigned *missing)
{
    static const char *const commands[] = {"list table inet cmxsafe", "list table arp cmxsafe"};
    cmx_err err = CMX_OK;

    *missing = 0;
    for (size_t i = 0; !err && i < sizeof commands / sizeof commands[0]; i++) {
        err = nft_list(n, commands[i], out);
        if (err == CMX_ENOENT) {
            (*missing)++;
            err = CMX_OK;
        }
    }
    return err;
}

static void print_line(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "%s\n", text);
}

/* With the default file, the rules permit the user of cmxsafed.service, not the caller, who may be root. */
static cmx_err set_agent_user(const char *file, struct isolation_section *s)
{
    struct unit_sandbox unit;

    if (s->agent_user || strcmp(file, CONFIG_FILE_DEFAULT) != 0 || !unit_sandbox_read(&unit, unit_files, unit_drop_ins))
        return CMX_OK;
    s->agent_user = cmx_mem_strdup(unit.user);
    return s->agent_user ? CMX_OK : CMX_ENOMEM;
}

/* Permits the addresses to which the gateways' names resolve now, because an agent without `enabled = yes` does not add
 * them to the rules. A name that cannot be looked up is left out if `lenient` is set; otherwise it is an error
 * (CMX_EDNS). */
static cmx_err permit_named_gateways(const struct agent_config *c, bool lenient, struct cmx_nft_config *n,
                                     struct cmx_why *why)
{
    for (size_t i = 0; i < c->gateways.n; i++) {
        const struct cmx_gateway_host *g = &c->gateways.at[i];
        struct addrinfo *list = NULL, *a;
        struct cmx_ip ip;
        uint32_t port;
        cmx_err err = cmx_ip_parse(&ip, g->host) ? CMX_OK : cmx_net_resolve(g->host, g->port, 0, &list);

        if (err && !lenient)
            return cmx_why_fail(why, err, "gateway name %.60s: %s", g->host, cmx_err_text(err));
        for (a = list; a && n->n_live < CMX_NFT_LIVE_MAX; a = a->ai_next)
            if (cmx_net_ip(a->ai_addr, &ip, &port))
                n->live[n->n_live++] = (struct cmx_end){ip, port};
        if (list)
            freeaddrinfo(list);
        if (a)
            return cmx_why_fail(why, CMX_ENOSPC, "the gateways' names have more than %d addresses", CMX_NFT_LIVE_MAX);
    }
    return CMX_OK;
}

/* Compiles the configuration file into a ruleset. *text: the ruleset as a string, stored in out. If a gateway's name
 * cannot be looked up, the ruleset leaves it out if `dry` is set, or if [isolation] has `enabled = yes`: the agent adds
 * the addresses later. Otherwise this is an error. Returns the exit code. */
static int compile(const char *file, bool dry, struct cmx_buf *out, const char **text)
{
    struct config_report report = {.file = file, .line = print_line};
    struct agent_config *c = NULL;
    struct cmx_nft_config *n = cmx_mem_alloc(sizeof *n);
    struct cmx_why why = {""};
    cmx_err err = n ? config_read_text(file, &report, &c) : CMX_ENOMEM;
    int code = 1;

    if (err) {
        (void)cli_fail(file, "not usable", "correct the errors listed above");
        goto out;
    }
    err = set_agent_user(file, &c->isolation);
    if (!err)
        err = isolation_compile(c, false, n, &why);
    if (!err)
        err = permit_named_gateways(c, dry || c->isolation.enabled, n, &why);
    if (err == CMX_EDNS)
        (void)cli_fail(file, why.text, "correct [gateway] host, or the name resolution; nothing was changed");
    else if (err)
        (void)cli_fail(file, cmx_why_text(&why, err), "correct the configuration");
    else if (cmx_nft_ruleset(n, out) != CMX_OK || cmx_buf_cstr(out, text) != CMX_OK)
        (void)cli_fail(file, "the ruleset is too long", "configure fewer contexts");
    else
        code = 0;
out:
    config_free(c);
    cmx_mem_free(n);
    return code;
}

static int not_permitted(void)
{
    return cli_fail("nftables", "not permitted", "run as root, or with CAP_NET_ADMIN");
}

static int run(struct nft *n, const char *text, bool dry)
{
    struct cmx_why why = {""};
    cmx_err err = nft_run(n, text, dry, &why);

    if (err == CMX_EPERM)
        return not_permitted();
    return err ? cli_fail("nftables", why.text, "check that the kernel has nf_tables with inet and arp tables") : 0;
}

/* ---- commit-confirm ---- */

/* Fails with EEXIST while other rules are waiting for --confirm, because two rollbacks must not be pending at the same
 * time. The first would remove the new rules, and the second would then restore the older, unconfirmed rules. */
static int open_pending(void)
{
    return open(PENDING, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* True until the file that fd refers to is removed. Does not check the path, because a later --commit-confirm creates
 * another file there. */
static bool is_pending(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_nlink > 0;
}

/* Runs in a process of its own, which survives the end of the login. Waits, and then restores the former rules, unless
 * the file PENDING was removed meanwhile. The blocked signals in `ends` end the wait at once: when a login
 * (logind.conf(5), KillUserProcesses=) or a unit ends, systemd sends SIGTERM to its remaining processes. */
static void guard(uint64_t seconds, int pending, const sigset_t *ends, const char *before)
{
    const struct timespec second = {.tv_sec = 1};
    struct nft *n = NULL;
    struct cmx_why why = {""};

    setsid();
    signal(SIGHUP, SIG_IGN);
    while (seconds-- && is_pending(pending) && sigtimedwait(ends, NULL, &second) < 0)
        ;
    if (!is_pending(pending))
        _exit(0);
    if (nft_open(&n, NULL) != CMX_OK || nft_run(n, before, false, &why) != CMX_OK)
        _exit(1); /* the command has ended: no process would read an error; the file PENDING stays */
    unlink(PENDING);
    nft_close(n);
    _exit(0);
}

/* Starts the guard. Returns the result of fork(2). */
static pid_t start_guard(uint64_t seconds, int pending, const char *before)
{
    sigset_t ends, was;
    pid_t pid;

    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, &was);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        for (int i = 0; null >= 0 && i < 3; i++)
            dup2(null, i);
        guard(seconds, pending, &ends, before);
    }
    sigprocmask(SIG_SETMASK, &was, NULL);
    return pid;
}

/* Writes the ruleset that restores the rules in force now, and checks it with a dry run, because nft 1.1 refuses some
 * of its own listings. */
static int write_way_back(struct nft *n, struct cmx_buf *before, const char **text)
{
    cmx_err err = cmx_nft_removal(before);
    struct cmx_why why = {""};
    unsigned missing;

    if (!err)
        err = list_tables(n, before, &missing);
    if (!err)
        err = cmx_buf_cstr(before, text);
    if (err == CMX_EPERM)
        return not_permitted();
    if (!err)
        err = nft_run(n, *text, true, &why);
    return err ? cli_fail("the rules in force cannot be saved for the rollback", cmx_why_text(&why, err),
                          "nothing was changed")
               : 0;
}

static int apply_unless(struct nft *n, const char *text, uint64_t seconds, struct cmx_buf *before)
{
    const char *back;
    int code = write_way_back(n, before, &back), fd;
    pid_t pid;

    if (code)
        return code;
    fd = open_pending();
    if (fd < 0)
        return errno == EEXIST ? cli_fail("apply", "other rules are waiting for confirmation",
                                          "first run 'cmxsafed isolation --confirm' or '--remove'; nothing was changed")
                               : cli_fail(PENDING, strerror(errno), "nothing was changed");
    /* The guard starts before the change, so that nothing can prevent the rollback. */
    pid = start_guard(seconds, fd, back);
    close(fd);
    code = pid < 0 ? cli_fail("fork", strerror(errno), "nothing was changed") : run(n, text, false);
    if (code)
        unlink(PENDING);
    else
        printf("the rules are in force for %llu seconds; 'cmxsafed isolation --confirm' keeps them\n",
               (unsigned long long)seconds);
    return code;
}

/* Checks the text, ends any --commit-confirm trial, and runs the text. A text that cannot be run must not end the
 * trial: the rules on trial would stay although nobody has confirmed them. */
static int run_and_end_trial(struct nft *n, const char *text)
{
    int code = run(n, text, true);

    if (code)
        return code;
    unlink(PENDING);
    return run(n, text, false);
}

static int confirm(void)
{
    if (unlink(PENDING) == 0)
        return puts("confirmed"), 0;
    return cli_fail("confirm", errno == ENOENT ? "no rules are waiting for confirmation" : strerror(errno),
                    "see 'cmxsafed isolation --show' for what is in force");
}

/* ---- the commands ---- */

static int show(struct nft *n, struct cmx_buf *b)
{
    const char *text;
    unsigned missing;
    cmx_err err = list_tables(n, b, &missing);

    if (err == CMX_EPERM)
        return not_permitted();
    if (!err && missing)
        return cli_fail("isolation", "not in force", "'cmxsafed isolation --apply' puts it into force");
    if (!err)
        err = cmx_buf_cstr(b, &text);
    if (err)
        return cli_fail("isolation", cmx_err_text(err), "use 'nft list table inet cmxsafe'");
    fputs(text, stdout);
    return 0;
}

static int dry_run(struct nft *n, const char *text)
{
    int code = 0;

    fputs(text, stdout);
    fflush(stdout);
    if (geteuid() == 0) /* the check needs the kernel's rules, which only root may read */
        code = run(n, text, true);
    return code;
}

/* True if isolation is enabled. Also true if the configuration cannot be read; *readable is then false. line: receives
 * the errors, as in struct config_report. */
static bool is_enabled(const char *file, void (*line)(void *arg, const char *text), bool *readable)
{
    struct config_report report = {.file = file, .line = line};
    struct agent_config *c = NULL;
    bool enabled = true;

    *readable = config_read_text(file, &report, &c) == CMX_OK;
    if (*readable)
        enabled = c->isolation.enabled;
    config_free(c);
    return enabled;
}

static int remove_rules(struct nft *n, struct cmx_buf *b)
{
    const char *text = NULL;

    if (cmx_nft_removal(b) != CMX_OK || cmx_buf_cstr(b, &text) != CMX_OK)
        return cli_fail("isolation", "internal error", "use 'nft delete table inet cmxsafe'");
    return run_and_end_trial(n, text);
}

static void note_agent(const char *file)
{
    bool readable;

    if (is_enabled(file, NULL, &readable) && readable)
        fprintf(stderr,
                "cmxsafe: note: isolation is enabled in %s, so a running agent installs its own rules again; "
                "set enabled = no and reload the agent first\n",
                file);
}

/* If isolation is enabled, loads the saved rules; if this fails, denies everything. The agent replaces these rules when
 * it starts. If it never starts, they stay. */
static int boot(const char *file, struct nft *n, struct cmx_buf *b)
{
    const char *text = NULL;
    struct cmx_why why = {""};
    bool readable;
    cmx_err err;
    int code;

    if (!is_enabled(file, print_line, &readable))
        return puts("isolation is not enabled: no rules are loaded"), 0;
    err = saved_rules_read(b);
    if (!err)
        err = cmx_buf_cstr(b, &text);
    if (!err)
        err = nft_run(n, text, false, &why);
    if (!err)
        return puts("the rules that the agent saved are in force"), 0;
    fprintf(stderr, "cmxsafe: cannot load the saved rules: %s\n", cmx_why_text(&why, err));
    cmx_buf_clear(b);
    if (cmx_nft_deny(b) != CMX_OK || cmx_buf_cstr(b, &text) != CMX_OK)
        return cli_fail("isolation", "internal error", "the network is not isolated");
    code = run(n, text, false);
    fprintf(stderr,
            code ? "cmxsafe: the network is not isolated\n" : "cmxsafe: everything is denied until the agent starts\n");
    return code;
}

static int act(const struct options *o, struct nft *n, struct cmx_buf *b, struct cmx_buf *before)
{
    const char *text = NULL;
    int code = o->action == APPLY || o->action == DRY_RUN ? compile(o->config, o->action == DRY_RUN, b, &text) : CLI_OK;

    if (code)
        return code;
    if (o->action == SHOW)
        return show(n, b);
    if (o->action == BOOT)
        return boot(o->config, n, b);
    if (o->action == DRY_RUN)
        return dry_run(n, text);
    if (o->action == REMOVE)
        code = remove_rules(n, b);
    else
        code = o->confirm_s ? apply_unless(n, text, o->confirm_s, before) : run_and_end_trial(n, text);
    if (!code)
        note_agent(o->config);
    return code;
}

int cmd_isolation(int argc, char **argv)
{
    struct options o = {.config = CONFIG_FILE_DEFAULT};
    bool done;
    int code = parse(argc, argv, &o, &done);
    char *memory = NULL;
    struct cmx_buf b, before;
    struct nft *n = NULL;
    struct cmx_why why = {""};

    if (done)
        return code;
    if (o.action == CONFIRM)
        return confirm();
    memory = cmx_mem_alloc(2 * LISTING_MAX);
    if (!memory || nft_open(&n, &why) != CMX_OK) {
        cmx_mem_free(memory);
        return cli_fail("isolation", why.text[0] ? why.text : "out of memory", "nothing was changed");
    }
    cmx_buf_init(&b, memory, LISTING_MAX);
    cmx_buf_init(&before, memory + LISTING_MAX, LISTING_MAX);
    code = act(&o, n, &b, &before);
    nft_close(n);
    cmx_mem_free(memory);
    return code;
}
