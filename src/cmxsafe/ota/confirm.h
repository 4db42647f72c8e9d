/* confirm.h - is the new image good? Confirmed once the device can be reached again and is closed to everything else;
 * given up when that has not come true by the deadline. Pure: time is an argument. */
#ifndef CMX_OTA_CONFIRM_H
#define CMX_OTA_CONFIRM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_CONFIRM_DEADLINE_MS (5u * 60 * 1000)

/* What the device knows of itself at this moment. */
struct cmx_confirm_facts {
    bool sessions_up;      /* every context's session is authenticated and its forward granted */
    bool isolation_active; /* installed, or not part of this device */
};

typedef enum { CMX_CONFIRM_WAIT = 0, CMX_CONFIRM_NOW, CMX_CONFIRM_ROLLBACK } cmx_confirm_decision;

/* booted_ms: when the image started; deadline_ms: 0 for CMX_CONFIRM_DEADLINE_MS. *why: for ROLLBACK, which condition
 * was not met, short enough for an otadata label; static. */
cmx_confirm_decision cmx_confirm_decide(uint64_t booted_ms, uint32_t deadline_ms, uint64_t now_ms,
                                        const struct cmx_confirm_facts *facts, const char **why);

#ifdef __cplusplus
}
#endif
#endif
