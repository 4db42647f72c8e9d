/* cmd_isolation.c - `cmxsafed isolation`: look at the ruleset, try it, put it into force by hand, take it away. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "commands.h"
#include "config.h"
#include "isolation.h"

/* Not in a folder of the agent's: whoever took the agent over could confirm by deleting it. */
#define PENDING "/run/cmxsafe-isolation.unconfirmed"
#define LISTING_MAX (128 * 1024)

enum action { NONE, SHOW, DRY_RUN, APPLY, REMOVE, CONFIRM };

struct options {
    enum action action;
    const char *config;
    uint64_t confirm_s; /* 0: at once for good */
};

static void help(void)
{
    printf("usage: cmxsafed isolation [-c FILE] --show | --dry-run | --apply [--commit-confirm SECONDS] | --confirm | "
           "--remove\n\n"
           "The packet filter that lets this machine talk to its gateway and to nobody else. With `enabled = yes` in\n"
           "[isolation] the agent puts it into force itself, before its first session.\n\n"
           "  --show                    the ruleset that is in force\n"
           "  --dry-run                 the ruleset that would be applied, after the kernel's tools checked it\n"
           "  --apply                   put it into force\n"
           "  --commit-confirm SECONDS  with --apply: go back to what was before unless --confirm comes in time\n"
           "  --confirm                 keep what was applied with --commit-confirm\n"
           "  --remove                  take it out of force\n"
           "  -c, --config FILE         the agent's configuration (default: " CONFIG_FILE_DEFAULT ")\n");
}

static int fail(const char *what, const char *why, const char *todo)
{
    fprintf(stderr, "cmxsafe: %s: %s; %s\n", what, why, todo);
    return 1;
}

static int usage(const char *what)
{
    fprintf(stderr, "cmxsafe: %s; see 'cmxsafed isolation --help'\n", what);
    return 2;
}

/* 0: go on; else the exit code plus one. */
static int parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"show", no_argument, NULL, SHOW},
        {"dry-run", no_argument, NULL, DRY_RUN},
        {"apply", no_argument, NULL, APPLY},
        {"remove", no_argument, NULL, REMOVE},
        {"confirm", no_argument, NULL, CONFIRM},
        {"commit-confirm", required_argument, NULL, 'n'},
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
        if (c == 'h')
            return help(), 1;
        if (c == 'c')
            o->config = optarg;
        else if (c == 'n' && cmx_text_u64(optarg, 1, 86400, &o->confirm_s) != CMX_OK)
            return usage("--commit-confirm takes 1 to 86400 seconds") + 1;
        else if (c >= SHOW && c <= CONFIRM && (o->action == NONE || o->action == (enum action)c))
            o->action = (enum action)c;
        else if (c == '?')
            return usage("an option is not known, or lacks its value") + 1;
        else if (c != 'n')
            return usage("one of --show, --dry-run, --apply, --confirm and --remove") + 1;
    }
    if (optind < argc)
        return usage("unexpected argument") + 1;
    if (o->action == NONE)
        return usage("say what to do") + 1;
    if (o->confirm_s && o->action != APPLY)
        return usage("--commit-confirm goes with --apply") + 1;
    return 0;
}

/* One at a time: libnftables 1.0.6 takes two tables of one name for one. */
static cmx_err list_tables(struct nft *n, struct cmx_buf *out)
{
    cmx_err err = nft_list(n, "list table inet cmxsafe", out);

    return err ? err : nft_list(n, "list table arp cmxsafe", out);
}

static void print_line(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "%s\n", text);
}

/* The ruleset of the configuration file into out, as a string. Returns the exit code. */
static int compile(const char *file, struct cmx_buf *out, const char **text)
{
    struct config_report report = {.file = file, .line = print_line};
    struct agent_config *c = NULL;
    struct cmx_nft_config *n = cmx_mem_alloc(sizeof *n);
    char why[160] = "";
    cmx_err err = n ? config_read_text(file, &report, &c) : CMX_ENOMEM;
    int code = 1;

    if (err)
        (void)fail(file, "not usable", "correct what is listed above");
    else if (isolation_compile(c, false, n, why, sizeof why) != CMX_OK)
        (void)fail(file, why, "correct it");
    else if (cmx_nft_ruleset(n, out) != CMX_OK || cmx_buf_cstr(out, text) != CMX_OK)
        (void)fail(file, "the ruleset is too long", "name fewer contexts");
    else
        code = 0;
    config_free(c);
    cmx_mem_free(n);
    return code;
}

static int not_permitted(void)
{
    return fail("nftables", "not permitted", "run as root, or with CAP_NET_ADMIN");
}

static int run(struct nft *n, const char *text, bool dry)
{
    char why[160] = "";
    cmx_err err = nft_run(n, text, dry, why, sizeof why);

    if (err == CMX_EPERM)
        return not_permitted();
    return err ? fail("nftables", why, "is the kernel's nf_tables complete?") : 0;
}

/* ---- commit-confirm ---- */

static int open_pending(void)
{
    return open(PENDING, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* In a process of its own, which the end of a login does not end: waits, and goes back unless it was confirmed. */
static void guard(uint64_t seconds, const char *before)
{
    struct nft *n = NULL;
    char why[160];

    setsid();
    signal(SIGHUP, SIG_IGN);
    while (seconds-- && access(PENDING, F_OK) == 0)
        sleep(1);
    if (access(PENDING, F_OK) != 0)
        _exit(0);
    if (nft_open(&n, NULL, 0) != CMX_OK || nft_run(n, before, false, why, sizeof why) != CMX_OK)
        _exit(1); /* nobody is left to tell; the mark that it is not confirmed stays */
    unlink(PENDING);
    nft_close(n);
    _exit(0);
}

/* What takes the state of affairs back to what it is now: our tables away, and those that are there again. */
static int remember(struct nft *n, struct cmx_buf *before, const char **text)
{
    cmx_err err = cmx_nft_removal(before);

    if (!err) {
        err = list_tables(n, before);
        if (err == CMX_ENOENT)
            err = CMX_OK;
    }
    if (!err)
        err = cmx_buf_cstr(before, text);
    return err ? fail("the ruleset in force", cmx_err_text(err), "nothing was changed") : 0;
}

static int apply_unless(struct nft *n, const char *text, uint64_t seconds, struct cmx_buf *before)
{
    const char *back;
    int code = remember(n, before, &back), fd;
    pid_t pid;

    if (code)
        return code;
    fd = open_pending();
    if (fd < 0)
        return fail(PENDING, strerror(errno), "nothing was changed");
    close(fd);
    fflush(NULL);
    pid = fork(); /* the guard is there before the change is */
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        for (int i = 0; null >= 0 && i < 3; i++)
            dup2(null, i);
        guard(seconds, back);
    }
    code = pid < 0 ? fail("fork", strerror(errno), "nothing was changed") : run(n, text, false);
    if (code)
        unlink(PENDING);
    else
        printf("in force for %llu seconds; 'cmxsafed isolation --confirm' keeps it\n", (unsigned long long)seconds);
    return code;
}

static int confirm(void)
{
    if (unlink(PENDING) == 0)
        return puts("confirmed"), 0;
    return fail("confirm", errno == ENOENT ? "nothing waits for it" : strerror(errno),
                "see 'cmxsafed isolation --show' for what is in force");
}

/* ---- the commands ---- */

static int show(struct nft *n, struct cmx_buf *b)
{
    const char *text;
    cmx_err err = list_tables(n, b);

    if (err == CMX_ENOENT)
        return fail("isolation", "not in force", "'cmxsafed isolation --apply' puts it into force");
    if (err == CMX_EPERM)
        return not_permitted();
    if (err || cmx_buf_cstr(b, &text) != CMX_OK)
        return fail("isolation", cmx_err_text(err), "use 'nft list table inet cmxsafe'");
    fputs(text, stdout);
    return 0;
}

static int dry_run(struct nft *n, const char *text)
{
    int code = 0;

    fputs(text, stdout);
    fflush(stdout);
    if (geteuid() == 0) /* the check asks the kernel what is there, which only root may */
        code = run(n, text, true);
    return code;
}

static int act(const struct options *o, struct nft *n, struct cmx_buf *b, struct cmx_buf *before)
{
    const char *text = NULL;
    int code;

    if (o->action == SHOW)
        return show(n, b);
    if (o->action == REMOVE) {
        if (cmx_nft_removal(b) != CMX_OK || cmx_buf_cstr(b, &text) != CMX_OK)
            return fail("isolation", "internal", "use 'nft delete table inet cmxsafe'");
        unlink(PENDING);
        return run(n, text, false);
    }
    code = compile(o->config, b, &text);
    if (code)
        return code;
    if (o->action == DRY_RUN)
        return dry_run(n, text);
    if (o->confirm_s)
        return apply_unless(n, text, o->confirm_s, before);
    unlink(PENDING); /* what is applied now is for good */
    return run(n, text, false);
}

int cmd_isolation(int argc, char **argv)
{
    struct options o = {.config = CONFIG_FILE_DEFAULT};
    int code = parse(argc, argv, &o);
    char *memory = NULL;
    struct cmx_buf b, before;
    struct nft *n = NULL;
    char why[160] = "";

    if (code)
        return code - 1;
    if (o.action == CONFIRM)
        return confirm();
    memory = cmx_mem_alloc(2 * LISTING_MAX);
    if (!memory || nft_open(&n, why, sizeof why) != CMX_OK) {
        cmx_mem_free(memory);
        return fail("isolation", why[0] ? why : "out of memory", "nothing was changed");
    }
    cmx_buf_init(&b, memory, LISTING_MAX);
    cmx_buf_init(&before, memory + LISTING_MAX, LISTING_MAX);
    code = act(&o, n, &b, &before);
    nft_close(n);
    cmx_mem_free(memory);
    return code;
}
