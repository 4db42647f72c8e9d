#include "cmxsafe/proxy/context.h"

const char *cmx_context_state_name(cmx_context_state state)
{
    static const char *const names[] = {
        [CMX_STATE_IDLE] = "idle",
        [CMX_STATE_RESOLVING] = "resolving",
        [CMX_STATE_CONNECTING] = "connecting",
        [CMX_STATE_HANDSHAKE] = "handshake",
        [CMX_STATE_AUTH] = "authenticating",
        [CMX_STATE_FORWARDING] = "forwarding",
        [CMX_STATE_UP] = "up",
        [CMX_STATE_WAITING] = "waiting",
        [CMX_STATE_STUCK] = "stuck",
    };

    return state < sizeof names / sizeof names[0] ? names[state] : "?";
}
