#include "gateway/render/gw_units.h"

#include <string.h>

#include "gateway/render/gw_bird.h"
#include "gateway/render/gw_template.h"

/* Templates of gateway/render/templates. */
extern const char gw_template_sshd_config[];
extern const char gw_template_unit_net[];
extern const char gw_template_unit_guard[];
extern const char gw_template_unit_bird[];
extern const char gw_template_unit_socket[];
extern const char gw_template_unit_service[];
extern const char gw_template_unit_metrics[];
extern const char gw_template_unit_metrics_timer[];

const struct gw_unit gw_units[GW_UNITS] = {
    {"cmxsafe-gateway-net.service", gw_template_unit_net, true},
    {"cmxsafe-gateway-guard.service", gw_template_unit_guard, true},
    {"cmxsafe-gateway-bird.service", gw_template_unit_bird, true},
    {"cmxsafe-gateway.socket", gw_template_unit_socket, false},
    {"cmxsafe-gateway.service", gw_template_unit_service, false},
    {"cmxsafe-gateway-metrics.service", gw_template_unit_metrics, false},
    {"cmxsafe-gateway-metrics.timer", gw_template_unit_metrics_timer, false},
};

cmx_err gw_unit_text(FILE *f, const struct gw *g, const struct gw_unit *unit, const char *program, struct cmx_why *e)
{
    const struct gw_template_value values[] = {
        {"program", .text = program},
        {"dir", .text = g->dir},
        {"account", .text = g->account},
        {"listen", .text = strncmp(g->listen, "[::]:", 5) == 0 ? g->listen + 5 : g->listen},
        {"simple", .text = g->simple ? "1" : ""},
        {"system", .text = g->simple ? "" : "1"},
        {"netns", .text = GW_NETNS},
        {"bird_control", .text = GW_BIRD_CONTROL},
        {"bird_folder", .text = GW_BIRD_FOLDER},
        {"metrics_folder", .text = GW_METRICS_FOLDER},
        {0},
    };
    cmx_err err = gw_path_check(program, e);

    if (!err)
        err = gw_path_check(g->dir, e);
    return err ? err : gw_template_write(f, unit->text, values, NULL, e);
}

cmx_err gw_units_sshd_config(FILE *f, const struct gw *g, const char *helper, struct cmx_why *e)
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
