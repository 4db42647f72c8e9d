/* drops.h - keeps the packets that isolation dropped until they are logged. The task that drops a packet only notes it
 * here, because it may be a driver's task with a stack of 2 KB; another task logs it. At most CMX_DROPS_LINES lines
 * are logged in quick succession, and then one line every CMX_DROPS_LINE_S seconds. Each line says how many drops
 * before it were not logged. The caller serialises the calls (the filter's lock). */
#pragma once

#include "cmxsafe/isolation/policy.h"
#include "cmxsafe/port/filter.h"

#define CMX_DROPS_LINES 5
#define CMX_DROPS_LINE_S 2

struct cmx_drop {
    struct cmx_packet packet; /* the dropped packet; its pointers are no longer valid */
    uint32_t left_out;        /* drops before this one that were not logged */
    cmx_reason why;
    bool loopback, out, whole; /* whole: the frame was parsed completely */
};

/* The drops that are not logged yet. A zeroed struct has none. */
struct cmx_drops {
    uint32_t left_out; /* drops since the last one in `list` */
    uint32_t lines;    /* lines counted against CMX_DROPS_LINES; decreases by 1 every CMX_DROPS_LINE_S */
    uint32_t last_line_s;
    size_t n;
    struct cmx_drop list[CMX_DROPS_LINES];
};

/* True if one more line may be logged. The line is then counted, so the caller must log it. */
bool cmx_drops_may_log(struct cmx_drops *d, uint32_t now_s);

/* Notes a drop to be logged. If the list is full, or no line may be logged now, counts the drop in left_out instead. */
void cmx_drops_note(struct cmx_drops *d, const struct cmx_filter_packet *q, const struct cmx_frame *f, cmx_reason why,
                    uint32_t now_s);

/* Moves the oldest noted drop to *out. False: there is none. */
bool cmx_drops_take(struct cmx_drops *d, struct cmx_drop *out);

/* Logs a drop. Must not be called while the filter's lock is held. */
void cmx_drop_log(const struct cmx_drop *d);
