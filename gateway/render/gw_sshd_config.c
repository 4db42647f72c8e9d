#include "gateway/render/gw_sshd_config.h"

#include "gateway/render/gw_template.h"

extern const char gw_template_sshd_config[]; /* gateway/render/templates/sshd_config */

cmx_err gw_sshd_config(FILE *f, const struct gw *g, const char *helper, struct cmx_why *e)
{
    const struct gw_template_value values[] = {
        {"account", .text = g->account},
        {"helper", .text = helper},
        {"dir", .text = gw_inside_dir(g)},
        {"gateway_ports", .text = g->simple ? "no" : "clientspecified"},
        {0},
    };

    cmx_err err = gw_path_check(gw_inside_dir(g), e);

    if (!err)
        err = gw_path_check(helper, e);
    return err ? err : gw_template_write(f, gw_template_sshd_config, values, NULL, e);
}
