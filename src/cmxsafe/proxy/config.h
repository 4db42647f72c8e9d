/* config.h - checks and owns a proxy configuration. Decides whether it is sound; starts nothing, opens nothing. */
#ifndef CMX_PROXY_CONFIG_H
#define CMX_PROXY_CONFIG_H

#include "cmxsafe/proxy/pin.h"
#include "cmxsafe/proxy/proxy.h"

/* A deep copy of a gateway and its contexts, defaults filled in. Immutable once built; secrets are wiped by free. */
struct cmx_proxy_config {
    struct cmx_gateway gateway;
    struct cmx_context *contexts;
    size_t n_contexts;
    size_t n_pins;
    struct cmx_pin pins[CMX_PROXY_HOST_KEYS_MAX];
};

/* why: one sentence that names the offending setting; may be NULL. CMX_EINVAL, CMX_ENOMEM; *out is then NULL. */
CMX_MUST_USE cmx_err cmx_proxy_config_new(struct cmx_proxy_config **out, const struct cmx_gateway *gateway,
                                          const struct cmx_context *contexts, size_t n_contexts, char *why,
                                          size_t why_cap);
void cmx_proxy_config_free(struct cmx_proxy_config *c); /* NULL is fine */

/* Would a session notice the difference? */
bool cmx_proxy_config_same_gateway(const struct cmx_proxy_config *a, const struct cmx_proxy_config *b);
bool cmx_context_equal(const struct cmx_context *a, const struct cmx_context *b);

/* A deep copy. CMX_ENOMEM: *out is then fit for cmx_context_release alone. */
CMX_MUST_USE cmx_err cmx_context_copy(struct cmx_context *out, const struct cmx_context *c);
void cmx_context_release(struct cmx_context *c);

/* The name of the session that carries c: what it names, or its own. */
const char *cmx_context_session(const struct cmx_context *c);

#endif
