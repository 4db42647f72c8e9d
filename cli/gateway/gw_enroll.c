#include "cli/gateway/gw_enroll.h"

#include <string.h>

#include "cli/common/key_file.h"
#include "cli/gateway/gw_hwkey.h"
#include "gateway/render/gw_snippet.h"

static const char about[] =
    "Registers a device by its public key and prints its configuration. Its virtual address is derived from "
    "the key, unless --address or --mac names one.\n\nFor a device that is already enrolled, each "
    "option replaces one value, and the other values, including the key, stay; --ports '', --direct '' and --group '' "
    "clear their values. On a --simple gateway each port belongs to one device.";

/* Sets d->address from the MAC, or to the given address. If neither is given, the device keeps its
 * current address; a new device gets an address derived from its key. A small deployment has no addresses. */
static cmx_err set_address(const struct gw *g, struct gw_device *d, const struct gw_key *k, const char *address,
                           const char *mac, struct cmx_why *e)
{
    if (g->simple)
        return address || mac ? cmx_why_fail(e, CMX_EINVAL, "a small deployment has no addresses") : CMX_OK;
    if (mac && address)
        return cmx_why_fail(e, CMX_EINVAL, "give an address or a MAC, not both");
    if (mac)
        return gw_address_from_mac(&g->fleet, mac, d->address, e);
    if (address)
        return gw_address_given(&g->fleet, address, d->address, e);
    return d->address[0] ? CMX_OK : gw_address_derive(&g->fleet, k, d->address, e);
}

cmx_err gw_enroll_fields(struct gw *g, const struct gw_enroll_fields *f, const struct gw_key *k, struct gw_device *d,
                         gw_outcome *out, struct cmx_why *e)
{
    unsigned given = (f->ports ? GW_FIELD_PORTS : 0) | (f->directs ? GW_FIELD_DIRECTS : 0) |
                     (f->group ? GW_FIELD_GROUP : 0) | (f->address || f->mac ? GW_FIELD_ADDRESS : 0) |
                     (f->former_key ? GW_FIELD_FORMER_KEY : 0);
    cmx_err err;

    memset(d, 0, sizeof *d);
    err = gw_device_name_check(f->name, e);
    if (!err && f->group && f->group[0])
        err = gw_registry_name_check(f->group, e);
    if (err)
        return err;
    snprintf(d->name, sizeof d->name, "%s", f->name);
    snprintf(d->group, sizeof d->group, "%s", f->group ? f->group : "");
    err = gw_device_parse_ports(d, f->ports ? f->ports : "", e);
    if (!err)
        err = gw_device_parse_directs(d, f->directs ? f->directs : "", e);
    if (!err)
        err = gw_device_merge(&g->registry, d, given, e);
    if (!err)
        err = set_address(g, d, k, f->address, f->mac, e);
    if (!err)
        err = gw_device_enroll(&g->registry, d, k, given, out, e);
    return err ? err : gw_device_get(&g->registry, f->name, d, e);
}

cmx_err gw_enroll_get_key(struct gw_registry *r, const char *name, struct gw_key *k, struct cmx_why *e)
{
    char line[GW_KEY_TYPE_MAX + GW_KEY_BLOB_MAX];
    struct gw_device d;
    cmx_err err = gw_device_get(r, name, &d, e);

    if (!err)
        err = gw_device_key_line(r, &d, line, sizeof line, e);
    return err ? err : gw_key_parse(k, line, e);
}

struct enroll_job {
    struct gw_change x;
    const char *key, *hwkey, *attest_key, *form;
    bool derived; /* the device's SSH key is derived from its hardware key */
    uint64_t attest_port;
    struct gw_enroll_fields fields;
};

static void print_result(const struct enroll_job *job, const struct gw_device *d)
{
    const struct gw *g = &job->x.g;
    char host[GW_HOST_MAX];
    struct gw_json json;

    if (job->x.common.json) {
        gw_json_begin_stdout(&json);
        cmx_json_str(&json.j, "outcome", gw_outcome_text(job->x.outcome));
        if (job->x.common.dry_run)
            cmx_json_bool(&json.j, "dry_run", true);
        cmx_json_object(&json.j, "device");
        gw_command_put_device(&json.j, g, d);
        cmx_json_end(&json.j);
        gw_json_end_stdout(&json);
        return;
    }
    gw_device_host(g, d, host);
    printf("# %s: %s%s, reachable as %s%s%s\n", d->name, gw_outcome_text(job->x.outcome),
           gw_command_dry_run(&job->x.common), host, d->address[0] ? ", address " : "", d->address);
    if (job->form) {
        gw_snippet(stdout, g, d, job->form, job->derived);
        return;
    }
    printf("\n");
    gw_snippet(stdout, g, d, "agent", job->derived);
    printf("\n");
    gw_snippet(stdout, g, d, "settings", job->derived);
    printf("\n");
    gw_snippet(stdout, g, d, "kconfig", job->derived);
}

static cmx_err read_attest_key(const char *path, struct cmx_attest_key *k, struct cmx_why *e)
{
    struct cmx_why why = {0};
    cmx_err err = key_file_read_attest(path, k, &why);

    return err ? cmx_why_fail(e, err,
                              "the attestation key %s can't be used (%s); make it with: cmxsafe identity public --key "
                              "private_key.bin",
                              path, why.text)
               : CMX_OK;
}

/* Stores the key that verifies the device's signed evidence: the given one, or one derived from the hardware key. */
static cmx_err store_attest_key(struct enroll_job *job)
{
    struct cmx_why *e = &job->x.e;
    struct cmx_attest_key k;
    cmx_err err;

    if (!job->attest_key && !job->hwkey)
        return CMX_OK;
    err = job->attest_key ? read_attest_key(job->attest_key, &k, e) : gw_hwkey_attest(&k, job->hwkey, e);
    return err ? err : gw_hwkey_store_attest(&job->x.g.registry, job->fields.name, &k, false, &job->x.outcome, e);
}

static cmx_err store_attest_port(struct enroll_job *job)
{
    struct gw_change *x = &job->x;
    gw_outcome changed = GW_UNCHANGED;
    cmx_err err = CMX_OK;

    if (job->attest_port)
        err = gw_evidence_port_set(&x->g.registry, job->fields.name, (uint16_t)job->attest_port, &changed, &x->e);
    if (!err && x->outcome == GW_UNCHANGED)
        x->outcome = changed;
    return err;
}

/* Reads the given key. A device that is already enrolled keeps its key if none is given. */
static cmx_err read_key(struct enroll_job *job, struct gw_key *k)
{
    struct cmx_why *e = &job->x.e;
    cmx_err err;

    if (job->hwkey)
        return gw_hwkey_login(k, job->hwkey, e);
    if (job->key)
        return gw_key_read(k, job->key, e);
    err = gw_enroll_get_key(&job->x.g.registry, job->fields.name, k, e);
    return err == CMX_ENOENT
               ? cmx_why_fail(e, err, "%.60s is not enrolled; give its key with --key or --hwkey", job->fields.name)
               : err;
}

static int run(struct enroll_job *job)
{
    struct gw_change *x = &job->x;
    struct gw_device d;
    struct gw_key k;
    bool failed;
    int status = gw_change_begin(x);

    if (status)
        return status;
    failed = read_key(job, &k) || gw_enroll_fields(&x->g, &job->fields, &k, &d, &x->outcome, &x->e) ||
             store_attest_key(job) || store_attest_port(job) ||
             ((job->fields.address || job->fields.mac) && gw_command_check_identities(&x->g, NULL, &x->e));
    job->derived = !failed && gw_hwkey_is_derived(&x->g.registry, &d);
    status = gw_change_finish(x, failed);
    if (!status)
        print_result(job, &d);
    return status;
}

int gw_cmd_enroll(int argc, char **argv)
{
    struct enroll_job job = {.x.what = "enrolment failed"};
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(job.x.common),
        CLI_TEXT("key", "FILE", "the device's public key, as ssh-keygen writes it; -: from standard input", &job.key),
        CLI_TEXT("hwkey", "FILE", "the device's hardware key (private_key.bin): its SSH key is derived from it",
                 &job.hwkey),
        CLI_TEXT("attest-key", "FILE",
                 "the attestation key that verifies the device's evidence ('cmxsafe identity public'); not needed with "
                 "--hwkey",
                 &job.attest_key),
        CLI_NUMBER("attest-port", "PORT", 1, 65535,
                   "the port of the device's attestation service, one of the --ports (default 8888)", &job.attest_port),
        CLI_TEXT("ports", "LIST", "the ports of the device's services, such as 81,8989,8888", &job.fields.ports,
                 .or_empty = true),
        GW_DIRECT_OPTION(job.fields),
        CLI_TEXT("address", "ADDRESS", "the device's address within the fleet, instead of the derived one",
                 &job.fields.address),
        CLI_TEXT("mac", "MAC", "the device's MAC, in which its address ends, as in published CMX-GWs", &job.fields.mac),
        CLI_TEXT("group", "NAME", "the device's group, for grants, policies and rollouts", &job.fields.group,
                 .or_empty = true),
        CLI_TEXT("form", "FORM", "print the configuration in one form only: agent, settings or kconfig", &job.form,
                 .except = "json"),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway enroll", "NAME", about, 1, 1, options);
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (job.key && job.hwkey)
        return cli_usage("cmxsafe gateway enroll", "give --key or --hwkey, not both");
    if (job.form && !gw_snippet_form(job.form))
        return cli_usage("cmxsafe gateway enroll", "unknown form '%s'; give agent, settings or kconfig", job.form);
    job.fields.name = line.operand[0];
    return run(&job);
}
