#include "gateway/folder/gw_fail.h"

int gw_fail(const char *what, const struct cmx_why *e)
{
    return cli_fail(what, e->text[0] ? e->text : "no reason is known", NULL);
}
