/* proxy_run.c - runs the engine alone, controlled by lines on standard input, for end-to-end tests and benchmarks.
 *
 *   proxy_run HOST PORT USER KEYFILE PIN [option=value ...] -- CONTEXT ...
 *   CONTEXT: name,local_port,remote_port[,key=value ...]
 *   input:   status | mem | peak (resets the peak that mem prints) | up (waits until all contexts are up)
 *            | fail N (the N-th allocation from now on fails) | heap BYTES (sets the device's free heap)
 *            | updating 0|1 | set CONTEXT ... | host GATEWAYS | quit
 * A line with a dot ends each answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/gateways.h"
#include "cmxsafe/proxy/proxy.h"
#include "port/linux/linux_port.h"

#define CONTEXTS 32

static struct cmx_gateway gateway;
static struct cmx_proxy_hooks hooks;
static const char *pins[CMX_PROXY_HOST_KEYS_MAX];
static struct cmx_context contexts[CONTEXTS];
static size_t n_contexts;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "proxy_run: %s: %s\n", what, why);
    exit(1);
}

static unsigned number(const char *s)
{
    return (unsigned)strtoul(s, NULL, 0);
}

static void on_session(void *arg, const char *session, const char *host, bool up, cmx_err err)
{
    (void)arg;
    fprintf(stderr, "event session %s %s %s gateway=%s\n", session, up ? "up" : "down", cmx_err_name(err), host);
}

static void on_relay(void *arg, const struct cmx_relay_event *e)
{
    static const char *const kinds[] = {"opened", "closed", "refused"};

    (void)arg;
    fprintf(stderr, "event relay %s %s %s %s number=%llu from=%s in=%llu out=%llu cause=%s\n", e->session,
            e->context ? e->context : "-", e->direction == CMX_DIRECT ? "direct" : "reverse", kinds[e->kind],
            (unsigned long long)e->number, *e->from ? e->from : "-", (unsigned long long)e->bytes_in,
            (unsigned long long)e->bytes_out, cmx_err_name(e->cause));
}

static void gateway_option(char *o)
{
    char *v = strchr(o, '=');

    if (!v)
        die("option", o);
    *v++ = 0;
    if (!strcmp(o, "host"))
        gateway.host = v;
    else if (!strcmp(o, "pin"))
        pins[gateway.n_host_keys++] = v;
    else if (!strcmp(o, "password"))
        gateway.password = v;
    else if (!strcmp(o, "ciphers"))
        gateway.ciphers = v;
    else if (!strcmp(o, "keepalive"))
        gateway.keepalive_s = number(v);
    else if (!strcmp(o, "keepalive_max"))
        gateway.keepalive_max = number(v);
    else if (!strcmp(o, "login"))
        gateway.login_timeout_s = number(v);
    else if (!strcmp(o, "base"))
        gateway.backoff_base_ms = number(v);
    else if (!strcmp(o, "max"))
        gateway.backoff_max_ms = number(v);
    else if (!strcmp(o, "rekey"))
        gateway.rekey_bytes = strtoull(v, NULL, 0);
    else if (!strcmp(o, "events"))
        hooks = (struct cmx_proxy_hooks){.session = on_session, .relay = on_relay};
    else if (!strcmp(o, "log"))
        cmx_log_set_level((cmx_log_level)number(v));
    else
        die("option", o);
}

static void context_option(struct cmx_context *c, char *o)
{
    char *v = strchr(o, '=');

    if (!v)
        die("context option", o);
    *v++ = 0;
    if (!strcmp(o, "direct")) {
        c->direction = CMX_DIRECT;
        c->remote_host = v;
    } else if (!strcmp(o, "address"))
        c->remote_address = v;
    else if (!strcmp(o, "local"))
        c->local_host = v;
    else if (!strcmp(o, "high"))
        c->high_bw = number(v);
    else if (!strcmp(o, "max"))
        c->max_connections = number(v);
    else if (!strcmp(o, "idle"))
        c->idle_timeout_s = number(v);
    else if (!strcmp(o, "session"))
        c->session = v;
    else if (!strcmp(o, "probe"))
        c->probe_interval_s = number(v);
    else if (!strcmp(o, "connect"))
        c->connect_timeout_s = number(v);
    else if (!strcmp(o, "peer"))
        c->peer = (cmx_proxy_peer)number(v);
    else if (!strcmp(o, "from"))
        c->allow_from = v;
    else
        die("context option", o);
}

static void parse_context(char *text)
{
    struct cmx_context *c = &contexts[n_contexts++];
    char *save = NULL;
    char *name = strtok_r(text, ",", &save);
    char *local = strtok_r(NULL, ",", &save);
    char *remote = strtok_r(NULL, ",", &save);

    if (!remote || n_contexts == CONTEXTS)
        die("context", text);
    memset(c, 0, sizeof *c);
    c->name = name;
    c->local_port = (uint16_t)number(local);
    c->remote_port = (uint16_t)number(remote);
    for (char *o = strtok_r(NULL, ",", &save); o; o = strtok_r(NULL, ",", &save))
        context_option(c, o);
}

static void print_status(struct cmx_proxy *p)
{
    struct cmx_context_status st[CONTEXTS];
    size_t n = cmx_proxy_status(p, st, CONTEXTS);

    for (size_t i = 0; i < n; i++)
        printf("%s state=%s sessions=%u open=%u total=%llu refused=%llu in=%llu out=%llu gateway=%s error=%s text=%s\n",
               st[i].name, cmx_context_state_name(st[i].state), st[i].sessions, st[i].relays_open,
               (unsigned long long)st[i].relays_total, (unsigned long long)st[i].relays_refused,
               (unsigned long long)st[i].bytes_in, (unsigned long long)st[i].bytes_out,
               st[i].gateway ? st[i].gateway : "-", cmx_err_name(st[i].last_error), st[i].last_error_text);
}

static void print_mem(void)
{
    struct cmx_mem_stats m;

    cmx_mem_stats(&m);
    printf("mem live=%zu blocks=%zu peak=%zu calls=%zu\n", m.live_bytes, m.live_blocks, m.peak_bytes, (size_t)m.calls);
}

static bool all_up(struct cmx_proxy *p)
{
    static struct cmx_context_status st[CMX_PROXY_CONTEXTS_MAX];
    const size_t n = cmx_proxy_status(p, st, CMX_PROXY_CONTEXTS_MAX);

    for (size_t i = 0; i < n; i++)
        if (st[i].state != CMX_STATE_UP)
            return false;
    return true;
}

static void wait_up(struct cmx_proxy *p)
{
    for (int i = 0; i < 3000 && !all_up(p); i++)
        cmx_port_sleep_ms(10);
    printf("%s\n", all_up(p) ? "up" : "down");
}

static void set(struct cmx_proxy *p, const char *line)
{
    char *save = NULL;
    static char copies[16][1024]; /* static: the contexts point into the copies */
    static unsigned used;
    char *copy = strcpy(copies[used++ % 16], line);
    struct cmx_why why = {""};

    n_contexts = 0;
    for (char *c = strtok_r(copy, " ", &save); c; c = strtok_r(NULL, " ", &save))
        parse_context(c);
    printf("set %s\n", cmx_err_name(cmx_proxy_reconfigure(p, &gateway, contexts, n_contexts, &why)));
}

/* Replaces the list of gateways; the contexts stay. */
static void set_host(struct cmx_proxy *p, const char *text)
{
    static char copies[16][CMX_GATEWAYS_TEXT_MAX];
    static unsigned used;
    char *copy = copies[used++ % 16];
    struct cmx_why why = {""};

    if (cmx_text_copy(copy, sizeof copies[0], text)) {
        printf("host too long\n");
        return;
    }
    gateway.host = copy;
    printf("host %s\n", cmx_err_name(cmx_proxy_reconfigure(p, &gateway, contexts, n_contexts, &why)));
}

/* The free heap in bytes that the engine sees. The command `heap` sets it. */
static size_t heap = SIZE_MAX;

static size_t heap_free(void *arg)
{
    (void)arg;
    return heap;
}

static void command(struct cmx_proxy *p, char *line)
{
    line[strcspn(line, "\n")] = 0;
    if (!strcmp(line, "status"))
        print_status(p);
    else if (!strcmp(line, "mem"))
        print_mem();
    else if (!strcmp(line, "peak"))
        cmx_mem_reset_peak();
    else if (!strcmp(line, "up"))
        wait_up(p);
    else if (!strncmp(line, "fail ", 5))
        cmx_mem_fail_at(number(line + 5));
    else if (!strncmp(line, "heap ", 5))
        heap = number(line + 5);
    else if (!strncmp(line, "updating ", 9))
        cmx_proxy_set_updating(p, number(line + 9));
    else if (!strncmp(line, "set ", 4))
        set(p, line + 4);
    else if (!strncmp(line, "host ", 5))
        set_host(p, line + 5);
    else
        printf("? %s\n", line);
    printf(".\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct cmx_proxy *p;
    char line[1024];
    struct cmx_why why = {""};
    int i = 6;
    cmx_err err;

    if (argc < 8)
        die("usage", "proxy_run HOST PORT USER KEYFILE PIN [option=value ...] -- CONTEXT ...");
    gateway =
        (struct cmx_gateway){.host = argv[1], .port = (uint16_t)number(argv[2]), .user = argv[3], .host_keys = pins};
    if (*argv[4])
        gateway.key_file = argv[4];
    pins[gateway.n_host_keys++] = argv[5];
    for (; i < argc && strcmp(argv[i], "--") != 0; i++)
        gateway_option(argv[i]);
    for (i++; i < argc; i++)
        parse_context(argv[i]);
    cmx_linux_set_device(&(struct cmx_linux_device){.heap_free = heap_free, .wakes = true});
    err = cmx_proxy_create(&p, &gateway, contexts, n_contexts, &hooks, 0, &why);
    if (err)
        die("create", cmx_why_text(&why, err));
    printf("started\n.\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0)
        command(p, line);
    cmx_proxy_destroy(p);
    print_mem();
    return 0;
}
