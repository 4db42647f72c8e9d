/* drops.h - packets that isolation dropped, to be told of: noted where they were judged, which may be a driver's task
 * with a stack of 2 KB, and logged by a task of our own. Bounded: CMX_DEVICE_DROP_LINES lines at once, then one each
 * CMX_DEVICE_DROP_LINE_MS, with the number of those left out. The caller serialises the calls (the filter's lock). */
#ifndef CMX_DEVICE_DROPS_H
#define CMX_DEVICE_DROPS_H

#include "cmxsafe/device/isolation.h"
#include "cmxsafe/isolation/policy.h"
#include "cmxsafe/port/filter.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cmx_drop {
    struct cmx_end src, dst;
    uint32_t silent; /* dropped unsaid before it */
    uint16_t ethertype;
    uint8_t proto;
    bool loopback, out, whole;
    cmx_why why;
};

/* Zeroed: nothing was dropped. */
struct cmx_drops {
    uint32_t silent; /* drops that were not logged, */
    uint32_t lines;  /* and when the next line may be */
    uint32_t last_line_ms;
    size_t n;
    struct cmx_drop list[CMX_DEVICE_DROP_LINES];
};

/* May one more line be said? Then it counts as said. */
bool cmx_drops_may_tell(struct cmx_drops *d, uint32_t now_ms);

void cmx_drops_note(struct cmx_drops *d, const struct cmx_filter_packet *q, const struct cmx_frame *f, cmx_why why,
                    uint32_t now_ms);

/* Moves what was noted to out; how many. */
size_t cmx_drops_take(struct cmx_drops *d, struct cmx_drop out[CMX_DEVICE_DROP_LINES]);

/* Without the lock. */
void cmx_drop_log(const struct cmx_drop *d);

#ifdef __cplusplus
}
#endif
#endif
