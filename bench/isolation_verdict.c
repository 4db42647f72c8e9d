/* isolation_verdict.c - measures the time of one verdict, in nanoseconds. Each of CONTEXTS contexts has a live session
 * and relays. The packets are inbound and outbound segments of sessions, mixed with packets that are dropped. Prints
 * the result of the shortest of 15 rounds, in CPU time, because the machine may be shared. Usage: isolation_verdict
 * CONTEXTS */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/support/frames.h"

#define FRAMES 256
#define ROUNDS 15

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1}, gw_mac[6] = {2, 0, 0, 0, 0, 2};
static struct cmx_isolation iso;
static struct cmx_flow flows[512];
static struct cmx_iface eth;
static struct test_frame frames[FRAMES];
static cmx_direction dirs[FRAMES];
static struct cmx_ip us, gw, localhost;

static void must(cmx_err err)
{
    if (err)
        abort();
}

static void verdict(const struct test_frame *f, cmx_direction dir, cmx_verdict expected)
{
    const struct cmx_frame v = frame_view(f);

    if (cmx_isolation_check(&iso, &eth, dir, &v, 1).verdict != expected)
        abort();
}

static void open_context(unsigned i)
{
    const uint16_t port = (uint16_t)(50000 + 7 * i);
    struct test_frame f;
    unsigned r;

    must(flow_open(&iso, CMX_FLOW_SESSION, &us, port, &gw, 22, 1));
    for (r = 0; r < 4; r++)
        must(flow_open(&iso, CMX_FLOW_RELAY, &localhost, 40000 + 100 * i + r, &localhost, 81 + i, 1));
    frame_tcp(&f, gw_mac, our_mac, &us, port, &gw, 22, CMX_TCP_SYN, 1000, 0, 0);
    verdict(&f, CMX_OUT, CMX_ALLOW);
    frame_tcp(&f, our_mac, gw_mac, &gw, 22, &us, port, CMX_TCP_SYN | CMX_TCP_ACK, 9000, 1001, 0);
    verdict(&f, CMX_IN, CMX_ALLOW);
}

/* Of eight frames, four are inbound and three outbound; the last one belongs to no flow. */
static void make_frames(unsigned contexts)
{
    unsigned i;

    for (i = 0; i < FRAMES; i++) {
        const unsigned port = 50000 + 7 * (i % contexts);

        dirs[i] = i % 8 < 5 ? CMX_IN : CMX_OUT;
        if (dirs[i] == CMX_IN)
            frame_tcp(&frames[i], our_mac, gw_mac, &gw, 22, &us, i % 8 == 4 ? 60000 + i : port, CMX_TCP_ACK, 9001, 1001,
                      1000);
        else
            frame_tcp(&frames[i], gw_mac, our_mac, &us, port, &gw, 22, CMX_TCP_ACK, 1001, 9001, 1000);
    }
}

static double round_ns(void)
{
    const unsigned loops = 2000;
    struct timespec a, b;
    unsigned i, n, passed = 0;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    for (n = 0; n < loops; n++)
        for (i = 0; i < FRAMES; i++) {
            const struct cmx_frame v = frame_view(&frames[i]);

            passed += cmx_isolation_check(&iso, &eth, dirs[i], &v, n).verdict == CMX_ALLOW;
        }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    if (passed != loops * FRAMES / 8 * 7)
        abort();
    return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / loops / FRAMES;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    const uint8_t us4[4] = {10, 0, 0, 5}, gw4[4] = {10, 0, 0, 1}, lo4[4] = {127, 0, 0, 1};
    const unsigned contexts = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 32;
    struct cmx_iso_config c = {.n_gateways = 1};
    double ns[ROUNDS];
    unsigned i;

    cmx_ip_v4(&us, us4);
    cmx_ip_v4(&gw, gw4);
    cmx_ip_v4(&localhost, lo4);
    c.gateways[0] = (struct cmx_iso_gateway){.ip = gw};
    for (c.n_contexts = 0; c.n_contexts < contexts; c.n_contexts++)
        c.contexts[c.n_contexts].port = (uint16_t)(81 + c.n_contexts);
    must(cmx_isolation_init(&iso, &c, flows, 512));
    memcpy(eth.mac, our_mac, 6);
    eth.own[eth.n_own++] = us;
    for (i = 0; i < contexts; i++)
        open_context(i);
    make_frames(contexts);
    for (i = 0; i < ROUNDS; i++)
        ns[i] = round_ns();
    qsort(ns, ROUNDS, sizeof ns[0], compare);
    printf("%.1f\n", ns[0]);
    return 0;
}
