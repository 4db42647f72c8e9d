#include "cli/gateway/gw_fleet_follow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/common/json_get.h"
#include "cli/gateway/gw_fleet_answer.h"
#include "cli/gateway/gw_fleet_ask.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/version.h"
#include "gateway/server/gw_access_log.h"
#include "gateway/server/gw_access_read.h"
#include "gateway/server/gw_report.h"

#define RETRY_MS 2000
#define LOG_MS 30000 /* time limit for a gateway to send the lines that are already in its log */
#define LOG_MAX ((GW_ACCESS_FILES + 1) * (size_t)GW_ACCESS_FILE_MAX)
#define PIECES_MAX 64 /* maximum number of reads from a gateway in one step, so that it does not delay the others */

void gw_fleet_follow_begin(struct gw_fleet_follow *f, const struct gw_nodes *nodes, int64_t since_ms)
{
    memset(f, 0, sizeof *f);
    f->nodes = nodes;
    f->begun_ms = cmx_port_now_ms();
    for (size_t i = 0; i < nodes->n; i++) {
        f->list[i].node = &nodes->list[i] == nodes->own ? NULL : &nodes->list[i];
        f->list[i].fd = -1;
        f->list[i].at_ms = since_ms;
    }
}

static void followed_drop(struct gw_fleet_followed *x)
{
    if (x->fd >= 0)
        close(x->fd);
    x->fd = -1;
    x->next_ms = cmx_port_now_ms() + RETRY_MS;
    if (!x->warned)
        fprintf(stderr,
                "cmxsafe: the gateway %s does not answer, so its records are missing until it does; see 'cmxsafe "
                "gateway nodes'\n",
                x->node->name);
    x->warned = true;
}

/* A gateway closes the connection without an answer in two cases: it does not know the request, or all its processes
 * for reports are in use. */
static void followed_refuse(struct gw_fleet_followed *x)
{
    if (!x->refused)
        fprintf(stderr,
                "cmxsafe: the gateway %s closes the connection without an answer, so its records are missing: its "
                "cmxsafe (%s, here %s) is too old to be followed, or too many operators are following it; upgrade it, "
                "or try again later\n",
                x->node->name, x->node->version[0] ? x->node->version : "of an unknown version", CMX_VERSION);
    x->refused = x->warned = true;
    followed_drop(x);
}

static void followed_connect(struct gw_fleet_followed *x, const struct gw_nodes *nodes)
{
    x->asked = x->answered = false;
    x->skip = x->n;
    x->len = 0;
    x->next_ms = cmx_port_now_ms() + GW_REPORT_SILENCE_MS;
    x->fd = gw_fleet_connect_node(nodes, x->node);
    if (x->fd < 0)
        followed_drop(x);
}

static bool waits(void)
{
    return errno == EAGAIN || errno == ENOTCONN || errno == EINPROGRESS || errno == EINTR;
}

static void followed_ask(struct gw_fleet_followed *x)
{
    char question[40];
    int len = snprintf(question, sizeof question, GW_REPORT_FOLLOW "%lld\n", (long long)x->at_ms);

    x->asked = send(x->fd, question, (size_t)len, MSG_NOSIGNAL) == len;
    if (!x->asked && !waits())
        followed_drop(x);
}

/* Returns the record as our own JSON writer writes it; free it with free(). NULL: the record is malformed, or memory
 * ran out. */
static char *clean_line(struct gw_fleet_followed *x)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    cmx_err err = f ? gw_fleet_answer_record(x->line, f) : CMX_ENOMEM;

    if (f && fclose(f) == 0 && !err)
        return text;
    free(text); /* allocated by open_memstream */
    if (err == CMX_EFORMAT && !x->malformed)
        fprintf(stderr,
                "cmxsafe: the gateway %s sends malformed records, which are left out; check that gateway: its program "
                "may have been replaced\n",
                x->node->name);
    x->malformed |= err == CMX_EFORMAT;
    return NULL;
}

static void take_record(struct gw_fleet_followed *x, gw_fleet_line_fn fn, void *arg)
{
    char *line = clean_line(x);
    int64_t at_ms = line ? json_number(line, "at") : 0;

    if (line && x->skip && at_ms == x->at_ms) {
        x->skip--;
    } else if (line) {
        x->n = at_ms == x->at_ms ? x->n + 1 : 1;
        x->at_ms = at_ms;
        fn(arg, x->node, line);
    }
    free(line); /* allocated by open_memstream */
}

static void take_line(struct gw_fleet_followed *x, gw_fleet_line_fn fn, void *arg)
{
    if (x->line[0]) {
        take_record(x, fn, arg);
        return;
    }
    x->caught_up = true; /* an empty line: the gateway has sent its whole log */
    x->refused = x->warned = false;
    x->skip = 0;
}

static void followed_read(const struct gw_fleet_follow *f, struct gw_fleet_followed *x, gw_fleet_line_fn fn, void *arg)
{
    char piece[16384];
    ssize_t n = 1;

    for (int pieces = 0; pieces < PIECES_MAX && (n = recv(x->fd, piece, sizeof piece, 0)) > 0; pieces++) {
        x->next_ms = cmx_port_now_ms() + GW_REPORT_SILENCE_MS;
        x->answered = true;
        x->received += (size_t)n;
        for (ssize_t i = 0; i < n; i++) {
            if (x->len == sizeof x->line || (!f->live && x->received > LOG_MAX)) { /* the line or the log is too long */
                followed_drop(x);
                return;
            }
            x->line[x->len++] = piece[i] == '\n' ? '\0' : piece[i];
            if (piece[i] != '\n')
                continue;
            take_line(x, fn, arg);
            x->len = 0;
        }
    }
    if (n > 0)
        return;
    if (n == 0 && !x->answered)
        followed_refuse(x);
    else if (n == 0 || !waits())
        followed_drop(x);
}

void gw_fleet_follow_step(struct gw_fleet_follow *f, gw_fleet_line_fn fn, void *arg)
{
    for (size_t i = 0; i < f->nodes->n; i++) {
        struct gw_fleet_followed *x = &f->list[i];
        bool due = cmx_port_now_ms() >= x->next_ms;

        if (!x->node)
            continue;
        if (x->fd >= 0 && due)
            followed_drop(x);
        else if (x->fd < 0 && due)
            followed_connect(x, f->nodes);
        if (x->fd >= 0 && !x->asked)
            followed_ask(x);
        if (x->fd >= 0 && x->asked)
            followed_read(f, x, fn, arg);
    }
}

bool gw_fleet_follow_caught_up(struct gw_fleet_follow *f)
{
    const bool late = cmx_port_now_ms() - f->begun_ms > LOG_MS;
    bool all = true;

    for (size_t i = 0; i < f->nodes->n; i++) {
        struct gw_fleet_followed *x = &f->list[i];

        if (!x->node || x->caught_up || x->warned)
            continue;
        if (late)
            followed_drop(x);
        all &= late;
    }
    f->live = all;
    return all;
}

void gw_fleet_follow_end(struct gw_fleet_follow *f)
{
    for (size_t i = 0; i < f->nodes->n; i++)
        if (f->list[i].fd >= 0)
            close(f->list[i].fd);
}
