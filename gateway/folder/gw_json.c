#include "gateway/folder/gw_json.h"

static cmx_err write_out(void *arg, struct cmx_buf *out)
{
    struct gw_json *o = arg;
    size_t len = cmx_buf_len(out);
    bool ok = fwrite(cmx_buf_data(out), 1, len, o->f) == len;

    cmx_buf_clear(out);
    return ok ? CMX_OK : CMX_EIO;
}

void gw_json_begin(struct gw_json *o, FILE *f)
{
    o->f = f;
    cmx_buf_init(&o->buf, o->mem, sizeof o->mem);
    cmx_json_init_sink(&o->j, &o->buf, write_out, o);
}

bool gw_json_end(struct gw_json *o)
{
    bool ok = cmx_json_finish(&o->j) == CMX_OK && write_out(o, &o->buf) == CMX_OK;

    return fputc('\n', o->f) != EOF && ok;
}

void gw_json_begin_stdout(struct gw_json *o)
{
    gw_json_begin(o, stdout);
    cmx_json_object(&o->j, NULL);
}

void gw_json_end_stdout(struct gw_json *o)
{
    cmx_json_end(&o->j);
    (void)gw_json_end(o);
}
