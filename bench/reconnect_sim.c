/* reconnect_sim.c - replays the failure of one gateway of a fleet and shows how its devices come back: logins a second
 * over time, and when the last device is back. The devices decide with the product's own functions: which gateway is
 * next (proxy/gateways.h) and how long to wait (core/backoff.h), with the defaults of proxy/context.h. Time is
 * simulated, and the seed is fixed, so that a result can be repeated.
 *
 * A gateway is modelled after 'cmxsafe gateway serve'. It finishes RATE logins a second in the order of their arrival.
 * QUEUE connections wait in the kernel, and a further SYN is dropped. A device that gave up waiting costs the gateway
 * nothing.
 *
 * Usage: reconnect_sim DEVICES GATEWAYS RATE QUEUE killed|silent|all. DEVICES is the number in the whole fleet, of
 * which each gateway has the same share.
 *
 *   killed  one gateway fails and refuses connections
 *   silent  one gateway fails and answers nothing; its devices notice after one to three keepalive intervals
 *   all     all gateways restart at the same time, and every device comes back */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/backoff.h"
#include "cmxsafe/proxy/context.h"
#include "cmxsafe/proxy/gateways.h"

#define RTT_MS 50
#define LOGIN_MS (CMX_PROXY_LOGIN_TIMEOUT_S * 1000.0)
#define KEEPALIVE_MS (CMX_PROXY_KEEPALIVE_S * 1000.0)
#define SECONDS_MAX 36000

struct device {
    double at; /* time of the next attempt in ms */
    struct cmx_backoff backoff;
    struct cmx_gateway_turn turn;
};

static struct cmx_gateway_list list;
static double free_at[CMX_GATEWAYS_MAX]; /* time in ms when a gateway will have finished the logins in its queue */
static double service_ms;
static double queue_max;
static bool failed_dead, failed_silent;
static unsigned attempts[SECONDS_MAX], logins[SECONDS_MAX], most_at_one;

static uint64_t seed = 88172645463325252u;

static uint32_t random_bits(void) /* xorshift64, George Marsaglia 2003 */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32);
}

static double random_below(double limit)
{
    return limit * random_bits() / 4294967296.0;
}

/* ---- the devices: a heap, ordered by the time of their next attempts ---- */

static struct device *heap;
static size_t n_heap;

static void sink(size_t i)
{
    struct device d = heap[i];

    for (size_t child; (child = 2 * i + 1) < n_heap; i = child) {
        if (child + 1 < n_heap && heap[child + 1].at < heap[child].at)
            child++;
        if (heap[child].at >= d.at)
            break;
        heap[i] = heap[child];
    }
    heap[i] = d;
}

/* ---- one attempt ---- */

/* True if the login succeeds. Sets *end to the time in ms at which the device has the result. Gateway 0 is the gateway
 * that failed. */
static bool attempt(unsigned gateway, double now, double *end)
{
    double begin = free_at[gateway] > now ? free_at[gateway] : now;
    double waiting = (begin - now) / service_ms;

    if (gateway == 0 && failed_dead) {
        *end = now + (failed_silent ? LOGIN_MS : RTT_MS);
        return false;
    }
    *end = begin + service_ms + RTT_MS;
    if (waiting <= queue_max && *end - now <= LOGIN_MS) {
        free_at[gateway] = begin + service_ms;
        return true;
    }
    *end = now + LOGIN_MS;
    return false;
}

static void count(unsigned *series, double at)
{
    if (at / 1000 < SECONDS_MAX)
        series[(size_t)(at / 1000)]++;
}

static void count_at_one(unsigned gateway, double at)
{
    static unsigned in_second[CMX_GATEWAYS_MAX];
    static size_t second[CMX_GATEWAYS_MAX];

    if (second[gateway] != (size_t)(at / 1000)) {
        second[gateway] = (size_t)(at / 1000);
        in_second[gateway] = 0;
    }
    if (++in_second[gateway] > most_at_one && !(gateway == 0 && failed_dead))
        most_at_one = in_second[gateway];
}

/* ---- the run ---- */

static void lose_session(struct device *d, unsigned gateway, bool silent)
{
    const uint32_t max = CMX_PROXY_BACKOFF_MAX_MS / (uint32_t)list.n; /* divided as in proxy.c */

    cmx_backoff_init(&d->backoff, CMX_PROXY_BACKOFF_BASE_MS, max);
    cmx_gateway_turn_begin(&d->turn, &list, 0);
    d->turn.at = (uint8_t)gateway;
    d->at = 0;
    if (silent) { /* as in cmx_session_gateway_failed, a silent gateway gets no second attempt */
        d->at = KEEPALIVE_MS + random_below(2 * KEEPALIVE_MS);
        cmx_gateway_turn_next(&d->turn, &list, random_bits());
    }
    d->at += cmx_backoff_next(&d->backoff, random_bits());
}

/* Returns the time in ms at which the last device is back. Sets *median to the time at which half of the devices are
 * back. */
static double run(size_t devices, double *median)
{
    size_t half = devices / 2;
    double last = 0;

    n_heap = devices;
    for (size_t i = devices / 2 + 1; i-- > 0;)
        sink(i);
    while (n_heap) {
        struct device *d = &heap[0];
        double end;
        unsigned gateway = d->turn.at;

        count(attempts, d->at);
        count_at_one(gateway, d->at);
        if (attempt(gateway, d->at, &end)) {
            count(logins, end);
            if (end > last)
                last = end;
            heap[0] = heap[--n_heap];
            if (n_heap == half)
                *median = end;
        } else {
            cmx_gateway_turn_next(&d->turn, &list, random_bits());
            d->at = end + cmx_backoff_next(&d->backoff, random_bits());
        }
        if (n_heap)
            sink(0);
    }
    return last;
}

/* The times are printed in steps of 1 s, then 10 s, then 60 s. */
static void print_series(double last)
{
    printf("%8s %12s %12s\n", "seconds", "attempts/s", "logins/s");
    for (size_t from = 0, step; from <= last / 1000 && from < SECONDS_MAX; from += step) {
        double a = 0, l = 0;

        step = from < 10 ? 1 : from < 60 ? 10 : 60;
        for (size_t i = from; i < from + step && i < SECONDS_MAX; i++) {
            a += attempts[i];
            l += logins[i];
        }
        printf("%8zu %12.0f %12.0f\n", from, a / (double)step, l / (double)step);
    }
}

int main(int argc, char **argv)
{
    size_t devices = argc == 6 ? strtoul(argv[1], NULL, 10) : 0;
    size_t gateways = devices ? strtoul(argv[2], NULL, 10) : 0;
    bool all = gateways && strcmp(argv[5], "all") == 0;
    char text[CMX_GATEWAYS_TEXT_MAX] = "gw0";
    double last, median = 0, total = 0;
    size_t gone;

    if (gateways < 2 || gateways > CMX_GATEWAYS_MAX || atof(argv[3]) <= 0) {
        fprintf(stderr, "usage: reconnect_sim DEVICES GATEWAYS(2 to %d) RATE QUEUE killed|silent|all\n",
                CMX_GATEWAYS_MAX);
        return 2;
    }
    for (size_t i = 1; i < gateways; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",gw%zu", i);
    service_ms = 1000 / atof(argv[3]);
    queue_max = atof(argv[4]);
    failed_silent = strcmp(argv[5], "silent") == 0;
    failed_dead = !all;
    gone = all ? devices : devices / gateways;
    heap = calloc(gone, sizeof *heap);
    if (!heap || cmx_gateway_list_parse(&list, text, 22, NULL) != CMX_OK)
        return 1;
    for (size_t i = 0; i < gone; i++)
        lose_session(&heap[i], all ? (unsigned)(i % gateways) : 0, failed_silent);
    last = run(gone, &median);
    print_series(last);
    for (size_t i = 0; i < SECONDS_MAX; i++)
        total += attempts[i];
    printf("devices %zu back after: half %.1f s, last %.1f s (at the gateways' full rate: %.1f s)\n", gone,
           median / 1000, last / 1000, (double)gone * service_ms / 1000 / (double)(gateways - failed_dead));
    printf("attempts per device %.2f, most at one gateway within a second %u\n", total / (double)gone, most_at_one);
    free(heap);
    return 0;
}
