/* `cmxsafe gateway join`: makes this machine one more gateway of a fleet. Over SSH, it runs 'join --give' on a gateway
 * of the fleet; that command prints the settings that all gateways share. Then it runs 'init' with these settings and
 * adds this machine to the registry. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/gateway/gw_command.h"
#include "cli/gateway/gw_gift.h"
#include "cmxsafe/core/text.h"
#include "gateway/folder/gw_copy.h"
#include "gateway/registry/node.h"
#include "gateway/registry/sql.h"
#include "gateway/server/gw_links.h"

#define GIFT_MAX 32768
#define REGISTRY_ID_MAX 64
#define NO_CONNECTION "SSH_CONNECTION is not set; run 'cmxsafe gateway join --from' on the machine that joins"

static const char about[] =
    "Makes this machine one more gateway of the fleet to which the gateway at --from belongs. It fetches the host "
    "keys\n"
    "(devices pin them), the fleet's prefix and domain and the registry's URL over SSH, sets the gateway up as 'init'\n"
    "does, and registers it; the others then set up their links to it. The first join registers the gateway at "
    "--from,\n"
    "too. Needs root here, root or password-less sudo at --from, and a registry in PostgreSQL (docs/SCALE_OUT.md).\n\n"
    "The links are WireGuard. With --interface they are plain, over an interface that only the gateways use; all\n"
    "gateways of a fleet use the same kind.";

struct join_job {
    struct gw_common common;
    const char *from, *name, *address, *interface, *listen, *host, *give;
};

static const char *const host_keys[] = {"hostkey_ed25519", "hostkey_ed25519.pub", "hostkey_ecdsa", "hostkey_ecdsa.pub"};

/* ---- this gateway's row in the registry ---- */

/* Derives a gateway's name from the machine's host name: "GW1.example.org" becomes "gw1". */
static void default_name(char out[GW_NAME_MAX])
{
    char host[GW_HOST_MAX] = "";
    size_t n = 0;

    (void)gethostname(host, sizeof host - 1); /* if there is no host name, --name is needed */
    for (const char *p = host; *p && *p != '.' && n + 1 < GW_NAME_MAX; p++)
        out[n++] = (char)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
    out[n] = '\0';
}

/* Two machines with the same name would replace each other's links. A machine that joins again is recognised by the key
 * of its former links or, on plain links, by its address. */
static cmx_err check_name_free(struct gw *g, const struct gw_node *n, struct cmx_why *e)
{
    char own[GW_NAME_MAX];
    cmx_err err = gw_meta_get(&g->registry, "node", own, sizeof own);

    if (err && err != CMX_ENOENT)
        return cmx_why_fail(e, err, "the name of this gateway can't be read");
    if (!err)
        return strcmp(own, n->name) == 0
                   ? CMX_OK
                   : cmx_why_fail(e, CMX_EEXIST,
                                  "this machine is already the fleet's gateway '%s'; repeat the command without "
                                  "--name, or run 'cmxsafe gateway leave' first",
                                  own);
    err = gw_sql_number(&g->registry, NULL, e,
                        "SELECT 1 FROM node WHERE name = ?1 AND (link_key <> ?2 OR (?2 = '' AND underlay <> ?3))",
                        "ttt", n->name, n->link_key, n->underlay);
    if (err)
        return err == CMX_ENOENT ? CMX_OK : err;
    return cmx_why_fail(e, CMX_EEXIST,
                        "the fleet has a gateway '%s' already; give another --name, or if that gateway is lost, run "
                        "'cmxsafe gateway leave %s' on another gateway first",
                        n->name, n->name);
}

/* Registers this gateway, inside the caller's transaction. False: e has the reason. */
static bool register_self(struct gw *g, const struct join_job *job, const char *address, const char *ssh,
                          struct cmx_why *e)
{
    struct gw_node n = {0};

    if (gw_meta_get(&g->registry, "node", n.name, sizeof n.name))
        default_name(n.name);
    if ((job->name && cmx_text_copy(n.name, sizeof n.name, job->name)) ||
        cmx_text_copy(n.underlay, sizeof n.underlay, address) || cmx_text_copy(n.ssh, sizeof n.ssh, ssh)) {
        cmx_why_set(e, "the value of --name, --address or --from is too long");
        return false;
    }
    return (job->interface || !gw_links_key(g, n.link_key, e)) && !check_name_free(g, &n, e) &&
           !gw_node_put(&g->registry, &n, e) && !gw_meta_set(&g->registry, "node", n.name, e) &&
           !(job->interface ? gw_meta_set(&g->registry, "link_interface", job->interface, e)
                            : gw_sql_run(&g->registry, e, "DELETE FROM meta WHERE key = 'link_interface'", ""));
}

static void start_unit(const char *unit)
{
    const char *start[] = {"systemctl", "start", unit, NULL};

    if (access("/run/systemd/system", F_OK) == 0)
        (void)gw_program_run(false, start); /* systemctl prints what failed */
}

/* ---- 'join --give', on a gateway of the fleet ---- */

/* Copies field n, counted from 0, of SSH_CONNECTION: "CLIENT PORT SERVER PORT" (ssh(1)). */
static bool connection_field(const char *text, unsigned n, char out[GW_ADDRESS_MAX])
{
    while (n && (text = strchr(text, ' ')) != NULL) {
        text++;
        n--;
    }
    snprintf(out, GW_ADDRESS_MAX, "%.*s", text ? (int)strcspn(text, " ") : 0, text ? text : "");
    return out[0] != '\0';
}

static cmx_err give_file(const struct gw *g, const char *name, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    cmx_err err = gw_file_read(gw_path(g, name, path), &text, &len, e);

    if (!err)
        printf("%s\n%s%s" GW_GIFT_FILE_END, name, text, len && text[len - 1] == '\n' ? "" : "\n");
    free(text); /* allocated by open_memstream */
    return err;
}

static cmx_err give_all(struct gw *g, const char *connection, struct cmx_why *e)
{
    char url[GW_REGISTRY_URL_MAX];
    char client[GW_ADDRESS_MAX];
    char own[GW_NAME_MAX];
    char interface[GW_NAME_MAX] = "";
    char id[REGISTRY_ID_MAX];
    cmx_err err = gw_meta_get(&g->registry, "registry_id", id, sizeof id);

    if (err)
        return cmx_why_fail(e, err, "the id of its registry can't be read");
    if (!connection_field(connection, 0, client))
        return cmx_why_fail(e, CMX_EINVAL, NO_CONNECTION);
    if (gw_meta_get(&g->registry, "link_interface", interface, sizeof interface))
        interface[0] = '\0';
    err = gw_meta_get(&g->registry, "node", own, sizeof own);
    printf("fleet %s\ndomain %s\nregistry %s\nid %s\nclient %s\nnode %s\nlinks %s\n", g->fleet_text, g->domain,
           gw_copy_url(g, url), id, client, own, interface[0] ? "plain" : "wireguard");
    for (size_t i = 0; !err && i < GW_COUNT(host_keys); i++)
        err = give_file(g, host_keys[i], e);
    return err;
}

/* Checks that this gateway can be one of several in a fleet. CMX_EINVAL: it can't; e has the reason. */
static cmx_err check_shared(struct gw *g, struct cmx_why *e)
{
    char url[GW_REGISTRY_URL_MAX];

    if (g->user || g->simple)
        return cmx_why_fail(e, CMX_EINVAL, "only a system gateway can belong to a fleet of several gateways");
    if (!gw_copy_url(g, url)[0])
        return cmx_why_fail(
            e, CMX_EINVAL,
            "its registry is not shared; move it to PostgreSQL first, with 'cmxsafe gateway migrate URL'");
    return CMX_OK;
}

/* The first gateway of a fleet registers itself when the second one joins. */
static int give_registered(const struct join_job *job)
{
    struct gw_change x = {.what = "this gateway can't be joined", .common = job->common};
    char address[GW_ADDRESS_MAX] = "";
    bool failed;

    if (gw_change_begin(&x))
        return x.status;
    failed = check_shared(&x.g, &x.e);
    if (!failed && !connection_field(job->give, 2, address))
        failed = cmx_why_fail(&x.e, CMX_EINVAL, NO_CONNECTION);
    return gw_change_finish(&x, failed || !register_self(&x.g, job, job->address ? job->address : address, "", &x.e));
}

static int give(const struct join_job *job)
{
    struct cmx_why e = {0};
    struct gw g;
    char own[GW_NAME_MAX];
    bool known;
    cmx_err err;
    int status = gw_command_open(&g, &job->common, false);

    if (status)
        return status;
    known = gw_meta_get(&g.registry, "node", own, sizeof own) == CMX_OK;
    gw_folder_close(&g);
    if (!known) {
        status = give_registered(job);
        start_unit("cmxsafe-gateway-bird.service");
    }
    if (status || gw_command_open(&g, &job->common, false))
        return CLI_FAILED;
    err = give_all(&g, job->give, &e);
    gw_folder_close(&g);
    return err ? gw_fail("this gateway can't be joined", &e) : CLI_OK;
}

/* ---- 'join', on the machine that joins ---- */

/* Runs 'join --give' on the other gateway, and copies its output to gift. */
static cmx_err receive(const struct join_job *job, char gift[GIFT_MAX], struct cmx_why *e)
{
    char remote[GW_PATH_MAX];
    const char *argv[] = {"ssh", "-T", "-o", "BatchMode=yes", job->from, remote, NULL};
    char *text = NULL;
    size_t len = 0;
    bool ok;

    snprintf(
        remote, sizeof remote,
        "set -- cmxsafe gateway join --give \"$SSH_CONNECTION\"%s%s; [ \"$(id -u)\" = 0 ] || set -- sudo -n \"$@\"; "
        "exec \"$@\"",
        job->interface ? " --interface " : "", job->interface ? job->interface : "");
    ok = gw_program_output_foreign(argv, &text, &len) && strlen(text) == len;
    if (!ok || len >= GIFT_MAX) {
        free(text); /* allocated by open_memstream */
        return cmx_why_fail(e, CMX_EIO,
                            "%s sent no settings; see above, and check that 'ssh %s' works without a password",
                            job->from, job->from);
    }
    memcpy(gift, text, len);
    gift[len] = '\0';
    explicit_bzero(text, len); /* the text contains private host keys */
    free(text);                /* allocated by open_memstream */
    return CMX_OK;
}

/* Writes a host key. Leaves a file with the same key untouched, because the sshd of a running gateway reads it.
 * set_up: this gateway is set up already; fails if its host key differs. */
static cmx_err keep_key(const struct gw *g, const char *name, const char *key, size_t len, bool set_up,
                        struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    char *own = NULL;
    size_t own_len = 0;
    cmx_err err = gw_file_read(gw_path(g, name, path), &own, &own_len, e);
    bool same = !err && own_len == len && memcmp(own, key, len) == 0;

    free(own); /* allocated by open_memstream */
    if (err || same)
        return err;
    if (set_up && own_len)
        return cmx_why_fail(e, CMX_EEXIST, "%s differs from the fleet's; to use the fleet's, move %.200s away first",
                            name, path);
    return gw_file_write(path, key, len, strstr(name, ".pub") ? 0644 : 0600, e);
}

static cmx_err keep_keys(const struct gw *g, const char *gift, bool set_up, struct cmx_why *e)
{
    cmx_err err = gw_file_mkdir(g->dir, 0755, e);

    for (size_t i = 0; !err && i < GW_COUNT(host_keys); i++) {
        size_t len = 0;
        const char *key = gw_gift_file(gift, host_keys[i], &len);

        if (!key)
            return cmx_why_fail(e, CMX_EPROTO, "the other gateway did not send its %s", host_keys[i]);
        err = keep_key(g, host_keys[i], key, len, set_up, e);
    }
    return err;
}

/* Removes the files that a failed join has stored, so that the join can be repeated. */
static void forget(const struct gw *g)
{
    static const char *const files[] = {"registry.db", GW_COPY_STATE_FILE};
    char path[GW_PATH_MAX];

    for (size_t i = 0; i < GW_COUNT(files); i++)
        (void)unlink(gw_path(g, files[i], path));
    for (size_t i = 0; i < GW_COUNT(host_keys); i++)
        (void)unlink(gw_path(g, host_keys[i], path));
}

/* Checks that this machine may join. A join can be repeated: after an interruption, or to replace a lost link.key.
 * *set_up: init has already stored the settings of this fleet. Fails if this machine has a gateway that is in another
 * fleet or in none. */
static cmx_err check_repeated(struct gw *g, const char *gift, bool *set_up, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    char mode[16];
    char url[GW_REGISTRY_URL_MAX];
    char id[REGISTRY_ID_MAX];
    char theirs[REGISTRY_ID_MAX];
    bool same;
    cmx_err err;

    *set_up = false;
    if (access(gw_path(g, "registry.db", path), F_OK) != 0)
        return CMX_OK;
    err = gw_registry_open(&g->registry, path, true, e);
    if (err)
        return err;
    *set_up = gw_meta_get(&g->registry, "mode", mode, sizeof mode) == CMX_OK;
    same = !*set_up || (strcmp(mode, "system") == 0 && gw_copy_url(g, url)[0] &&
                        gw_meta_get(&g->registry, "registry_id", id, sizeof id) == CMX_OK &&
                        gw_gift_value(gift, "id", theirs, sizeof theirs) && strcmp(id, theirs) == 0);
    gw_registry_close(&g->registry);
    return same ? CMX_OK
                : cmx_why_fail(e, CMX_EEXIST,
                               "this machine already has a gateway, which is not in that fleet; move its folder away "
                               "(if it is in another fleet, run 'cmxsafe gateway leave' first)");
}

/* Runs 'init'. set_up: this gateway is set up already; keep the URL of its registry. */
static bool run_init(const struct gw *g, const struct join_job *job, const char *gift, bool set_up)
{
    char fleet[GW_ADDRESS_MAX + 4];
    char domain[GW_NAME_MAX];
    char url[GW_REGISTRY_URL_MAX];
    const char *argv[20] = {"/proc/self/exe", "gateway", "init",       "--dir", g->dir, "--fleet", fleet,
                            "--domain",       domain,    "--registry", url};
    size_t n = set_up ? 9 : 11;

    if (!gw_gift_value(gift, "fleet", fleet, sizeof fleet) || !gw_gift_value(gift, "domain", domain, sizeof domain) ||
        !gw_gift_value(gift, "registry", url, sizeof url))
        return false;
    if (job->listen) {
        argv[n++] = "--listen";
        argv[n++] = job->listen;
    }
    if (job->host) {
        argv[n++] = "--host";
        argv[n++] = job->host;
    }
    argv[n] = NULL;
    return gw_program_run(false, argv);
}

static int join(const struct join_job *job)
{
    static char gift[GIFT_MAX];
    struct gw_change x = {.what = "join failed", .common = job->common};
    struct cmx_why e = {0};
    struct gw g;
    char address[GW_ADDRESS_MAX];
    char links[16];
    char key[GW_LINK_KEY_MAX];
    bool set_up = false;
    bool failed =
        gw_folder_find(&g, job->common.dir, &e) || receive(job, gift, &e) || check_repeated(&g, gift, &set_up, &e);

    if (!failed && gw_gift_value(gift, "links", links, sizeof links) &&
        (strcmp(links, "plain") == 0) != (job->interface != NULL))
        failed = cmx_why_fail(&e, CMX_EINVAL, "the fleet's links are %s; %s", links,
                              job->interface ? "join without --interface" : "name their interface with --interface");
    failed = failed || keep_keys(&g, gift, set_up, &e);
    if (!failed && !gw_gift_value(gift, "client", address, sizeof address))
        failed = cmx_why_fail(&e, CMX_EPROTO, "the other gateway did not report this machine's address");
    if (!failed && !job->interface)
        failed = gw_links_key(&g, key, &e); /* init needs the key's file to set up the links */
    if (!failed && !run_init(&g, job, gift, set_up))
        failed = cmx_why_fail(&e, CMX_EIO, "this gateway could not be set up; see above");
    explicit_bzero(gift, sizeof gift);
    if (failed)
        return gw_fail("join failed", &e);
    failed = gw_change_begin(&x) || !register_self(&x.g, job, job->address ? job->address : address, job->from, &x.e);
    if (!x.status)
        x.status = gw_change_finish(&x, failed);
    if (failed && !set_up)
        forget(&g);
    if (x.status)
        return CLI_FAILED;
    printf("joined; see 'cmxsafe gateway nodes'\n");
    return CLI_OK;
}

int gw_cmd_join(int argc, char **argv)
{
    struct join_job job = {0};
    const struct cli_option options[] = {
        GW_DIR_OPTION(job.common),
        CLI_TEXT("from", "[USER@]HOST", "a gateway of the fleet; ssh connects to it", &job.from),
        CLI_TEXT("name", "NAME", "the name of this gateway (default: the machine's name)", &job.name),
        CLI_TEXT("address", "ADDRESS",
                 "this gateway's address for the other gateways' links (default: this machine's address in the SSH "
                 "connection)",
                 &job.address),
        CLI_TEXT("interface", "NAME", "plain links over this interface, instead of WireGuard", &job.interface),
        CLI_TEXT("listen", "[ADDRESS:]PORT", "where devices connect (default 2222)", &job.listen),
        CLI_TEXT("host", "NAME", "the name by which devices connect to this gateway (default: the host name)",
                 &job.host),
        CLI_TEXT("give", "CONNECTION", "internal: join runs this on the other gateway", &job.give, .or_empty = true),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway join", "", about, 0, 0, options);
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (!job.from == !job.give)
        return cli_usage("cmxsafe gateway join", "give --from");
    if (job.interface &&
        (strlen(job.interface) > 15 || strspn(job.interface, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN"
                                                             "OPQRSTUVWXYZ0123456789-_.@") != strlen(job.interface)))
        return cli_usage("cmxsafe gateway join", "'%s' is not an interface", job.interface);
    if (job.from && job.from[0] == '-')
        return cli_usage("cmxsafe gateway join", "'%s' is not a host", job.from);
    if (geteuid() != 0)
        return cli_fail("join failed", "it needs root", "use sudo");
    return job.give ? give(&job) : join(&job);
}
