/* agent_status.h - writes the agent's state as text: JSON for programs, a table for people, a line for systemd.
 * Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/confine/confine.h"
#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/proxy/proxy.h"

/* Maximum length of an answer in bytes: 48 KB for the confinement and the modules, and 1,536 bytes for each context. */
#define STATUS_MAX (48 * 1024 + CMX_PROXY_CONTEXTS_MAX * 1536)

/* A snapshot of the agent's state. Strings are borrowed. Times are those of cmx_port_now_ms. */
struct status_view {
    uint64_t now_ms;
    uint64_t started_ms;
    uint64_t loaded_ms;        /* when the configuration in force was read */
    uint64_t reload_failed_ms; /* when the last reload failed; 0: it did not fail */
    const char *reload_error;
    const char *config_file;
    const char *gateways;     /* the configured list of gateways */
    const char *gateway_host; /* the gateway that is in use or is being tried */
    uint16_t gateway_port;
    const char *gateway_user;
    struct cmx_why awaits; /* why no session may be opened yet; empty: no such reason */
    const struct confine_report *confinement;
    size_t n_contexts;
    struct cmx_context_status *contexts;
    void (*modules_json)(void *arg, struct cmx_json *j);  /* writes members of "modules"; may be NULL */
    void (*modules_text)(void *arg, struct cmx_buf *out); /* writes lines below the table; may be NULL */
    void *modules_arg;
};

/* Writes one JSON document and a newline. CMX_ENOSPC: out is too small. */
CMX_MUST_USE cmx_err status_json(const struct status_view *v, struct cmx_buf *out);

/* Writes an aligned table. color: with terminal colours. CMX_ENOSPC: out is too small. */
CMX_MUST_USE cmx_err status_table(const struct status_view *v, bool color, struct cmx_buf *out);

/* Writes a summary: "2 of 3 contexts up; camera: waiting (...)". */
void status_line(const struct status_view *v, char *out, size_t cap);

/* True when the first attempt of every context has ended: the context is up or is waiting for its next attempt, or the
 * gateway refuses its forward. */
bool status_settled(const struct status_view *v);
/* True if every context is up. False if there is none, because then no session may be opened. */
bool status_all_up(const struct status_view *v);

/* Returns the number of sessions that the contexts use. */
unsigned status_sessions(const struct status_view *v);

/* Write a duration ("850 ms", "12 s", "3 min", "5 h", "2 d") or a number of bytes ("999 B", "1.2 kB", "3.4 GB"). */
void status_duration(uint64_t ms, char *out, size_t cap);
void status_bytes(uint64_t n, char *out, size_t cap);
