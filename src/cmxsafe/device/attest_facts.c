#include "cmxsafe/device/attest_facts.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/device/attest_service.h"
#include "cmxsafe/device/device.h"
#include "cmxsafe/device/device_isolation.h"
#include "cmxsafe/device/device_update.h"

static struct cmx_device_platform_facts platform;

static void set_text(char out[CMX_EVIDENCE_NAME_MAX], const char *text)
{
    snprintf(out, CMX_EVIDENCE_NAME_MAX, "%s", text);
}

static void fill_device(struct cmx_evidence *e)
{
    set_text(e->hw_model, platform.hw_model ? platform.hw_model : "");
    e->secure_boot = platform.secure_boot;
    e->debug = platform.debug;
    e->flash_encryption = platform.flash_encryption;
    e->secure_version = platform.secure_version;
    e->boot_count = platform.boot_count;
    e->isolation = cmx_device_isolation_active();
    e->has_policy = cmx_device_isolation_digest(e->policy) == CMX_OK;
}

static void fill_image(struct cmx_evidence *e)
{
    const struct cmx_slots *slots = cmx_device_slots();
    struct cmx_slots_status st;

    if (!slots || slots->status(slots->arg, &st) != CMX_OK)
        return;
    set_text(e->sw_name, st.project);
    set_text(e->sw_version, st.version);
    set_text(e->slot, st.running);
    set_text(e->slot_state, st.pending ? "pending-verify" : "valid");
    if (st.secure_version > e->secure_version)
        e->secure_version = st.secure_version;
}

/* Sets the facts about the gateway and the session. Evidence is sent through the session that forwards the attestation
 * port, so the facts are those of that session. */
static void fill_session(struct cmx_evidence *e)
{
    int port = cmx_attest_port() + cmx_device_port_offset();
    struct cmx_context_status st;

    if (!cmx_device_find(CMX_REVERSE, (uint16_t)port, &st))
        return;
    e->has_gateway = st.has_host_key;
    memcpy(e->gateway, st.host_key, sizeof e->gateway);
    e->session_len = st.session_id_len;
    memcpy(e->session, st.session_id, st.session_id_len);
    set_text(e->key_exchange, st.key_exchange ? st.key_exchange : "");
}

static void fill_facts(struct cmx_evidence *e)
{
    fill_device(e);
    fill_image(e);
    fill_session(e);
}

void cmx_device_set_platform_facts(const struct cmx_device_platform_facts *p)
{
    platform = *p;
    cmx_attest_set_facts(fill_facts);
}
