/* sketch_run.c - serves the sketch's three ports and runs the sketch against a real gateway. Passes the settings that
 * the settings.h of CMXsafe-ESP32 lacks (host key, client key) as stored settings.
 *
 * usage: sketch_c|sketch_cpp PIN KEY_FILE USER [shared] */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/device/device.h"
#include "cmxsafe/http/http.h"

void CMX_SKETCH(void);

static cmx_err hello(struct cmx_http_request *r, void *ctx, void **state)
{
    (void)state;
    return cmx_http_reply_text(r, 200, "service on %s\n", (const char *)ctx);
}

static const struct cmx_http_route routes[] = {{.method = "GET", .path = "/", .begin = hello}};
static char names[3][8] = {"81", "8989", "8888"};
static struct cmx_http_service services[3] = {
    {.name = "stream", .port = 81, .routes = routes, .n_routes = 1, .ctx = names[0]},
    {.name = "ota", .port = 8989, .routes = routes, .n_routes = 1, .ctx = names[1]},
    {.name = "attest", .port = 8888, .routes = routes, .n_routes = 1, .ctx = names[2]},
};

int main(int argc, char **argv)
{
    static struct cmx_http_server *servers[3];
    static const char *pins[1];
    static struct cmx_settings stored;
    sigset_t stop;
    int sig;

    if (argc < 4)
        return 2;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    pins[0] = argv[1];
    stored.host_keys = pins;
    stored.n_host_keys = 1;
    stored.client_key_file = argv[2];
    stored.username = argv[3];
    stored.remote_address = "127.0.0.2"; /* the gateway listens here, because 127.0.0.1:81 is the device's service */
    stored.multichannel = argc > 4 && strcmp(argv[4], "shared") == 0;
    cmx_device_override(&stored, NULL);
    for (int i = 0; i < 3; i++)
        if (cmx_http_serve(&services[i], &servers[i]) != CMX_OK)
            return 1;
    CMX_SKETCH();
    sigwait(&stop, &sig);
    cmx_device_stop();
    for (int i = 0; i < 3; i++)
        cmx_http_stop(servers[i]);
    return 0;
}
