#include "agent/isolation/resolvers.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/isolation/packet.h"

#define RESOLV_CONF "/etc/resolv.conf"
/* systemd-resolved(8): the file with the servers that its stub forwards to, and its user. */
#define RESOLVED_CONF "/run/systemd/resolve/resolv.conf"
#define RESOLVED_USER "systemd-resolve"

const char resolvers_advice[] =
    "the name server is on this machine, and isolation drops the queries that it forwards; set [isolation] resolvers "
    "to its address and those of its upstream servers, and forwarder to its user, or give the gateway as an address";

/* ---- parts of the configuration ---- */

cmx_err isolation_word(const char **at, char word[ISOLATION_WORD_MAX])
{
    size_t n;

    *at += strspn(*at, ", \t");
    n = strcspn(*at, ", \t");
    if (!n)
        return CMX_ENOENT;
    if (n >= ISOLATION_WORD_MAX)
        return CMX_ENOSPC;
    memcpy(word, *at, n);
    word[n] = 0;
    *at += n;
    return CMX_OK;
}

cmx_err isolation_addresses(const char *key, const char *text, struct cmx_ip *out, size_t *n, struct cmx_why *why)
{
    char word[ISOLATION_WORD_MAX];
    cmx_err err;

    *n = 0;
    while (text && (err = isolation_word(&text, word)) != CMX_ENOENT) {
        if (err || !cmx_ip_parse(&out[*n], word))
            return cmx_why_fail(why, CMX_EINVAL, "[isolation] %s: '%.40s' is not an address", key, err ? text : word);
        if (++*n == CMX_ISO_ADDRESSES_MAX && text[strspn(text, ", \t")])
            return cmx_why_fail(why, CMX_EINVAL, "[isolation] %s: more than %d addresses", key, CMX_ISO_ADDRESSES_MAX);
    }
    return CMX_OK;
}

cmx_err isolation_uid(const char *user, uint32_t *uid)
{
    struct passwd *p;
    uint64_t number;

    if (cmx_text_u64(user, 0, UINT32_MAX - 1, &number) == CMX_OK) {
        *uid = (uint32_t)number;
        return CMX_OK;
    }
    p = getpwnam(user);
    if (!p)
        return CMX_ENOENT;
    *uid = p->pw_uid;
    return CMX_OK;
}

/* ---- name servers ---- */

/* True for 127.0.0.53 and 127.0.0.54. */
static bool is_resolved_stub(const struct cmx_ip *ip)
{
    char text[CMX_IP_TEXT_MAX];

    cmx_ip_text(ip, text);
    return strcmp(text, "127.0.0.53") == 0 || strcmp(text, "127.0.0.54") == 0;
}

/* Adds the servers of a file in resolv.conf(5)'s form. A scope such as "%eth0" is not part of the address. */
static void add_file(struct resolvers *r, const char *path)
{
    char *line = NULL, word[64];
    size_t cap = 0;
    struct cmx_ip ip;
    FILE *f = fopen(path, "re");

    while (f && r->n < CMX_ISO_ADDRESSES_MAX && getline(&line, &cap, f) > 0) {
        if (sscanf(line, "nameserver%*1[ \t]%63s", word) != 1)
            continue;
        word[strcspn(word, "%")] = 0;
        if (cmx_ip_parse(&ip, word) && !cmx_ip_in(r->ip, r->n, &ip))
            r->ip[r->n++] = ip;
    }
    free(line); /* allocated by getline */
    if (f)
        fclose(f);
}

/* Adds the user of systemd-resolved, and the servers that it forwards to. */
static void add_resolved(struct resolvers *r)
{
    const struct passwd *p = getpwnam(RESOLVED_USER);

    if (!p)
        return;
    r->forwarder_uid = p->pw_uid;
    add_file(r, RESOLVED_CONF);
}

static bool any_name(const struct cmx_gateway_list *l)
{
    struct cmx_ip ip;

    for (size_t i = 0; i < l->n; i++)
        if (!cmx_ip_parse(&ip, l->at[i].host))
            return true;
    return false;
}

cmx_err resolvers_find(const struct agent_config *c, struct resolvers *r, struct cmx_why *why)
{
    bool loopback_only = true;
    cmx_err err;

    memset(r, 0, sizeof *r);
    err = isolation_addresses("resolvers", c->isolation.resolvers, r->ip, &r->n, why);
    if (err)
        return err;
    if (c->isolation.forwarder && isolation_uid(c->isolation.forwarder, &r->forwarder_uid) == CMX_OK &&
        r->forwarder_uid == 0) /* uid 0 would mean "no forwarder" to the rules */
        return cmx_why_fail(why, CMX_EINVAL,
                            "[isolation] forwarder: root may not query name servers; run the name server as another "
                            "user");
    if (!any_name(&c->gateways)) /* no gateway is configured by name, so nothing is looked up */
        return CMX_OK;
    if (!r->n)
        add_file(r, RESOLV_CONF);
    for (size_t i = 0; i < r->n && !r->forwarder_uid; i++)
        if (is_resolved_stub(&r->ip[i]))
            add_resolved(r);
    for (size_t i = 0; i < r->n; i++)
        loopback_only = loopback_only && cmx_ip_is_loopback(&r->ip[i]);
    r->stuck = r->n && loopback_only && !r->forwarder_uid;
    return CMX_OK;
}

/* Polls the files with stat instead of watching them, because stat follows every symbolic link and finds folders that
 * appear later. The agent's main loop calls this once per turn, which costs two system calls. */
bool resolvers_changed(struct resolvers_stamp *s)
{
    static const char *const files[2] = {RESOLV_CONF, RESOLVED_CONF};
    struct resolvers_stamp now = {{{0}}};
    struct stat st;

    for (size_t i = 0; i < 2; i++) {
        if (stat(files[i], &st) != 0)
            continue;
        now.file[i][0] = (uint64_t)st.st_dev;
        now.file[i][1] = (uint64_t)st.st_ino;
        now.file[i][2] = (uint64_t)st.st_size;
        /* The time of the last change of status: it covers a correction of the mode, which lets the agent read the
         * file. */
        now.file[i][3] = (uint64_t)st.st_ctim.tv_sec * 1000000000u + (uint64_t)st.st_ctim.tv_nsec;
    }
    if (memcmp(&now, s, sizeof now) == 0)
        return false;
    *s = now;
    return true;
}
