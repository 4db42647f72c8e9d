#include <stdio.h>
#include <string.h>

#include "cli/gateway/gw.h"
#include "cmxsafe/core/nearest.h"

static void print_help(const struct gw_command_line *line)
{
    printf("usage: cmxsafe gateway %s%s%s%s\n\n%s\n\noptions:\n", line->command, line->n_options ? " [OPTION ...]" : "",
           line->operands[0] ? " " : "", line->operands, line->about);
    for (size_t i = 0; i < line->n_options; i++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", line->options[i].name, line->options[i].value ? " " : "",
                 line->options[i].value ? line->options[i].value : "");
        printf("  %-24s %s\n", left, line->options[i].help);
    }
}

static int unknown_option(const struct gw_command_line *line, const char *word)
{
    struct cmx_nearest best = CMX_NEAREST_INIT(word);
    char command[80];

    snprintf(command, sizeof command, "cmxsafe gateway %s", line->command);
    for (size_t i = 0; i < line->n_options; i++)
        cmx_nearest_offer(&best, line->options[i].name);
    if (cmx_nearest_result(&best))
        return cli_usage(command, "no option '--%s'; did you mean '--%s'?", word, cmx_nearest_result(&best));
    return cli_usage(command, "no option '--%s'", word);
}

static const struct gw_option *find_option(const struct gw_command_line *line, const char *name, size_t len)
{
    for (size_t i = 0; i < line->n_options; i++)
        if (strlen(line->options[i].name) == len && strncmp(line->options[i].name, name, len) == 0)
            return &line->options[i];
    return NULL;
}

/* One "--name", "--name=value" or "--name value"; *i moves over a value. */
static cmx_err take_option(struct gw_command_line *line, int argc, char **argv, int *i, int *status)
{
    const char *name = argv[*i] + 2;
    size_t len = strcspn(name, "=");
    const struct gw_option *o = find_option(line, name, len);
    char command[80];

    snprintf(command, sizeof command, "cmxsafe gateway %s", line->command);
    *status = CLI_USAGE;
    if (!o) {
        *status = unknown_option(line, name);
        return CMX_EINVAL;
    }
    if (!o->value) {
        if (name[len] == '=') {
            cli_usage(command, "--%s takes no value", o->name);
            return CMX_EINVAL;
        }
        *(bool *)o->target = true;
        return CMX_OK;
    }
    if (name[len] == '=') {
        *(const char **)o->target = name + len + 1;
        return CMX_OK;
    }
    if (*i + 1 >= argc) {
        cli_usage(command, "--%s needs a value", o->name);
        return CMX_EINVAL;
    }
    *(const char **)o->target = argv[++*i];
    return CMX_OK;
}

static cmx_err check_operands(const struct gw_command_line *line, int *status)
{
    char command[80];

    snprintf(command, sizeof command, "cmxsafe gateway %s", line->command);
    if (line->n_operands < line->min_operands) {
        *status = cli_usage(command, "%s is missing", line->operands);
        return CMX_EINVAL;
    }
    return CMX_OK;
}

cmx_err gw_args(struct gw_command_line *line, int argc, char **argv, int *status)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(line);
            *status = CLI_OK;
            return CMX_EAGAIN;
        }
        if (strcmp(argv[i], "--") == 0) {
            line->rest = argv + i + 1;
            break;
        }
        if (strncmp(argv[i], "--", 2) == 0) {
            cmx_err err = take_option(line, argc, argv, &i, status);
            if (err)
                return err;
            continue;
        }
        if (line->n_operands == line->max_operands || line->n_operands == GW_COUNT(line->operand)) {
            char command[80];

            snprintf(command, sizeof command, "cmxsafe gateway %s", line->command);
            *status = cli_usage(command, "'%s' is one argument too many", argv[i]);
            return CMX_EINVAL;
        }
        line->operand[line->n_operands++] = argv[i];
    }
    return check_operands(line, status);
}
