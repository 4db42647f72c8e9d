#include "cmxsafe/ota/confirm.h"

cmx_confirm_decision cmx_confirm_decide(uint64_t since_ms, uint32_t deadline_ms, uint64_t now_ms,
                                        const struct cmx_confirm_facts *facts, const char **why)
{
    const uint64_t limit = deadline_ms ? deadline_ms : CMX_CONFIRM_DEADLINE_MS;
    const bool good = facts->sessions_up && facts->isolation_active;
    const bool overdue = now_ms - since_ms >= limit;

    *why = "";
    if (good && !(overdue && facts->confirm_failed))
        return CMX_CONFIRM_NOW;
    if (!overdue)
        return CMX_CONFIRM_WAIT;
    if (good)
        *why = "confirm failed";
    else
        *why = facts->isolation_active ? "no session" : facts->sessions_up ? "no isolation" : "no session, no isol.";
    return CMX_CONFIRM_ROLLBACK;
}
