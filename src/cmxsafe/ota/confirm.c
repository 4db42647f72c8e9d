#include "cmxsafe/ota/confirm.h"

cmx_confirm_decision cmx_confirm_decide(uint64_t booted_ms, uint32_t deadline_ms, uint64_t now_ms,
                                        const struct cmx_confirm_facts *facts, const char **why)
{
    uint64_t limit = deadline_ms ? deadline_ms : CMX_CONFIRM_DEADLINE_MS;

    *why = "";
    if (facts->sessions_up && facts->isolation_active)
        return CMX_CONFIRM_NOW;
    if (now_ms - booted_ms < limit)
        return CMX_CONFIRM_WAIT;
    *why = facts->isolation_active ? "no session" : facts->sessions_up ? "no isolation" : "no session, no isol.";
    return CMX_CONFIRM_ROLLBACK;
}
