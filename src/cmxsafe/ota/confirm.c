#include "cmxsafe/ota/confirm.h"

cmx_confirm_decision cmx_confirm_decide(uint64_t since_ms, uint32_t deadline_ms, uint64_t now_ms,
                                        const struct cmx_confirm_facts *facts)
{
    const uint64_t limit = deadline_ms ? deadline_ms : CMX_CONFIRM_DEADLINE_MS;
    const bool overdue = now_ms - since_ms >= limit;

    if (facts->sessions_up && facts->isolation_active && !(overdue && facts->confirm_failed))
        return CMX_CONFIRM_NOW;
    return overdue ? CMX_CONFIRM_ROLLBACK : CMX_CONFIRM_WAIT;
}

const char *cmx_confirm_unmet(const struct cmx_confirm_facts *facts)
{
    if (!facts->sessions_up)
        return facts->isolation_active ? "no session" : "no session, no isol.";
    return facts->isolation_active ? "confirm failed" : "no isolation";
}
