/* Runs any sequence of update requests (two at a time), restarts, confirmations and flash faults on simulated flash
 * with two slots.
 *
 * After each step, the running image must be unchanged, and no write may have set a bit to 1: only an erase can do
 * this. After each restart, a complete image must run. Unless a flash fault was injected, it must be this image:
 * - the new image, after an update that the service accepted
 * - the old image, after an update that was not completed
 * - the old image again, if the device restarted before the new image was confirmed */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "board/idf/slots_flash.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/http/http.h"
#include "cmxsafe/ota/service_state.h"
#include "tests/sim/flash_sim.h"
#include "tests/support/ota_image.h"
#include "tests/support/partition_entry.h"

enum { FLASH = 0x20000, SLOT0 = 0x10000, SLOT_LEN = 0x8000, IMAGES = 4, REQUESTS = 2 };

/* ---- the functions of an HTTP server that the service calls ---- */

struct cmx_http_request {
    const struct cmx_http_route *route; /* NULL: no request */
    void *state;
    char type[64], range[64];
    const char *host;
    int64_t length;
    int status; /* status of the answer */
    bool gone;
    uint8_t *body;
    size_t len;
    size_t at; /* number of bytes of the body that the service has received so far */
};

struct cmx_http_server {
    const struct cmx_http_service *service;
};

static struct cmx_http_server server;
static struct cmx_http_request requests[REQUESTS];

cmx_err cmx_http_serve(const struct cmx_http_service *service, struct cmx_http_server **out)
{
    server.service = service;
    *out = &server;
    return CMX_OK;
}

uint16_t cmx_http_port(const struct cmx_http_server *s)
{
    (void)s;
    return 1;
}

static void over(struct cmx_http_request *r, bool complete)
{
    const struct cmx_http_route *route = r->route;

    if (route && route->done)
        route->done(server.service->ctx, r->state, complete);
    free(r->body);
    memset(r, 0, sizeof *r);
}

void cmx_http_stop(struct cmx_http_server *s)
{
    (void)s;
    for (int i = 0; i < REQUESTS; i++)
        over(&requests[i], false);
}

const char *cmx_http_query(const struct cmx_http_request *r)
{
    (void)r;
    return "";
}

const char *cmx_http_header_get(const struct cmx_http_request *r, const char *name)
{
    if (strcasecmp(name, "Host") == 0)
        return r->host;
    if (strcasecmp(name, "Content-Type") == 0)
        return r->type[0] ? r->type : NULL;
    return strcasecmp(name, "Content-Range") == 0 && r->range[0] ? r->range : NULL;
}

bool cmx_http_content_length(const struct cmx_http_request *r, uint32_t *len)
{
    if (r->length >= 0)
        *len = r->length < UINT32_MAX ? (uint32_t)r->length : UINT32_MAX;
    return r->length >= 0;
}

void cmx_http_client(const struct cmx_http_request *r, char out[CMX_IP_TEXT_MAX])
{
    (void)r;
    memcpy(out, "::1", sizeof "::1");
}

bool cmx_http_client_gone(const struct cmx_http_request *r)
{
    return r->gone;
}

cmx_err cmx_http_reply(struct cmx_http_request *r, int status, const char *content_type, const void *body, size_t len,
                       const struct cmx_http_header *headers, size_t n_headers)
{
    if (r->status)
        return CMX_EEXIST;
    if (!content_type || (len && !body) || n_headers > CMX_HTTP_HEADERS_MAX || (n_headers && !headers[0].value))
        abort();
    r->status = status;
    return CMX_OK;
}

cmx_err cmx_http_reply_stream(struct cmx_http_request *r, int status, const char *content_type, cmx_http_next_fn next,
                              cmx_http_done_fn done, void *state)
{
    (void)next;
    done(state);
    return cmx_http_reply(r, status, content_type, "", 0, NULL, 0);
}

/* ---- the simulated device ---- */

static struct test_image images[IMAGES];
static struct cmx_slots_flash slots;
static struct cmx_ota_service *service;
static struct cmx_boot_report boot;
static uint8_t before[SLOT_LEN]; /* content of the running slot after the last start */
static bool flipped; /* a bit flip is scheduled: start() then accepts either slot, and check() ignores violations */
static int expected; /* the slot that the next start must run; -1: either, if it holds a whole image */
static bool restart;

static cmx_err restart_now(struct cmx_why *why)
{
    (void)why;
    restart = true;
    return CMX_OK;
}

static const uint8_t *slot_at(int slot)
{
    return flash_sim.mem + SLOT0 + (size_t)slot * SLOT_LEN;
}

static bool faults(void)
{
    return flash_sim.dead || flash_sim.cut_at || flash_sim.fail_at;
}

static void check(void)
{
    if (memcmp(before, slot_at(slots.running), SLOT_LEN) != 0 || (flash_sim.violations && !flipped))
        abort();
}

static void start(bool at_once)
{
    static struct cmx_ota_config config;

    config = (struct cmx_ota_config){.policy = {.chip_id = TEST_CHIP}, .restart = restart_now, .restart_grace_ms = 1};
    config.no_restart = at_once;
    flash_sim_power_on();
    if (cmx_slots_flash_open(&slots) || cmx_slots_flash_boot(&slots, TEST_CHIP, &boot))
        abort();
    if (expected >= 0 && !flipped && slots.running != expected)
        abort();
    memcpy(before, slot_at(slots.running), SLOT_LEN);
    /* a restart before the new image is confirmed restores the old image */
    expected = boot.pending ? 1 - slots.running : slots.running;
    restart = false;
    cmx_slots_flash_interface(&slots, &config.slots);
    if (cmx_ota_start(&service, &config))
        abort();
}

static void stop(void)
{
    cmx_ota_stop(service);
    service = NULL;
    check();
}

static void new_board(void)
{
    memset(flash_sim.mem, 0xff, FLASH);
    partition_entry(flash_sim.mem, 0, 1, 0, 0xe000, 0x2000);
    partition_entry(flash_sim.mem, 1, 0, 0x10, SLOT0, SLOT_LEN);
    partition_entry(flash_sim.mem, 2, 0, 0x11, SLOT0 + SLOT_LEN, SLOT_LEN);
    memcpy(flash_sim.mem + SLOT0, images[0].data, images[0].len);
    flash_sim.random = 0;
    flash_sim.violations = 0;
    flipped = false;
    expected = 0;
}

/* Updates `expected` after a step. If the service reports that the new image is ready, the next start must run the new
 * image; otherwise it must run the current one. After a flash fault, either image may run. */
static void expect(void)
{
    int e = expected;

    if (boot.pending || expected < 0)
        return;
    if (service->state == OTA_READY || service->state == OTA_RESTARTING)
        e = 1 - slots.running;
    else if (!service->upload || service->upload->begun)
        e = slots.running;
    expected = faults() && (e != slots.running || expected != slots.running) ? -1 : e;
}

/* ---- the steps that the input chooses ---- */

struct input {
    const uint8_t *p;
    size_t left;
};

static uint8_t next(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->p++;
}

static void set_body(struct cmx_http_request *r, const char *head, const uint8_t *data, size_t len, const char *tail)
{
    r->len = strlen(head) + len + strlen(tail);
    r->body = malloc(r->len + 1);
    memcpy(r->body, head, strlen(head));
    memcpy(r->body + strlen(head), data, len);
    memcpy(r->body + strlen(head) + len, tail, strlen(tail) + 1);
}

/* Writes the body of a request: an image or a part of one in one of the upload forms, or bytes of the fuzzer's
 * input. */
static void describe(struct cmx_http_request *r, struct input *in)
{
    static const char frame[] = "--b\r\nContent-Disposition: form-data; name=\"update\"; filename=\"f\"\r\n\r\n";
    static const char other[] = "--b\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n";
    uint8_t kind = next(in);
    const struct test_image *i = &images[kind >> 4 & 3];
    uint32_t first = service->received, len;

    r->host = kind & 0x40 && kind & 0x80 ? "evil.example" : "127.0.0.1";
    first = kind & 8 ? next(in) * 67u : first;
    first = first < i->len ? first : 0;
    len = (uint32_t)i->len - first;
    if (kind & 0x80)
        len = 1 + next(in) * 71u % len;
    switch (kind & 7) {
    case 0:
        set_body(r, "", i->data, i->len, "");
        break;
    case 1:
    case 2:
        set_body(r, "", i->data + first, len, "");
        snprintf(r->range, sizeof r->range, "bytes %u-%u/%u", (unsigned)first, (unsigned)(first + len - 1),
                 (unsigned)i->len);
        break;
    case 3:
        set_body(r, frame, i->data, i->len, "\r\n--b--\r\n");
        break;
    case 4:
        set_body(r, other, i->data, len, "\r\n--b--\r\n");
        break;
    case 5:
        set_body(r, frame, i->data, i->len, "");
        break;
    default: /* the fuzzer's input is the body */
        len = (uint32_t)(in->left < len ? in->left : len);
        set_body(r, kind & 1 ? frame : "", in->p, len, "");
        break;
    }
    if (kind & 7 && (kind & 7) >= 3 && (kind & 7) != 6)
        strcpy(r->type, "multipart/form-data; boundary=b");
    r->length = kind & 0x40 ? -1 : (int64_t)r->len;
}

static void begin(struct cmx_http_request *r, const struct cmx_http_route *route, struct input *in)
{
    over(r, false);
    describe(r, in);
    r->route = route;
    if (route->begin(r, server.service->ctx, &r->state) && !r->status)
        r->status = 500;
}

static void pass(struct cmx_http_request *r, size_t n)
{
    n = n < r->len - r->at ? n : r->len - r->at;
    if (n == 0 || r->status)
        return;
    if (r->route->body(r, server.service->ctx, r->state, r->body + r->at, n) && !r->status)
        r->status = 500;
    r->at += n;
}

static void finish(struct cmx_http_request *r, size_t piece, bool complete)
{
    while (r->at < r->len && !r->status)
        pass(r, piece);
    if (!r->status && r->route->end(r, server.service->ctx, r->state) && !r->status)
        r->status = 500;
    if (r->status == 0)
        abort();
    if (faults() || (r->status == 200 && service->config->no_restart))
        expected = -1;
    over(r, complete);
}

static void fault(struct input *in)
{
    uint8_t kind = next(in);
    unsigned long at = flash_sim.ops + 1 + next(in) % 64;

    if (kind % 3 == 0) {
        flash_sim.cut_at = at;
        flash_sim.tear = kind / 3 % TEAR_KINDS;
    } else if (kind % 3 == 1) {
        flash_sim.fail_at = at;
    } else {
        flash_sim.flip_at = at;
        flipped = true;
    }
}

static void watch(struct input *in)
{
    uint8_t bits = next(in);
    struct cmx_confirm_facts facts = {.sessions_up = bits & 1, .isolation_active = bits & 2};

    if (bits & 4) /* the time limit of the confirmation is exceeded */
        service->trial.since_ms -= 2u * CMX_CONFIRM_DEADLINE_MS;
    switch (cmx_ota_watch(service, &facts)) {
    case CMX_CONFIRM_NOW:
        if (boot.pending)
            expected = slots.running;
        boot.pending = false;
        break;
    case CMX_CONFIRM_ROLLBACK:
        expected = 1 - slots.running;
        break;
    default:
        break;
    }
    if (faults())
        expected = -1;
}

static const struct cmx_http_route *route_of(const char *method, const char *path)
{
    for (size_t i = 0; i < server.service->n_routes; i++)
        if (!strcmp(server.service->routes[i].method, method) && !strcmp(server.service->routes[i].path, path))
            return &server.service->routes[i];
    abort();
}

static void look(void)
{
    struct cmx_http_request r = {.host = "127.0.0.1", .length = -1};

    if (route_of("GET", "/update")->begin(&r, server.service->ctx, &r.state) || r.status != 200)
        abort();
}

static void step(uint8_t op, struct input *in)
{
    struct cmx_http_request *r = &requests[op >> 3 & 1];

    switch (op & 7) {
    case 0:
        begin(r, route_of("POST", "/update"), in);
        break;
    case 1:
        if (r->route)
            pass(r, 1u + next(in) * 37u);
        break;
    case 2:
        if (r->route)
            finish(r, 1u + next(in) * 53u, op & 0x10);
        break;
    case 3:
        r->gone = op & 0x10;
        if (!r->gone)
            over(r, false);
        break;
    case 4:
        fault(in);
        break;
    case 5:
        stop();
        start(op & 0x10);
        break;
    case 6:
        watch(in);
        break;
    default:
        look();
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct cmx_mem_stats m;
    size_t live;

    if (!images[0].data) {
        cmx_log_set_level(CMX_LOG_ERROR);
        flash_sim_init(FLASH);
        images[0] = test_image_make("1", 600, TEST_CHIP, 0);
        images[1] = test_image_make("2", 5000, TEST_CHIP, 0);
        images[2] = test_image_make("3", 9000, TEST_CHIP, 0);
        images[3] = test_image_make("4", 2000, TEST_CHIP + 1, 0);
    }
    cmx_mem_stats(&m);
    live = m.live_bytes;
    new_board();
    start(false);
    for (unsigned n = 0; in.left && n < 64; n++) {
        step(next(&in), &in);
        check();
        expect();
        if (restart || flash_sim.dead) {
            stop();
            start(false);
        }
    }
    stop();
    cmx_mem_stats(&m);
    if (m.live_bytes != live)
        abort();
    return 0;
}
