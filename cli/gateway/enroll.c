#include <string.h>

#include "cli/gateway/enroll.h"
#include "cli/gateway/snippet.h"

static const char about[] =
    "Registers a device by its public key and prints what the device has to be told. Its virtual address comes from "
    "the key,\n"
    "unless --address or --mac names one. The same again changes nothing; other ports replace the old ones.\n"
    "With --simple gateways a port is one device's alone: overlap is refused.";

cmx_err gw_enroll_address(const struct gw *g, struct gw_device *d, const struct gw_key *k, const char *address,
                          const char *mac, struct gw_error *e)
{
    d->address[0] = '\0';
    if (g->simple)
        return address || mac ? gw_error_set(e, CMX_EINVAL, NULL, "a small deployment has no addresses") : CMX_OK;
    if (mac)
        return gw_address_from_mac(&g->fleet, mac, d->address, e);
    if (address)
        return gw_address_given(&g->fleet, address, d->address, e);
    return gw_address_derive(&g->fleet, k, d->address, e);
}

struct enroll_job {
    struct gw_common common;
    const char *key, *hwkey, *ports, *open, *address, *mac, *group, *form;
};

static cmx_err fill(struct gw *g, struct gw_device *d, struct gw_key *k, const struct enroll_job *job, const char *name,
                    struct gw_error *e)
{
    struct gw_device old;
    cmx_err err = job->hwkey ? gw_key_from_hwkey(k, job->hwkey, e) : gw_key_read(k, job->key, e);

    memset(d, 0, sizeof *d);
    if (err)
        return err;
    snprintf(d->name, sizeof d->name, "%s", name);
    err = gw_name_check(name, e);
    if (!err)
        err = gw_ports_parse(d, job->ports ? job->ports : "", e);
    if (!err)
        err = gw_directs_parse(d, job->open ? job->open : "", e);
    if (!err && job->group)
        err = gw_name_check(job->group, e);
    if (err)
        return err;
    snprintf(d->team, sizeof d->team, "%s", job->group ? job->group : "");
    /* Once given, an address stays: after a rotation it is no longer the key's own. */
    if (!job->address && !job->mac && gw_device_get(&g->registry, name, &old, e) == CMX_OK && !old.revoked &&
        strcmp(old.fingerprint, k->fingerprint) == 0) {
        snprintf(d->address, sizeof d->address, "%s", old.address);
        return CMX_OK;
    }
    return gw_enroll_address(g, d, k, job->address, job->mac, e);
}

static void print_result(const struct gw *g, const struct gw_device *d, const struct enroll_job *job,
                         gw_outcome outcome)
{
    char host[GW_HOST_MAX];

    if (job->common.json) {
        printf("{\"outcome\":\"%s\"%s,\"device\":", gw_outcome_text(outcome),
               job->common.dry_run ? ",\"dry_run\":true" : "");
        gw_json_device(stdout, g, d);
        printf("}\n");
        return;
    }
    gw_device_host(g, d, host);
    printf("# %s: %s%s, reachable as %s%s%s\n", d->name, gw_outcome_text(outcome), gw_dry_text(&job->common), host,
           d->address[0] ? ", address " : "", d->address);
    if (job->form) {
        gw_snippet(stdout, g, d, job->form, job->hwkey != NULL);
        return;
    }
    printf("\n");
    gw_snippet(stdout, g, d, "agent", job->hwkey != NULL);
    printf("\n");
    gw_snippet(stdout, g, d, "settings", job->hwkey != NULL);
    printf("\n");
    gw_snippet(stdout, g, d, "kconfig", job->hwkey != NULL);
}

static int run(const struct enroll_job *job, const char *name)
{
    struct gw_error e = {0};
    gw_outcome outcome = GW_UNCHANGED;
    struct gw_device d;
    struct gw_device stored;
    struct gw_key k;
    struct gw g;
    cmx_err err;
    int status = gw_begin(&g, &job->common, "enrolment failed", &e);

    if (status)
        return status;
    err = fill(&g, &d, &k, job, name, &e);
    if (!err)
        err = gw_device_enroll(&g.registry, &d, &k, &outcome, &e);
    if (!err)
        err = gw_device_get(&g.registry, name, &stored, &e);
    status = gw_finish(&g, &job->common, "enrolment failed", err, &e);
    if (!status)
        print_result(&g, &stored, job, outcome);
    return status;
}

int gw_cmd_enroll(int argc, char **argv)
{
    struct enroll_job job = {0};
    const struct gw_option options[] = {
        GW_DIR_OPTION(job.common),
        {"key", "FILE", "the device's public key, as ssh-keygen writes it", &job.key},
        {"hwkey", "FILE", "the device's hardware key (private_key.bin): its SSH key is derived from it", &job.hwkey},
        {"ports", "LIST", "its services, such as 81,8989,8888", &job.ports},
        {"open", "LIST", "services behind the gateway that it may reach: HOST:PORT,...", &job.open},
        {"address", "ADDRESS", "a given address within the fleet", &job.address},
        {"mac", "MAC", "published CMX-GW form: the address ends in the device's MAC", &job.mac},
        {"group", "NAME", "for rollouts (attest and update --group)", &job.group},
        {"form", "FORM", "print one form only: agent, settings or kconfig", &job.form},
        GW_JSON_OPTION(job.common),
        GW_DRY_RUN_OPTION(job.common),
    };
    struct gw_command_line line = GW_COMMAND_LINE("enroll", "NAME", about, 1, 1, options);
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (!job.key == !job.hwkey)
        return cli_usage("cmxsafe gateway enroll", "give --key or --hwkey");
    if (job.form && !gw_snippet_form(job.form))
        return cli_usage("cmxsafe gateway enroll", "no form '%s'", job.form);
    return run(&job, line.operand[0]);
}
