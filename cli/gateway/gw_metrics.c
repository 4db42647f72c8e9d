#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/gateway/gw_metrics_text.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/http/http.h"
#include "port/linux/linux_http.h"

static const char about[] =
    "Prints metrics in Prometheus' text form (version 0.0.4), writes them atomically to a file (for node_exporter's\n"
    "textfile collector), or serves them over HTTP on a UNIX socket until SIGTERM or Ctrl-C. A gateway that is not "
    "running\n"
    "has a metric too (cmxsafe_gateway_up 0).";

/* Writes the metrics to *text; free it with free(). *readable: whether the registry could be read; if not, e has the
 * reason. */
static cmx_err make_text(const char *dir, char **text, size_t *len, bool *readable, struct cmx_why *e)
{
    struct gw *g = cmx_mem_alloc(sizeof *g);
    FILE *f = open_memstream(text, len);

    *readable = false;
    if (g && f)
        *readable = gw_metrics_put(f, g, dir, e);
    cmx_mem_free(g);
    return gw_file_end_text(f, g ? CMX_OK : CMX_ENOMEM, e);
}

static int print_once(const char *dir, const char *file)
{
    struct cmx_why e = {0};
    char *text = NULL;
    size_t len = 0;
    bool readable;
    struct stat st;
    cmx_err err = make_text(dir, &text, &len, &readable, &e);

    /* The new file takes the place of the old one, which must not be a device, a pipe or a link. A link is not
     * followed, because root may write to a folder of another account. */
    if (!err && file && lstat(file, &st) == 0 && !S_ISREG(st.st_mode))
        err = cmx_why_fail(&e, CMX_EINVAL, "%s is not a regular file; give the path of one, or leave out --file", file);
    if (!err && file)
        err = gw_file_write(file, text, len, 0644, &e);
    else if (!err)
        fputs(text, stdout);
    free(text); /* allocated by open_memstream */
    return err || !readable ? gw_fail("metrics failed", &e) : CLI_OK;
}

/* ---- serving the metrics over HTTP ---- */

static cmx_err answer_metrics(struct cmx_http_request *r, void *ctx, void **state)
{
    struct cmx_why e = {0};
    char *text = NULL;
    size_t len = 0;
    bool readable;
    cmx_err err = make_text(ctx, &text, &len, &readable, &e);

    (void)state;
    if (!err)
        err = cmx_http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", text, len, NULL, 0);
    free(text); /* allocated by open_memstream */
    return err;
}

static int serve_until_ended(const char *dir, const char *path)
{
    static const struct cmx_http_route routes[] = {{.method = "GET", .path = "/metrics", .begin = answer_metrics}};
    struct cmx_http_service service = {
        .name = "metrics", .address = path, .routes = routes, .n_routes = GW_COUNT(routes), .ctx = (void *)dir};
    struct cmx_http_server *server;
    struct cmx_why why = {0};
    sigset_t set;
    int ended;
    cmx_err err;

    if (path[0] != '/')
        return cli_usage("cmxsafe gateway metrics", "--listen takes the absolute path of a UNIX socket");
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL); /* the threads that start later inherit the mask */
    if (cmx_linux_http_load(&why))
        return gw_fail("metrics failed", &why);
    err = cmx_http_serve(&service, &server);
    if (err) {
        err = cmx_why_fail(&why, err, "can't listen at %s (%s)", path, cmx_err_text(err));
        return gw_fail("metrics failed", &why);
    }
    sigwait(&set, &ended);
    cmx_http_stop(server);
    unlink(path);
    return CLI_OK;
}

int gw_cmd_metrics(int argc, char **argv)
{
    struct gw_common c = {0};
    const char *file = NULL;
    const char *listen = NULL;
    const struct cli_option options[] = {
        GW_DIR_OPTION(c),
        CLI_TEXT("file", "PATH", "write the metrics to PATH atomically; -: to standard output", &file),
        CLI_TEXT("listen", "PATH", "create a UNIX socket at PATH and serve the metrics there as /metrics", &listen),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway metrics", "", about, 0, 0, options);
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (file && listen)
        return cli_usage("cmxsafe gateway metrics", "give --file or --listen, not both");
    if (file && strcmp(file, "-") == 0)
        file = NULL;
    return listen ? serve_until_ended(c.dir, listen) : print_once(c.dir, file);
}
