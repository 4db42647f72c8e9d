#include "cmxsafe/ota/confirm.h"

cmx_confirm_decision cmx_confirm_decide(uint32_t trial_ms, uint32_t deadline_ms, const struct cmx_confirm_facts *facts)
{
    const bool overdue = trial_ms >= (deadline_ms ? deadline_ms : CMX_CONFIRM_DEADLINE_MS);

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
