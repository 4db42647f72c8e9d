#include "gateway/render/gw_units.h"

#include <string.h>

#include "gateway/render/gw_bird.h"
#include "gateway/render/gw_template.h"

/* Templates of gateway/render/templates. */
extern const char gw_template_unit_net[];
extern const char gw_template_unit_guard[];
extern const char gw_template_unit_bird[];
extern const char gw_template_unit_socket[];
extern const char gw_template_unit_service[];
extern const char gw_template_unit_metrics[];
extern const char gw_template_unit_metrics_timer[];

static const struct {
    const char *file;
    const char *text;
} units[] = {
    {"cmxsafe-gateway-net.service", gw_template_unit_net},
    {"cmxsafe-gateway-guard.service", gw_template_unit_guard},
    {"cmxsafe-gateway-bird.service", gw_template_unit_bird},
    {"cmxsafe-gateway.socket", gw_template_unit_socket},
    {"cmxsafe-gateway.service", gw_template_unit_service},
    {"cmxsafe-gateway-metrics.service", gw_template_unit_metrics},
    {"cmxsafe-gateway-metrics.timer", gw_template_unit_metrics_timer},
};

cmx_err gw_unit_text(FILE *f, const struct gw *g, const char *file, const char *program, struct cmx_why *e)
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
        {"metrics_folder", .text = GW_METRICS_FOLDER},
        {0},
    };
    cmx_err err = gw_path_check(program, e);

    if (!err)
        err = gw_path_check(g->dir, e);
    if (err)
        return err;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(units[i].file, file) == 0)
            return gw_template_write(f, units[i].text, values, NULL, e);
    return cmx_why_fail(e, CMX_EINTERNAL, "there is no unit '%s'", file);
}
