/* page.c - the camera's web page on port 80, without login or encryption, like the pages of many products. The example
 * does not proxy this port, so the page can't be reached through the gateway. */
#include "page.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/http/http.h"
#include "cmxsafe/port/port.h"

static const struct app_door *door;

static const char page[] = "<!doctype html>\n"
                           "<html lang=\"en\">\n"
                           "<meta charset=\"utf-8\">\n"
                           "<meta name=\"viewport\" content=\"width=device-width\">\n"
                           "<title>Camera</title>\n"
                           "<style>body{font:16px/1.5 sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem}"
                           "img{width:100%%;background:#222}</style>\n"
                           "<h1>Camera</h1>\n"
                           "<p>%s, up for %u s.</p>\n"
                           "<img id=\"view\" width=\"640\" height=\"480\" alt=\"What the camera sees now\">\n"
                           "<script>document.getElementById('view').src="
                           "location.protocol+'//'+location.hostname+':81/stream'</script>\n"
                           "</html>\n";

static cmx_err page_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    char body[sizeof page + 64];
    int n = snprintf(body, sizeof body, page, door->board, (unsigned)(cmx_port_now_ms() / 1000));

    (void)ctx;
    (void)state;
    if (n < 0 || (size_t)n >= sizeof body)
        return CMX_EINTERNAL;
    return cmx_http_reply(r, 200, "text/html; charset=utf-8", body, (size_t)n, NULL, 0);
}

static const struct cmx_http_route routes[] = {
    {.method = "GET", .path = "/", .begin = page_begin},
};

cmx_err page_start(const struct app_door *d)
{
    static struct cmx_http_service service = {
        .name = "page",
        .port = APP_PAGE_PORT,
        .routes = routes,
        .n_routes = sizeof routes / sizeof routes[0],
    };
    static struct cmx_http_server *server;

    door = d;
    service.address = d->address;
    return cmx_http_serve(&service, &server);
}
