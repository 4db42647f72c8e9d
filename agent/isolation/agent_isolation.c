#include "agent/isolation/agent_isolation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/isolation/isolation_state.h"
#include "agent/isolation/saved_rules.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"

#define TAG ISOLATION_TAG

static const char released[] = "no longer enabled, but the rules are left: 'cmxsafed isolation --remove' removes them";

/* ---- state ---- */

/* Call with the lock held. Logs when the rules were changed and when they are in force again; the caller logs all other
 * changes of the state. who: the program that caused the change; empty: not known. */
static void set_state(struct isolation *s, isolation_state state, const char *who)
{
    const isolation_state was = s->state;

    if (was == state)
        return;
    s->state = state;
    if (state == ISOLATION_CHANGED)
        cmx_log_limited(CMX_LOG_ERROR, TAG, "NOT IN FORCE: %s changed or removed the rules; installing them again",
                        who[0] ? who : "another program");
    else if (state == ISOLATION_IN_FORCE && was != ISOLATION_RELEASED)
        cmx_log_limited(CMX_LOG_WARN, TAG, "the rules are in force again");
}

void isolation_observe(struct isolation *s)
{
    char who[NFT_PROGRAM_MAX];

    if (s->state != ISOLATION_IN_FORCE || nft_guard_check(s->guard, who) == CMX_OK)
        return;
    set_state(s, ISOLATION_CHANGED, who);
    cmx_port_wake(s->wake);
}

static isolation_state observed_state(struct isolation *s)
{
    isolation_state state;

    if (!s)
        return ISOLATION_RELEASED;
    cmx_port_mutex_lock(&s->lock);
    isolation_observe(s);
    state = s->state;
    cmx_port_mutex_unlock(&s->lock);
    return state;
}

bool isolation_in_force(struct isolation *s)
{
    return observed_state(s) == ISOLATION_IN_FORCE;
}

bool isolation_settled(struct isolation *s)
{
    const isolation_state state = observed_state(s);

    return state == ISOLATION_IN_FORCE || state == ISOLATION_RELEASED;
}

bool isolation_permits_sessions(struct isolation *s)
{
    return observed_state(s) != ISOLATION_BROKEN;
}

/* ---- installation ---- */

/* Cuts the listing of one set down to the text between the inner braces. Returns NULL if the set is empty. */
static const char *elements(char *listing)
{
    static const char before[] = "elements = {";
    char *at = strstr(listing, before), *end = at ? strchr(at, '}') : NULL;

    if (!end)
        return NULL;
    *end = 0;
    return at + sizeof before - 1;
}

/* Reads the elements that the rules in force have learned, so that a reload keeps them: an IPv6 router, for example,
 * advertises itself only every few minutes. If the elements of a set do not fit into the set's part of `room`, they are
 * dropped. */
static void keep_learned(struct isolation *s, struct cmx_nft_config *c, char *room)
{
    for (enum cmx_nft_memory i = 0; i < CMX_NFT_MEMORIES; i++, room += CMX_NFT_KEPT_MAX) {
        struct cmx_buf b;
        char command[64];

        snprintf(command, sizeof command, "list set %s", cmx_nft_memory(i));
        cmx_buf_init(&b, room, CMX_NFT_KEPT_MAX);
        if (nft_guard_list(s->guard, command, &b) == CMX_OK && cmx_buf_cstr(&b, &c->kept[i]) == CMX_OK)
            c->kept[i] = elements(room);
    }
}

/* Writes the ruleset to text, a buffer of CMX_NFT_TEXT_MAX bytes, and sets *script to it. */
static cmx_err write_ruleset(const struct cmx_nft_config *c, char *text, const char **script)
{
    struct cmx_buf b;
    cmx_err err;

    cmx_buf_init(&b, text, CMX_NFT_TEXT_MAX);
    err = cmx_nft_ruleset(c, &b);
    return err ? err : cmx_buf_cstr(&b, script);
}

static cmx_err install_text(struct isolation *s, const struct cmx_nft_config *c, char *text, struct cmx_why *why)
{
    const char *script;
    cmx_err err = write_ruleset(c, text, &script);

    return err ? err : nft_guard_install(s->guard, script, why);
}

/* Saves the rules for the next boot, without temporary elements. text: a buffer of CMX_NFT_TEXT_MAX bytes. */
static void save(const struct cmx_nft_config *c, char *text)
{
    const char *script;
    cmx_err err;

    if (!saved_rules_folder())
        return;
    err = write_ruleset(c, text, &script);
    if (!err)
        err = saved_rules_write(script);
    if (err)
        cmx_log(CMX_LOG_WARN, TAG, "the rules could not be saved for the next boot in %s: %s", saved_rules_folder(),
                cmx_err_text(err));
}

/* Installs the rules. learned: keeps the elements that the rules in force have learned. */
static cmx_err apply(struct isolation *s, struct cmx_nft_config *c, bool learned, struct cmx_why *why)
{
    char *text = cmx_mem_alloc(CMX_NFT_TEXT_MAX + CMX_NFT_MEMORIES * CMX_NFT_KEPT_MAX);
    struct cmx_why said = {""};
    cmx_err err;

    if (!text)
        return CMX_ENOMEM;
    c->n_live = 0;
    for (size_t i = 0; i < CMX_NFT_LIVE_MAX; i++)
        if (s->live[i].sessions)
            c->live[c->n_live++] = s->live[i].end;
    if (learned)
        keep_learned(s, c, text + CMX_NFT_TEXT_MAX);
    err = install_text(s, c, text, &said);
    /* The learned elements may have caused the error: install the rules without them. */
    if (learned && (err == CMX_EINVAL || err == CMX_ENOSPC)) {
        memset(c->kept, 0, sizeof c->kept);
        err = install_text(s, c, text, &said);
    }
    c->n_live = 0;
    memset(c->kept, 0, sizeof c->kept);
    if (!err)
        save(c, text);
    else
        cmx_why_set(why, "isolation could not be installed: %s", cmx_why_text(&said, err));
    cmx_mem_free(text);
    return err;
}

/* The configuration owns the names, and may be freed before the rules. */
static void forget_names(struct cmx_nft_config *n)
{
    for (size_t i = 0; i < n->policy.n_contexts; i++)
        n->contexts[i].name = NULL;
    for (size_t i = 0; i < n->policy.n_gateways; i++)
        n->policy.gateways[i].name = NULL;
}

/* Call with the lock held, or before another thread can use s. */
static cmx_err install(struct isolation *s, const struct agent_config *c, struct cmx_why *why)
{
    struct cmx_nft_config *n = cmx_mem_alloc(sizeof *n);
    char who[NFT_PROGRAM_MAX];
    struct cmx_why lost;
    cmx_err err = CMX_ENOMEM;

    if (!n)
        return err;
    /* Take the stamp before the resolvers are read, so that the next turn notices a change made in between. */
    (void)resolvers_changed(&s->stamp);
    err = isolation_compile(c, true, n, why);
    if (!err)
        err = apply(s, n, s->state == ISOLATION_IN_FORCE && nft_guard_check(s->guard, who) == CMX_OK, why);
    if (!err) {
        s->rules = *n;
        forget_names(&s->rules);
        set_state(s, ISOLATION_IN_FORCE, "");
        if (isolation_check_users(c, &lost) != CMX_OK)
            cmx_log_limited(CMX_LOG_ERROR, TAG, "%s; the rules were installed without this user", lost.text);
    }
    cmx_mem_free(n);
    return err;
}

/* ---- start, reload, stop ---- */

static cmx_err isolation_check(const struct agent_config *c, struct cmx_why *why)
{
    struct cmx_nft_config *n;
    char *text;
    const char *script;
    cmx_err err = CMX_ENOMEM;

    if (!c->isolation.enabled)
        return CMX_OK;
    n = cmx_mem_alloc(sizeof *n);
    text = cmx_mem_alloc(CMX_NFT_TEXT_MAX);
    if (n && text)
        err = isolation_compile(c, true, n, why);
    if (!err) {
        err = write_ruleset(n, text, &script);
        if (err == CMX_ENOSPC)
            cmx_why_set(why, "the isolation ruleset is too long; configure fewer direct contexts with users");
    }
    cmx_mem_free(text);
    cmx_mem_free(n);
    return err;
}

cmx_err isolation_check_names(const struct agent_config *c, struct cmx_why *why)
{
    struct resolvers r;
    cmx_err err;

    if (!c->isolation.enabled)
        return CMX_OK;
    err = resolvers_find(c, &r, why);
    if (!err && r.stuck)
        return cmx_why_fail(why, CMX_EINVAL, "%s", resolvers_advice);
    return err;
}

static void warn_if_stuck(const struct agent_config *c)
{
    struct cmx_why why = {""};

    if (isolation_check_names(c, &why) != CMX_OK)
        cmx_log(CMX_LOG_WARN, TAG, "the gateway's name cannot be looked up: %s", why.text);
}

/* Without isolation, any local user can connect to the listener of a direct context, even if the context lists
 * users. */
static void warn_of_users(const struct agent_config *c)
{
    for (size_t i = 0; i < c->n_contexts; i++)
        if (c->contexts[i].options.tasks)
            cmx_log(CMX_LOG_WARN, TAG, "%s: users has no effect without isolation; set [isolation] enabled = yes",
                    c->contexts[i].name);
}

/* Installs rules that need no agent: they always permit look-ups and the gateway's present addresses. Otherwise the
 * device would be unreachable once its session ends, and the operator could not remove the rules remotely. */
static void leave_rules(struct isolation *s)
{
    struct cmx_why why = {""};

    s->rules.follow = false;
    if (apply(s, &s->rules, true, &why) != CMX_OK)
        cmx_log(CMX_LOG_ERROR, TAG, "%s", why.text);
}

static struct isolation *state_new(const struct wiring *w)
{
    struct isolation *s = cmx_mem_alloc(sizeof *s);

    if (!s)
        return NULL;
    s->state = ISOLATION_RELEASED;
    s->wake = w->wake;
    cmx_port_mutex_init(&s->lock);
    return s;
}

/* If isolation was enabled when the agent last ended, and its rules are still in force: changes them as a reload
 * with `enabled = no` does. */
static void open_released(struct wiring *w)
{
    struct isolation *s;
    struct cmx_why why;
    struct cmx_buf b;
    char text[64]; /* too small for the rules; only their existence matters */

    cmx_buf_init(&b, text, sizeof text);
    if (saved_rules_read(&b) == CMX_ENOENT || (s = state_new(w)) == NULL)
        return;
    cmx_buf_init(&b, text, sizeof text);
    if (nft_guard_open(&s->guard, &why) == CMX_OK &&
        nft_guard_list(s->guard, "list set inet cmxsafe agent", &b) != CMX_ENOENT &&
        isolation_compile(w->config, true, &s->rules, &why) == CMX_OK) {
        forget_names(&s->rules);
        leave_rules(s);
        w->isolation = s;
        cmx_log(CMX_LOG_WARN, TAG, "%s", released);
    } else {
        nft_guard_close(s->guard);
        cmx_mem_free(s);
    }
}

static cmx_err isolation_open(struct wiring *w, struct cmx_why *why)
{
    const struct agent_config *c = w->config;
    struct isolation *s;
    cmx_err err;

    if (!c->isolation.enabled) {
        open_released(w);
        saved_rules_remove();
        warn_of_users(c);
        return CMX_OK;
    }
    s = state_new(w);
    if (!s)
        return CMX_ENOMEM;
    /* If an answer over UDP is truncated, libc repeats the query over TCP, which isolation drops. With EDNS an answer
     * may have 1,200 bytes instead of 512 (resolv.conf(5)). */
    (void)setenv("RES_OPTIONS", "edns0", 0);
    err = nft_guard_open(&s->guard, why);
    if (!err)
        err = install(s, c, why);
    if (err == CMX_EPERM)
        cmx_why_set(why, "isolation is enabled but the agent has no permission to install rules; give it CAP_NET_ADMIN "
                         "(a drop-in for the unit: /usr/share/doc/cmxsafe-agent/examples/isolation.conf)");
    if (err) {
        nft_guard_close(s->guard);
        cmx_mem_free(s);
        return err;
    }
    w->isolation = s;
    cmx_log(CMX_LOG_INFO, TAG, "in force: default deny; only uid %lu reaches the gateway and the contexts' services",
            (unsigned long)s->rules.agent_uid);
    warn_if_stuck(c);
    return CMX_OK;
}

static void isolation_plan(const struct wiring *w, struct confine_plan *p)
{
    if (w->isolation)
        confine_write(p, saved_rules_folder());
}

static cmx_err isolation_reload(struct wiring *w, const struct agent_config *next, struct cmx_why *why)
{
    struct isolation *s = w->isolation;
    cmx_err err = CMX_OK;

    if (!s && next->isolation.enabled)
        return cmx_why_fail(why, CMX_EINVAL, "isolation: enabling it needs a restart");
    if (!next->isolation.enabled)
        warn_of_users(next);
    if (!s)
        return CMX_OK;
    cmx_port_mutex_lock(&s->lock);
    if (next->isolation.enabled) {
        err = install(s, next, why);
    } else {
        if (s->state == ISOLATION_IN_FORCE)
            leave_rules(s);
        set_state(s, ISOLATION_RELEASED, "");
        saved_rules_remove();
        cmx_log(CMX_LOG_WARN, TAG, "%s", released);
    }
    cmx_port_mutex_unlock(&s->lock);
    return err;
}

static void isolation_stop(struct wiring *w)
{
    struct isolation *s = w->isolation;

    if (!s)
        return;
    w->isolation = NULL;
    nft_guard_close(s->guard);
    cmx_port_mutex_destroy(&s->lock);
    cmx_mem_free(s);
}

/* ---- each turn of the loop ---- */

/* While no rules are in force, nothing reads the events of other programs' changes, so the loop does not wait for them.
 */
static int isolation_fd(const struct wiring *w)
{
    struct isolation *s = w->isolation;
    int fd = -1;

    if (!s)
        return fd;
    cmx_port_mutex_lock(&s->lock);
    if (s->state != ISOLATION_RELEASED)
        fd = nft_guard_fd(s->guard);
    cmx_port_mutex_unlock(&s->lock);
    return fd;
}

static void repair(struct isolation *s, const struct agent_config *c)
{
    struct cmx_why why = {""};
    cmx_err err = install(s, c, &why);

    if (!err) {
        s->repairs++;
        return;
    }
    cmx_log_limited(CMX_LOG_ERROR, TAG, "%s; all sessions stay closed until isolation is restored",
                    cmx_why_text(&why, err));
    set_state(s, ISOLATION_BROKEN, "");
}

/* Permits the new name servers if resolv.conf has changed, for example after a DHCP answer or on another network. */
static void follow_resolvers(struct isolation *s, const struct agent_config *c)
{
    struct cmx_why why = {""};
    struct resolvers r;
    char text[1024];
    struct cmx_buf b;
    const char *script;
    cmx_err err;

    if (!resolvers_changed(&s->stamp))
        return;
    err = resolvers_find(c, &r, &why);
    if (!err && r.n == s->rules.policy.n_resolvers && r.forwarder_uid == s->rules.forwarder_uid &&
        memcmp(r.ip, s->rules.policy.resolvers, sizeof r.ip) == 0)
        return;
    cmx_buf_init(&b, text, sizeof text);
    if (!err)
        err = cmx_nft_resolvers(&b, r.ip, r.n);
    if (!err)
        err = cmx_buf_cstr(&b, &script);
    if (!err)
        err = nft_guard_change(s->guard, script, &why);
    if (err) {
        s->stamp = (struct resolvers_stamp){{{0}}}; /* the next turn tries again */
        cmx_log_limited(CMX_LOG_WARN, TAG, "the new name servers cannot be permitted: %s", cmx_why_text(&why, err));
        return;
    }
    memcpy(s->rules.policy.resolvers, r.ip, sizeof r.ip);
    s->rules.policy.n_resolvers = r.n;
    s->rules.forwarder_uid = r.forwarder_uid;
    cmx_log(CMX_LOG_INFO, TAG, "the name servers changed: %zu permitted now", r.n);
    warn_if_stuck(c);
}

static void isolation_turn(struct wiring *w)
{
    struct isolation *s = w->isolation;

    if (!s)
        return;
    cmx_port_mutex_lock(&s->lock);
    isolation_observe(s);
    if (s->state == ISOLATION_CHANGED || s->state == ISOLATION_BROKEN)
        repair(s, w->config);
    if (s->state == ISOLATION_IN_FORCE)
        follow_resolvers(s, w->config);
    cmx_port_mutex_unlock(&s->lock);
}

const struct module isolation_module = {.name = "isolation",
                                        .check = isolation_check,
                                        .prepare = isolation_open,
                                        .plan = isolation_plan,
                                        .reload = isolation_reload,
                                        .turn = isolation_turn,
                                        .fd = isolation_fd,
                                        .stop = isolation_stop,
                                        .json = isolation_json,
                                        .text = isolation_text};
