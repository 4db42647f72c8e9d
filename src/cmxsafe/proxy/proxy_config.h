/* proxy_config.h - checks a proxy configuration and keeps a copy of it. Starts nothing and opens nothing. */
#pragma once

#include "cmxsafe/core/why.h"
#include "cmxsafe/proxy/context.h"
#include "cmxsafe/proxy/gateways.h"
#include "cmxsafe/proxy/pin.h"

/* The kind of an option: the first column of context_options.h. */
typedef enum {
    CMX_OPTION_PORT,      /* uint16_t, required */
    CMX_OPTION_COUNT,     /* unsigned */
    CMX_OPTION_SECONDS,   /* unsigned */
    CMX_OPTION_DIRECTION, /* cmx_proxy_direction */
    CMX_OPTION_PEER,      /* cmx_proxy_peer */
    CMX_OPTION_SWITCH,    /* bool */
    CMX_OPTION_ID,        /* the context's name; this and the kinds below are const char * */
    CMX_OPTION_NAME,      /* a name; the same maximum length as a context's name */
    CMX_OPTION_HOST,      /* a host or address */
    CMX_OPTION_ADDRESSES, /* addresses and prefixes */
    CMX_OPTION_TEXT
} cmx_option_kind;

/* One row of context_options.h. proxy_config.c also describes the members of struct cmx_gateway with such rows. */
struct cmx_context_option {
    const char *key; /* NULL: the option is the context's name, which has no key */
    uint32_t max;
    uint16_t fallback;
    uint8_t at;   /* offset of the member in struct cmx_context (or cmx_gateway) */
    uint8_t kind; /* cmx_option_kind */
};

enum {
#define CMX_OPTION(kind, member, task, key, min, max, fallback, direction, without, help) CMX_CONTEXT_OPTION_##member,
#include "cmxsafe/proxy/context_options.h"
    CMX_CONTEXT_OPTIONS
};
extern const struct cmx_context_option cmx_context_options[CMX_CONTEXT_OPTIONS];

/* These functions read and write the member that the option o describes, either as text or as a number. owner: the
 * struct that has the member. cmx_context_option_is_text returns true if the member is text. */
bool cmx_context_option_is_text(const struct cmx_context_option *o);
const char *cmx_context_option_text(const struct cmx_context_option *o, const void *owner);
void cmx_context_option_set_text(const struct cmx_context_option *o, void *owner, const char *text);
unsigned cmx_context_option_number(const struct cmx_context_option *o, const void *owner);
void cmx_context_option_set_number(const struct cmx_context_option *o, void *owner, unsigned value);

/* True if the option may have this value. 0 means the default and is valid, except for a port. A negative int,
 * converted to unsigned, is above the maximum of every option. */
bool cmx_context_option_in_range(const struct cmx_context_option *o, unsigned value);

/* A deep copy of a gateway and its contexts with all defaults filled in. It never changes; cmx_proxy_config_free wipes
 * its secrets. */
struct cmx_proxy_config {
    struct cmx_gateway gateway;
    struct cmx_context *contexts;
    size_t n_contexts;
    size_t n_pins;
    struct cmx_pin pins[CMX_PROXY_HOST_KEYS_MAX];
    struct cmx_gateway_list gateways; /* parsed from gateway.host */
};

/* Checks and copies a configuration. why receives the invalid setting; may be NULL. CMX_EINVAL: a setting is invalid;
 * CMX_ENOMEM: no memory. *out is NULL after an error. */
CMX_MUST_USE cmx_err cmx_proxy_config_new(struct cmx_proxy_config **out, const struct cmx_gateway *gateway,
                                          const struct cmx_context *contexts, size_t n_contexts, struct cmx_why *why);
void cmx_proxy_config_free(struct cmx_proxy_config *c); /* NULL is fine */

/* These functions compare an old value a with a new value b. cmx_proxy_config_same_gateway returns false if the change
 * from a to b requires new sessions. cmx_proxy_context_equal returns false if the change requires a restart of the
 * context. */
bool cmx_proxy_config_same_gateway(const struct cmx_proxy_config *a, const struct cmx_proxy_config *b);
bool cmx_proxy_context_equal(const struct cmx_context *a, const struct cmx_context *b);

/* Checks the options peer and allow_from of c, whose local_host must be set. why receives the context and the invalid
 * option; may be NULL. CMX_EINVAL: one of the two options is invalid. */
CMX_MUST_USE cmx_err cmx_proxy_context_check_originators(const struct cmx_context *c, struct cmx_why *why);

/* Writes an address in its canonical form, which for IPv6 is that of RFC 5952: "FD00::0:1" becomes "fd00::1". Gateways
 * compare addresses as text, so always pass them the canonical form. False: host is not a numeric address, and out is
 * unchanged. */
bool cmx_proxy_address_canonical(const char *host, char out[CMX_PROXY_ADDRESS_MAX]);

/* Returns the prefix in a remote_address that begins with CMX_PROXY_FLEET, or NULL. */
const char *cmx_proxy_fleet_prefix(const char *remote_address);

/* Makes a deep copy with addresses in canonical form. After CMX_ENOMEM the caller may only release *out. */
CMX_MUST_USE cmx_err cmx_proxy_context_copy(struct cmx_context *out, const struct cmx_context *c);
void cmx_proxy_context_release(struct cmx_context *c);

/* Returns the name of c's session: c->session, or the context's own name if c->session is NULL. */
const char *cmx_proxy_context_session(const struct cmx_context *c);
