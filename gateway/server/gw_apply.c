#include "gateway/server/gw_apply.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "gateway/folder/gw_copy.h"
#include "gateway/folder/gw_files.h"
#include "gateway/folder/gw_program.h"
#include "gateway/registry/authority.h"
#include "gateway/registry/node.h"
#include "gateway/registry/nss.h"
#include "gateway/render/gw_accounts_file.h"
#include "gateway/render/gw_bird.h"
#include "gateway/render/gw_etc_hosts.h"
#include "gateway/render/gw_hosts_file.h"
#include "gateway/render/gw_nft.h"
#include "gateway/server/gw_control.h"
#include "gateway/server/gw_inside.h"
#include "gateway/server/gw_links.h"
#include "gateway/server/gw_load.h"
#include "gateway/server/gw_note.h"
#include "gateway/server/gw_sweep.h"

#define ETC_HOSTS "/etc/hosts"
/* A gateway may need up to 3 s (START_TRIES * START_PAUSE_MS) to start. */
#define START_TRIES 30
#define START_PAUSE_MS 100

typedef cmx_err (*rules_fn)(FILE *f, struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e);

typedef cmx_err (*text_fn)(FILE *f, struct gw *g, struct cmx_why *e);

/* A file that is generated from the registry. */
struct generated {
    const char *name; /* NULL: the step generates no file */
    rules_fn rules;   /* writes the file; NULL: `text` writes it */
    text_fn text;
    bool in_place; /* a system gateway overwrites the file instead of replacing it, because it is mounted elsewhere */
};

/* Removes a file of rules that does not match the registry. It may contain grants that were removed, and loading it
 * again would restart the timeouts of grants that have ended. */
static void remove_stale_rules(const struct gw *g, const struct generated *what)
{
    char path[GW_PATH_MAX];

    if (what->rules)
        unlink(gw_path(g, what->name, path));
}

static cmx_err generate(struct gw *g, const struct generated *what, const struct gw_allowed_list *allowed,
                        struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    cmx_err err = CMX_OK;

    if (f)
        err = what->rules ? what->rules(f, g, allowed, e) : what->text(f, g, e);
    err = gw_file_end_text(f, err, e);
    gw_path(g, what->name, path);
    if (!err)
        err = what->in_place && !g->user && !g->simple ? gw_file_write_in_place(path, text, len, 0644, e)
                                                       : gw_file_write(path, text, len, 0644, e);
    free(text); /* allocated by open_memstream */
    if (err)
        remove_stale_rules(g, what);
    return err;
}

bool gw_apply_is_up(const struct gw *g)
{
    return (!g->user && access("/run/netns/" GW_NETNS, F_OK) == 0) || gw_control_is_serving(g);
}

/* Loads the rules into the running gateway's namespace. A gateway that is starting may already have loaded the former
 * rules, while its namespace can't be entered yet. So this function tries repeatedly. */
static cmx_err load_inside(struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    int status = 0;

    (void)allowed;
    snprintf(path, sizeof path, "%.4000s/fleet.nft", gw_inside_dir(g));
    for (unsigned tries = 0; gw_apply_is_up(g); tries++) {
        status = gw_load_inside(g, path);
        if (status == 0)
            return CMX_OK;
        if (status != GW_COULD_NOT)
            return cmx_why_fail(e, CMX_EPERM,
                                "the packet filter's new rules could not be loaded, so the former ones stay in force; "
                                "see nft's message above");
        if (tries == START_TRIES)
            return cmx_why_fail(
                e, CMX_EPERM,
                "the packet filter's new rules could not be loaded, so the former ones stay in force: nft is "
                "not installed, or the running gateway's namespaces can't be entered; install nftables, or restart "
                "the gateway");
        usleep(START_PAUSE_MS * 1000);
    }
    return CMX_OK; /* no gateway is running; when one starts, it loads the rules */
}

static cmx_err load_host(struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e)
{
    char path[GW_PATH_MAX];

    (void)allowed;
    if (access("/sys/class/net/cmxsafe0", F_OK) != 0)
        return CMX_OK;
    return gw_load_rules(g, gw_path(g, "host.nft", path), -1)
               ? CMX_OK
               : cmx_why_fail(e, CMX_EPERM, "the host's rules could not be loaded; see nft's message above");
}

/* Updates the block in /etc/hosts. If differs is not NULL, writes nothing, but sets *differs to whether the file would
 * change. */
static cmx_err merge_etc_hosts(const struct gw *g, const char *lines, bool *differs, struct cmx_why *e)
{
    char *old = NULL;
    char *merged = NULL;
    size_t old_len = 0;
    size_t len = 0;
    FILE *f = NULL;
    cmx_err err = gw_file_read(ETC_HOSTS, &old, &old_len, e);

    if (!err) {
        f = open_memstream(&merged, &len);
        if (f)
            gw_etc_hosts_merge(f, g, old, old_len, lines);
        err = gw_file_end_text(f, CMX_OK, e);
    }
    if (!err && differs)
        *differs = len != old_len || memcmp(old, merged, len) != 0;
    else if (!err && (len != old_len || memcmp(old, merged, len) != 0))
        err = gw_file_rewrite(ETC_HOSTS, merged, len, e);
    free(old); /* both allocated by open_memstream */
    free(merged);
    return err;
}

/* Writes the gateway's block in /etc/hosts, or removes the block if the operator turned it off. differs: as for
 * merge_etc_hosts. */
static cmx_err write_etc_hosts(struct gw *g, bool *differs, struct cmx_why *e)
{
    char wanted[8];
    char *lines = NULL;
    size_t len = 0;
    cmx_err err = CMX_OK;
    bool write = gw_meta_get(&g->registry, "etc_hosts", wanted, sizeof wanted) == CMX_OK && strcmp(wanted, "1") == 0;

    if (write) {
        FILE *f = open_memstream(&lines, &len);

        err = gw_file_end_text(f, f ? gw_hosts_names(f, g, e) : CMX_OK, e);
    }
    if (!err) {
        err = merge_etc_hosts(g, lines, differs, e);
        if (err)
            cmx_why_set(e, "%s; make it writable, or run 'cmxsafe gateway init --no-etc-hosts'", e ? e->text : "");
    }
    free(lines); /* allocated by open_memstream */
    return err;
}

static cmx_err apply_etc_hosts(struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e)
{
    (void)allowed;
    return write_etc_hosts(g, NULL, e);
}

bool gw_apply_has_etc_hosts(struct gw *g)
{
    bool differs = false;

    return write_etc_hosts(g, &differs, NULL) == CMX_OK && !differs;
}

/* Writes the KRL even if it is empty: without the file sshd refuses every login, and an empty file revokes nothing. */
static cmx_err krl_text(FILE *f, struct gw *g, struct cmx_why *e)
{
    struct gw_krl krl;
    cmx_err err = gw_krl_get(&g->registry, true, &krl, e);

    if (!err && krl.len)
        fwrite(krl.bytes, 1, krl.len, f); /* f is in memory: fclose fails if memory ran out */
    cmx_mem_free(krl.bytes);
    return err;
}

static cmx_err read_allowed(struct gw *g, struct gw_allowed_list *out, struct cmx_why *e)
{
    struct gw_link link = {0}; /* --user mode has no link */
    struct gw_copy_state copy;
    cmx_err err;

    *out = (struct gw_allowed_list){0};
    if (g->simple)
        return CMX_OK;
    gw_copy_look(g, &copy); /* the copy may have become stale since it was opened */
    g->registry.stale = copy.shared && copy.left == 0;
    err = g->user ? CMX_OK : gw_link_get(g, &link, e);
    return err ? err : gw_allowed_read(&g->registry, &g->fleet, g->domain, link.host, out, e);
}

/* Makes BIRD read its configuration again; if BIRD is not running, it reads the configuration when it starts. BIRD may
 * hang, so this does not wait for it: the caller holds the gateway's lock. */
static void configure_bird(const struct gw *g)
{
    char control[GW_PATH_MAX];
    const char *birdc[] = {"sh", "-c", "timeout 10 birdc -s \"$0\" configure &", gw_path(g, GW_BIRD_CONTROL, control),
                           NULL};

    if (access(control, F_OK) == 0)
        (void)gw_program_run(true, birdc);
}

cmx_err gw_apply_claims(struct gw *g, struct cmx_why *e)
{
    static const struct generated claims = {.name = "claims.conf", .text = gw_bird_claims};
    char path[GW_PATH_MAX];
    cmx_err err;

    if (access(gw_path(g, "bird.conf", path), F_OK) != 0)
        return CMX_OK;
    err = generate(g, &claims, NULL, e);
    configure_bird(g);
    return err;
}

/* Sets *out to true if the fleet has or had several gateways: this gateway then needs BIRD. */
static cmx_err find_several(struct gw *g, bool *out, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    struct gw_nodes nodes;
    cmx_err err;

    *out = false;
    err = gw_nodes_read(&g->registry, &g->fleet, &nodes, e);
    *out = !err && (nodes.own || access(gw_path(g, "bird.conf", path), F_OK) == 0);
    return err;
}

static cmx_err apply_links(struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e)
{
    bool several;
    cmx_err err = find_several(g, &several, e);

    (void)allowed;
    return !err && several && gw_apply_is_up(g) ? gw_links_up(g, e) : err;
}

/* Writes BIRD's configuration and the claims, which limit what the other gateways may announce. */
static cmx_err apply_nodes(struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e)
{
    static const struct generated claims = {.name = "claims.conf", .text = gw_bird_claims};
    static const struct generated bird = {.name = "bird.conf", .text = gw_bird_config};
    bool several;
    cmx_err err = find_several(g, &several, e);

    if (err || !several)
        return err;
    err = generate(g, &claims, allowed, e);
    if (!err)
        err = generate(g, &bird, allowed, e);
    configure_bird(g);
    return err;
}

/* A step first generates its file, if it has one. It then calls the function `then`, if that is set. */
static const struct step {
    struct generated file;
    cmx_err (*then)(struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e);
    enum { EVERY_MODE, NOT_SIMPLE, ONLY_SYSTEM } mode;
    bool judged;   /* this step needs the list of allowed connections */
    bool optional; /* access does not depend on this step */
} steps[] = {
    {.file = {.name = "krl", .text = krl_text}},
    {.file = {.name = "hosts", .text = gw_hosts, .in_place = true}},
    /* This step precedes the rules. If an account changes between the steps, this file is older than the rules, so the
     * worker notices a difference and loads the rules again. */
    {.file = {.name = GW_ACCOUNTS_FILE, .text = gw_accounts_write}, .mode = NOT_SIMPLE},
    {.file = {.name = "fleet.nft", .rules = gw_nft_fleet}, .then = load_inside, .mode = NOT_SIMPLE, .judged = true},
    {.file = {.name = "host.nft", .rules = gw_nft_host}, .then = load_host, .mode = ONLY_SYSTEM, .judged = true},
    {.then = gw_sweep, .mode = ONLY_SYSTEM, .judged = true},
    {.then = apply_links, .mode = ONLY_SYSTEM, .optional = true},
    {.then = apply_nodes, .mode = ONLY_SYSTEM},
    {.then = apply_etc_hosts, .mode = ONLY_SYSTEM, .optional = true},
};

static cmx_err run_step(struct gw *g, const struct step *x, const struct gw_allowed_list *allowed, struct cmx_why *e)
{
    cmx_err err = CMX_OK;

    if ((x->mode != EVERY_MODE && g->simple) || (x->mode == ONLY_SYSTEM && g->user))
        return CMX_OK;
    if (x->file.name)
        err = generate(g, &x->file, allowed, e);
    return err || !x->then ? err : x->then(g, allowed, e);
}

static void remove_temporary(const struct gw *g)
{
    static const char *const names[] = {"krl",      "hosts",       GW_ACCOUNTS_FILE, "fleet.nft",
                                        "host.nft", "claims.conf", "bird.conf",      GW_COPY_STATE_FILE};

    gw_file_remove_temporary(g->dir, names, GW_COUNT(names));
}

/* rest: as for gw_apply_change. */
static cmx_err apply(struct gw *g, struct cmx_why *rest, struct cmx_why *e)
{
    struct gw_allowed_list allowed;
    cmx_err unread;
    cmx_err first;

    if (g->locked)
        remove_temporary(g);
    gw_party_forget_users();
    unread = read_allowed(g, &allowed, e);
    first = unread;
    for (size_t i = 0; i < GW_COUNT(steps); i++) {
        struct cmx_why now = {0};
        bool skip = unread && steps[i].judged;
        cmx_err err = skip ? CMX_OK : run_step(g, &steps[i], &allowed, &now);

        if (skip)
            remove_stale_rules(g, &steps[i].file);
        if (err && rest && steps[i].optional) {
            if (!rest->text[0])
                *rest = now;
        } else if (err && !first) {
            first = err;
            *e = now;
        }
    }
    gw_allowed_free(&allowed);
    gw_nss_end();
    return first;
}

cmx_err gw_apply(struct gw *g, struct cmx_why *e)
{
    return apply(g, NULL, e);
}

cmx_err gw_apply_access(struct gw *g, struct cmx_why *e)
{
    struct cmx_why rest = {0};
    cmx_err err = apply(g, &rest, e);

    if (rest.text[0])
        gw_note("%s", rest.text);
    return err;
}

cmx_err gw_apply_check(struct gw *g, struct cmx_why *e)
{
    struct gw_allowed_list allowed = {0};
    cmx_err err = gw_folder_open(g, false, e);

    if (err)
        return err;
    err = read_allowed(g, &allowed, e);
    gw_allowed_free(&allowed);
    gw_folder_close(g);
    return err;
}

cmx_err gw_apply_change(struct gw *g, struct cmx_why *rest, struct cmx_why *e)
{
    struct cmx_why now = {0};
    cmx_err err;

    g->unsettled = true;
    err = apply(g, rest, e);
    if (gw_control(g, "reload", NULL, &now) == CMX_EPERM && !err) { /* CMX_ECLOSED is no error: no gateway is running */
        err = CMX_EPERM;
        *e = now;
    }
    g->unsettled = err != CMX_OK;
    return err;
}
