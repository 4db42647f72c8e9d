/* Parses any bytes as an agent's configuration. The parser must return a configuration or report errors, never both,
 * and must free its memory. */
#include <stdlib.h>

#include "agent/config/agent_config.h"
#include "cmxsafe/core/mem.h"
#include "port/linux/ini_file.h"

static unsigned lines;

static void count(void *arg, const char *text)
{
    (void)arg;
    if (!text[0])
        abort();
    lines++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_report report = {.file = "f", .line = count};
    struct cmx_context contexts[CMX_PROXY_CONTEXTS_MAX];
    struct agent_config *c = NULL;
    struct cmx_mem_stats before, after;
    struct cmx_gateway gateway;
    cmx_err err;

    if (size > CMX_INI_FILE_MAX)
        return 0;
    lines = 0;
    cmx_mem_stats(&before);
    err = config_parse((const char *)data, size, &report, &c);
    if ((err == CMX_OK) != (c != NULL) || (err == CMX_OK) != (lines == 0) || lines > CONFIG_ERRORS_MAX)
        abort();
    if (c) {
        config_engine(c, &gateway, contexts);
        if (!gateway.host || !gateway.user || c->n_contexts == 0 || c->n_contexts > CMX_PROXY_CONTEXTS_MAX)
            abort();
        if (!c->gateway.host_key.n && !c->gateway.known_hosts_file) /* a valid configuration must have a pin */
            abort();
        for (size_t i = 0; i < c->n_contexts; i++)
            if (!contexts[i].name[0] || !contexts[i].local_port || !contexts[i].remote_port)
                abort();
    }
    config_free(c);
    cmx_mem_stats(&after);
    if (after.live_blocks != before.live_blocks)
        abort();
    return 0;
}
