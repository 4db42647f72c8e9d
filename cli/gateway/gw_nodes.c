/* `cmxsafe gateway nodes` and `leave`: list the gateways of a fleet, and remove one from it. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/gateway/gw_command.h"
#include "gateway/folder/gw_copy.h"
#include "gateway/registry/node.h"
#include "gateway/render/gw_bird.h"

/* Returns BIRD's list of protocols, one of them for each other gateway. NULL: BIRD gave no list. Free with free(). */
static char *ask_bird(const struct gw *g)
{
    char control[GW_PATH_MAX];
    const char *birdc[] = {"timeout", "10",        "birdc", "-s", gw_path(g, GW_BIRD_CONTROL, control),
                           "show",    "protocols", NULL};
    char *text = NULL;
    size_t len = 0;

    if (access(control, F_OK) == 0 && gw_program_output(birdc, &text, &len))
        return text;
    free(text); /* allocated by open_memstream */
    return NULL;
}

/* Returns "here", "linked", "unlinked" (it wrote to the registry lately, but its link is down) or "away". */
static const char *node_state(const struct gw_nodes *nodes, const struct gw_node *n, const char *bird)
{
    char pattern[24];
    const char *line;
    size_t len;

    if (n == nodes->own)
        return "here";
    snprintf(pattern, sizeof pattern, "\nnode%u ", n->number);
    line = bird ? strstr(bird, pattern) : NULL;
    len = line ? strcspn(line + 1, "\n") : 0;
    if (line && memmem(line + 1, len, "Established", 11))
        return "linked";
    return llabs((long long)time(NULL) - n->seen) <= GW_NODE_STALE_S ? "unlinked" : "away";
}

static void print_json(struct cmx_json *j, const struct gw_nodes *nodes, const char *bird,
                       const struct gw_copy_state *copy)
{
    cmx_json_bool(j, "registry_followed", copy->shared && !copy->reason[0]);
    cmx_json_str(j, "registry_reason", copy->reason);
    cmx_json_i64(j, "stale_in", copy->left);
    cmx_json_array(j, "nodes");
    for (size_t i = 0; i < nodes->n; i++) {
        const struct gw_node *n = &nodes->list[i];

        cmx_json_object(j, NULL);
        cmx_json_str(j, "name", n->name);
        cmx_json_u64(j, "number", n->number);
        cmx_json_str(j, "state", node_state(nodes, n, bird));
        cmx_json_i64(j, "sessions", n->sessions);
        cmx_json_i64(j, "seen", n->seen);
        cmx_json_i64(j, "lag", n->seen ? (int64_t)time(NULL) - n->seen : -1);
        cmx_json_str(j, "version", n->version);
        cmx_json_str(j, "address", n->underlay);
        cmx_json_str(j, "ssh", n->ssh);
        cmx_json_str(j, "links", n->link_key[0] ? "wireguard" : "plain");
        cmx_json_end(j);
    }
    cmx_json_end(j);
}

static void print_text(const struct gw_nodes *nodes, const char *bird, const struct gw_copy_state *copy)
{
    char when[GW_TIME_TEXT_MAX];

    if (!nodes->own) {
        printf("this gateway is the only one; to add one, run 'cmxsafe gateway join --from THIS-MACHINE' on another "
               "machine\n");
        return;
    }
    printf("%-16s %-9s %8s  %-21s %-10s %s\n", "NAME", "STATE", "SESSIONS", "SEEN", "VERSION", "ADDRESS");
    for (size_t i = 0; i < nodes->n; i++) {
        const struct gw_node *n = &nodes->list[i];
        printf("%-16s %-9s %8lld  %-21s %-10s %s\n", n->name, node_state(nodes, n, bird), (long long)n->sessions,
               gw_command_time(n->seen, when), n->version, n->underlay);
    }
    if (copy->reason[0])
        printf("warning: this gateway does not follow the shared registry: %s\n", copy->reason);
}

int gw_cmd_nodes(int argc, char **argv)
{
    struct gw_read x = {.what = "listing the gateways failed"};
    const struct cli_option options[] = {GW_DIR_OPTION(x.common), GW_JSON_OPTION(x.common)};
    struct cli_line line =
        CLI_LINE("cmxsafe gateway nodes", "",
                 "Lists the gateways of the fleet: whether this one is linked to them, their sessions, when they last "
                 "wrote to the registry, and their version.",
                 0, 0, options);
    struct gw_copy_state copy;
    struct gw_nodes nodes;
    struct cmx_json *json;
    char *bird;
    cmx_err err;

    if (cli_parse(&line, argc, argv, &x.status) || gw_read_begin(&x))
        return x.status;
    err = gw_nodes_read(&x.g.registry, &x.g.fleet, &nodes, &x.e);
    if (err)
        return gw_read_finish(&x, err);
    gw_copy_look(&x.g, &copy);
    bird = ask_bird(&x.g);
    json = gw_read_object(&x);
    if (json)
        print_json(json, &nodes, bird, &copy);
    else
        print_text(&nodes, bird, &copy);
    free(bird); /* allocated by open_memstream */
    return gw_read_finish(&x, CMX_OK);
}

int gw_cmd_leave(int argc, char **argv)
{
    struct gw_change x = {.what = "leave failed", .outcome = GW_CHANGED};
    const struct cli_option options[] = {GW_CHANGE_OPTIONS(x.common)};
    struct cli_line line = CLI_LINE(
        "cmxsafe gateway leave", "[NAME]",
        "Removes a gateway from the fleet: this one, or the named one, which need not be running. The others remove "
        "their links to it. The removed gateway still has the host keys and its access to the registry: stop it, and "
        "remove its folder and its PostgreSQL account; if it was stolen, also replace the host keys.",
        0, 1, options);
    char own[GW_NAME_MAX];
    const char *name;
    bool failed;

    if (cli_parse(&line, argc, argv, &x.status) || gw_change_begin(&x))
        return x.status;
    if (gw_meta_get(&x.g.registry, "node", own, sizeof own))
        own[0] = '\0';
    name = line.n_operands ? line.operand[0] : own;
    failed = name[0] ? gw_node_remove(&x.g.registry, name, &x.e)
                     : cmx_why_fail(&x.e, CMX_ENOENT, "this gateway is not part of a fleet of several gateways");
    if (!failed && strcmp(name, own) == 0)
        failed = gw_sql_run(&x.g.registry, &x.e, "DELETE FROM meta WHERE key IN ('node', 'link_interface')", "");
    return gw_change_report(&x, failed, "%s: left the fleet", name);
}
