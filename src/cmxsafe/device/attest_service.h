/* attest_service.h - attestation over HTTP, on the device's loopback:
 *
 *     GET /hash?challenge=TEXT[&ranges=A-B,C-D]      text/plain, 64 hex digits (attest/chain.h)
 *     GET /evidence?nonce=HEX[&ranges=...][&alg=ES256]   application/eat+cwt, or JSON (attest/evidence.h)
 *
 * An Accept header with application/json selects JSON. The body of a 400 answer states the reason. One computation runs
 * at a time, and CMX_ATTEST_QUEUE more requests may wait; others get 503 with Retry-After. Only the running computation
 * allocates memory, at most 8 KB. */
#pragma once

#include "cmxsafe/attest/evidence.h"
#include "cmxsafe/core/err.h"

#define CMX_ATTEST_PORT 8888
#define CMX_ATTEST_QUEUE 2

/* Fills in the device's facts: hw_model, secure_boot, debug, boot_count, sw_name, sw_version, slot, slot_state,
 * secure_version, flash_encryption, isolation, policy, gateway, session, key_exchange. *e is zeroed except for the
 * nonce. The service itself sets nonce, ueid, key, boot_seed, flash_size and measurements. Called in a thread of the
 * HTTP server; must not block for long. */
typedef void (*cmx_attest_facts_fn)(struct cmx_evidence *e);

/* Sets the function that fills in the facts. NULL: evidence claims no facts. Call before cmx_attest_start. */
void cmx_attest_set_facts(cmx_attest_facts_fn facts);

/* Starts the service. address NULL: 127.0.0.1. A device has one service. CMX_EEXIST: the service is already running.
 * CMX_EIO: there are no random bytes for the boot seed. Other errors: as for cmx_http_serve. */
CMX_MUST_USE cmx_err cmx_attest_start(const char *address, uint16_t port);

/* Returns the service's port; 0 while the service is not running. */
uint16_t cmx_attest_port(void);

/* Stops the service, and waits for running requests. Safe when the service is not running. */
void cmx_attest_stop(void);
