#include "agent/isolation/isolation_state.h"

#include <unistd.h>

#include "cmxsafe/core/log.h"

#define TAG ISOLATION_TAG

void isolation_set_state(struct isolation *s, isolation_state state, const char *who)
{
    const isolation_state was = s->state;

    if (was == state)
        return;
    s->state = state;
    switch (state) {
    case ISOLATION_CHANGED:
        cmx_log_limited(CMX_LOG_ERROR, TAG, "NOT IN FORCE: %s changed or removed the rules; installing them again",
                        who[0] ? who : "another program");
        break;
    case ISOLATION_IN_FORCE:
        if (was != ISOLATION_RELEASED)
            cmx_log_limited(CMX_LOG_WARN, TAG, "the rules are in force again");
        break;
    case ISOLATION_BROKEN: /* the caller logs why */
    case ISOLATION_RELEASED:
        break;
    }
}

void isolation_observe(struct isolation *s)
{
    const uint64_t one = 1;
    char who[NFT_PROGRAM_MAX];

    if (s->state != ISOLATION_IN_FORCE || nft_guard_check(s->guard, who) == CMX_OK)
        return;
    isolation_set_state(s, ISOLATION_CHANGED, who);
    if (write(s->wake, &one, sizeof one) < 0)
        return; /* the counter is full, so the loop will wake up anyway */
}
