#include "cli/gateway/gw_command.h"

/* No field contains a quote: names, keys and hosts were checked at enrolment. */
static cmx_err put_device(void *arg, const struct gw_device *d)
{
    struct gw_read *x = arg;
    char key[GW_KEY_TYPE_MAX + GW_KEY_BLOB_MAX];
    cmx_err err;

    if (d->revoked)
        return CMX_OK;
    err = gw_device_key_line(&x->g.registry, d, key, sizeof key, &x->e);
    if (err)
        return err;
    printf("%s,%s,\"", d->name, key);
    gw_command_print_ports(d, ",", "");
    printf("\",\"");
    gw_command_print_directs(d, ",", "");
    printf("\",%s,%s\n", d->address, d->group);
    return CMX_OK;
}

int gw_cmd_export(int argc, char **argv)
{
    struct gw_read x = {.what = "export failed"};
    const char *group = NULL;
    const struct cli_option options[] = {
        GW_DIR_OPTION(x.common),
        CLI_TEXT("group", "NAME", "only devices of this group", &group),
    };
    struct cli_line line =
        CLI_LINE("cmxsafe gateway export", "", "Writes the active devices as CSV, in the form that 'import' reads.", 0,
                 0, options);

    if (cli_parse(&line, argc, argv, &x.status) || gw_read_begin(&x))
        return x.status;
    if (group && gw_device_check_group(&x.g.registry, group, &x.e))
        return gw_read_finish(&x, true);
    printf("name,key,ports,direct,address,group\n");
    return gw_read_finish(&x, gw_device_each(&x.g.registry, group, put_device, &x, &x.e));
}
