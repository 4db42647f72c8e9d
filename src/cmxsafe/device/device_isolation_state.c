#include "cmxsafe/device/device_isolation_state.h"

#include "cmxsafe/port/filter.h"
#include "cmxsafe/port/port.h"

/* Any thread may read these two variables. Only the holder of device_isolation.c's lock writes them. */
static struct cmx_device_isolation_state *state;
static cmx_isolation_standing standing;

struct cmx_device_isolation_state *cmx_device_isolation_state(void)
{
    return __atomic_load_n(&state, __ATOMIC_ACQUIRE);
}

void cmx_device_isolation_state_set(struct cmx_device_isolation_state *s)
{
    __atomic_store_n(&state, s, __ATOMIC_RELEASE);
}

struct cmx_device_isolation_state *cmx_device_isolation_state_enter(void)
{
    struct cmx_device_isolation_state *s = cmx_device_isolation_state();

    if (s) /* a state exists only if the platform has a filter */
        cmx_port_filter()->lock();
    return s;
}

void cmx_device_isolation_state_leave(void)
{
    cmx_port_filter()->unlock();
}

uint32_t cmx_device_isolation_now_s(void)
{
    return (uint32_t)(cmx_port_now_ms() / 1000);
}

cmx_isolation_standing cmx_device_isolation_state_standing(void)
{
    return __atomic_load_n(&standing, __ATOMIC_ACQUIRE);
}

void cmx_device_isolation_state_set_standing(cmx_isolation_standing s)
{
    __atomic_store_n(&standing, s, __ATOMIC_RELEASE);
}
