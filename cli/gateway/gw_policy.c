/* `cmxsafe gateway policy`: sets and shows which devices must prove their firmware before they can be reached. */
#include <string.h>

#include "cli/gateway/gw_command.h"
#include "cli/gateway/gw_store.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "gateway/registry/grant.h"

static const char about_set[] =
    "Requires DEVICE, or each device of @GROUP, to prove with signed evidence that its firmware matches one of "
    "the\nmanifests: after every login, and again before --max-age has passed. With --enforce yes, a device "
    "is\nquarantined until it has done so: no grant reaches it, except a break-glass grant. The command replaces the "
    "target's former policy.\n"
    "The gateway keeps copies of the manifests and of the files that they name.";
static const char about_exempt[] =
    "Exempts a device from its policies because it can't attest. 'list', 'show' and 'status' show the exemption.\n"
    "--remove ends it.";

static cmx_err read_manifests(struct gw *g, bool dry_run, struct gw_policy *p, const struct cli_list *paths,
                              struct cmx_why *e)
{
    cmx_err err = CMX_OK;

    if (paths->n > GW_POLICY_MANIFESTS_MAX)
        return cmx_why_fail(e, CMX_EINVAL, "more than %d manifests", GW_POLICY_MANIFESTS_MAX);
    if (!dry_run)
        gw_store_collect(g);
    for (size_t i = 0; !err && i < paths->n; i++) {
        struct gw_manifest_file *m = &p->manifests[p->n_manifests++];

        err = gw_manifest_file_find(m, paths->item[i], e);
        if (!err)
            err = gw_store_manifest(g, m->path, !dry_run, m->digest, e);
    }
    return err;
}

/* Parses a policy's target: "@cameras", a device's name, or a group's name if no device has that name. */
static cmx_err read_target(struct gw *g, const char *text, struct gw_policy *p, struct cmx_why *e)
{
    struct gw_device d;
    cmx_err err = text[0] == '@' ? CMX_ENOENT : gw_device_get(&g->registry, text, &d, NULL);

    p->is_device = !err;
    text = p->is_device ? d.name : text + (text[0] == '@'); /* the device's name as registered, not as typed */
    if (cmx_text_copy(p->target, sizeof p->target, text))
        return cmx_why_fail(e, CMX_EINVAL, "the name is too long");
    return err && err != CMX_ENOENT ? err : gw_registry_name_check(p->target, e);
}

/* Counts the devices to which the policy applies. Fails if a name without "@" belongs to no device and to no group. The
 * name is then probably a typing error, which would leave the intended devices reachable without evidence. */
static cmx_err count_devices(struct gw *g, const char *text, const struct gw_policy *p, size_t *n, struct cmx_why *e)
{
    cmx_err err;

    *n = 1;
    if (p->is_device)
        return CMX_OK;
    err = gw_command_count_group(g, p->target, n, e);
    if (err || *n || text[0] == '@')
        return err;
    return cmx_why_fail(
        e, CMX_ENOENT,
        "no device and no group of devices has the name '%s'; see 'cmxsafe gateway list', or give '@%s' "
        "for a group that has no devices yet",
        p->target, p->target);
}

static int policy_set(int argc, char **argv)
{
    static const char *const yes_no[] = {"yes", "no", NULL};
    struct gw_change x = {.what = "the policy was not set"};
    const char *age = "1h";
    const char *enforce = NULL;
    struct cli_list manifests = {0};
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(x.common),
        CLI_LIST("manifest", "FILE", "reference values of accepted firmware; repeat the option for several manifests",
                 &manifests, .required = true),
        CLI_TEXT("max-age", "LENGTH", "how long evidence is valid: 10m, 1h, 1d", &age),
        CLI_TEXT("enforce", "yes|no", "yes: quarantine a device until it has attested; no: only report", &enforce,
                 .required = true, .choices = yes_no),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway policy set", "DEVICE|@GROUP", about_set, 1, 1, options);
    struct gw_policy *p;
    size_t devices = 1;
    bool failed;

    if (cli_parse(&line, argc, argv, &x.status))
        return x.status;
    p = cmx_mem_alloc(sizeof *p);
    if (!p)
        return cli_fail("the policy was not set", "out of memory", NULL);
    if (!gw_change_begin(&x)) {
        p->enforce = strcmp(enforce, "yes") == 0;
        failed = gw_term_parse_length(age, &p->max_age_s, &x.e);
        if (!failed && x.g.simple)
            failed =
                cmx_why_fail(&x.e, CMX_ENOTSUP, "a small deployment has no policies; its ports are on the loopback");
        failed = failed || read_target(&x.g, line.operand[0], p, &x.e) ||
                 count_devices(&x.g, line.operand[0], p, &devices, &x.e) ||
                 read_manifests(&x.g, x.common.dry_run, p, &manifests, &x.e) ||
                 gw_policy_set(&x.g.registry, p, &x.outcome, &x.e);
        x.status =
            gw_change_report(&x, failed, "%s: %s (%s)", line.operand[0],
                             p->enforce ? "must attest, or is quarantined" : "must attest; failures are only reported",
                             gw_outcome_text(x.outcome));
        if (!x.status && devices == 0)
            gw_command_note_empty(p->target);
    }
    cmx_mem_free(p);
    return x.status;
}

static int policy_remove(int argc, char **argv)
{
    struct gw_change x = {.what = "the policy was not removed"};
    const struct cli_option options[] = {GW_CHANGE_OPTIONS(x.common)};
    struct cli_line line = CLI_LINE(
        "cmxsafe gateway policy remove", "DEVICE|@GROUP",
        "Removes a policy. Its devices then need no evidence, unless they have another policy.", 1, 1, options);
    struct gw_policy p = {0};
    size_t devices;
    bool failed;

    if (cli_parse(&line, argc, argv, &x.status) || gw_change_begin(&x))
        return x.status;
    failed = read_target(&x.g, line.operand[0], &p, &x.e) ||
             gw_policy_remove(&x.g.registry, p.target, p.is_device, &x.outcome, &x.e) ||
             (x.outcome == GW_UNCHANGED && count_devices(&x.g, line.operand[0], &p, &devices, &x.e));
    return gw_change_report(&x, failed, "%s: has no policy (%s)", line.operand[0], gw_outcome_text(x.outcome));
}

static int policy_exempt(int argc, char **argv)
{
    struct gw_change x = {.what = "the exemption failed"};
    bool remove = false;
    const char *why = NULL;
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(x.common),
        CLI_TEXT("why", "REASON", "the reason, for the audit trail", &why),
        CLI_FLAG("remove", "end the exemption", &remove),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway policy exempt", "DEVICE", about_exempt, 1, 1, options);
    cmx_err err;

    if (cli_parse(&line, argc, argv, &x.status))
        return x.status;
    if (!remove && !(why && why[0]))
        return cli_usage("cmxsafe gateway policy exempt", "give the reason with --why");
    if (gw_change_begin(&x))
        return x.status;
    err = gw_policy_exempt(&x.g.registry, line.operand[0], !remove, why, &x.outcome, &x.e);
    return gw_change_report(&x, err, "%s: %s (%s)", line.operand[0],
                            remove ? "is bound by its policies" : "is EXEMPT from its policies",
                            gw_outcome_text(x.outcome));
}

/* ---- the commands list and show ---- */

static void policy_json(struct cmx_json *j, const struct gw_policy *p)
{
    cmx_json_object(j, NULL);
    cmx_json_str(j, p->is_device ? "device" : "group", p->target);
    cmx_json_i64(j, "max_age", p->max_age_s);
    cmx_json_bool(j, "enforce", p->enforce);
    cmx_json_array(j, "manifests");
    for (size_t i = 0; i < p->n_manifests; i++)
        cmx_json_str(j, NULL, p->manifests[i].path);
    cmx_json_end(j);
    cmx_json_end(j);
}

static cmx_err print_policy(void *arg, const struct gw_policy *p)
{
    struct cmx_json *json = arg; /* NULL: the output is text */
    char age[GW_LENGTH_TEXT_MAX];

    if (json) {
        policy_json(json, p);
        return CMX_OK;
    }
    gw_term_length_text(p->max_age_s, age);
    printf("%s%-24s %-9s max-age %s\n", p->is_device ? "" : "@", p->target, p->enforce ? "enforced" : "reported", age);
    for (size_t i = 0; i < p->n_manifests; i++)
        printf("    %s\n", p->manifests[i].path);
    return CMX_OK;
}

const char *gw_standing_text(const struct gw_standing *s)
{
    if (s->exempt)
        return "EXEMPT";
    if (!s->policy)
        return "-";
    if (s->quarantined)
        return "QUARANTINED";
    return s->left ? "trusted" : "untrusted";
}

static cmx_err print_standing(void *arg, const struct gw_standing *s)
{
    struct cmx_json *json = arg; /* NULL: the output is text */
    char left[GW_LENGTH_TEXT_MAX] = "-";

    if (json) {
        cmx_json_object(json, NULL);
        cmx_json_str(json, "device", s->name);
        gw_policy_put_standing(json, s);
        cmx_json_end(json);
        return CMX_OK;
    }
    if (s->left)
        gw_term_length_text(s->left, left);
    printf("%-24s %-12s %-9s %s\n", s->name, gw_standing_text(s), left, s->reason);
    return CMX_OK;
}

void gw_policy_put_standing(struct cmx_json *j, const struct gw_standing *s)
{
    cmx_json_str(j, "standing", gw_standing_text(s));
    cmx_json_bool(j, "quarantined", s->quarantined);
    cmx_json_bool(j, "exempt", s->exempt);
    cmx_json_i64(j, "evidence_at", s->at);
    cmx_json_i64(j, "evidence_left", s->left);
    cmx_json_str(j, "reason", s->reason);
}

static int policy_list(int argc, char **argv)
{
    struct gw_read x = {.what = "the policies can't be listed"};
    const struct cli_option options[] = {GW_DIR_OPTION(x.common), GW_JSON_OPTION(x.common)};
    struct cli_line line = CLI_LINE("cmxsafe gateway policy list", "", "Lists the policies.", 0, 0, options);

    if (cli_parse(&line, argc, argv, &x.status) || gw_read_begin(&x))
        return x.status;
    return gw_read_finish(&x, gw_policy_each(&x.g.registry, print_policy, gw_read_array(&x), &x.e));
}

static int policy_show(int argc, char **argv)
{
    struct gw_read x = {.what = "the policies can't be shown"};
    const struct cli_option options[] = {GW_DIR_OPTION(x.common), GW_JSON_OPTION(x.common)};
    struct cli_line line = CLI_LINE(
        "cmxsafe gateway policy show", "",
        "Shows each device that has a policy: whether it is trusted, and for how long or why not.", 0, 0, options);

    if (cli_parse(&line, argc, argv, &x.status) || gw_read_begin(&x))
        return x.status;
    return gw_read_finish(&x, gw_standing_each(&x.g.registry, print_standing, gw_read_array(&x), &x.e));
}

int gw_cmd_policy(int argc, char **argv)
{
    static const struct cli_command commands[] = {
        {"set", policy_set, "require evidence from a device or a group"},
        {"list", policy_list, "list the policies"},
        {"show", policy_show, "show the state of the devices' evidence"},
        {"exempt", policy_exempt, "exempt a device from its policies"},
        {"remove", policy_remove, "remove a policy"},
    };

    return cli_dispatch("cmxsafe gateway policy", commands, GW_COUNT(commands), argc, argv);
}
