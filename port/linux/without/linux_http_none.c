/* linux_http_none.c - for a build without libmicrohttpd: no service starts, so no route ever runs. */
#include "cmxsafe/core/log.h"
#include "port/linux/linux_http.h"

cmx_err cmx_linux_http_load(struct cmx_why *why)
{
    return cmx_why_fail(why, CMX_ENOTSUP, "HTTP services cannot run: this program was built without libmicrohttpd");
}

cmx_err cmx_http_serve(const struct cmx_http_service *service, struct cmx_http_server **out)
{
    struct cmx_why why = {""};
    cmx_err err = cmx_linux_http_load(&why);

    *out = NULL;
    cmx_log(CMX_LOG_ERROR, "http", "%s: %s", service->name, why.text);
    return err;
}

uint16_t cmx_http_port(const struct cmx_http_server *server)
{
    (void)server;
    return 0;
}

void cmx_http_stop(struct cmx_http_server *server)
{
    (void)server;
}

const char *cmx_http_query(const struct cmx_http_request *r)
{
    (void)r;
    return "";
}

const char *cmx_http_header_get(const struct cmx_http_request *r, const char *name)
{
    (void)r;
    (void)name;
    return NULL;
}

void cmx_http_client(const struct cmx_http_request *r, char out[CMX_IP_TEXT_MAX])
{
    (void)r;
    out[0] = 0;
}

bool cmx_http_content_length(const struct cmx_http_request *r, uint32_t *len)
{
    (void)r;
    (void)len;
    return false;
}

bool cmx_http_client_gone(const struct cmx_http_request *r)
{
    (void)r;
    return true;
}

cmx_err cmx_http_reply(struct cmx_http_request *r, int status, const char *content_type, const void *body, size_t len,
                       const struct cmx_http_header *headers, size_t n_headers)
{
    (void)r;
    (void)status;
    (void)content_type;
    (void)body;
    (void)len;
    (void)headers;
    (void)n_headers;
    return CMX_ENOTSUP;
}

cmx_err cmx_http_reply_stream(struct cmx_http_request *r, int status, const char *content_type, cmx_http_next_fn next,
                              cmx_http_done_fn done, void *state)
{
    (void)next;
    done(state);
    return cmx_http_reply(r, status, content_type, NULL, 0, NULL, 0);
}
