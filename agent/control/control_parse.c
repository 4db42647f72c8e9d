/* control_parse.c - the control protocol without its sockets. */
#include <stdio.h>
#include <string.h>

#include "agent/control/control.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/nearest.h"

cmx_err control_parse(const uint8_t *line, size_t len, struct control_request *r)
{
    memset(r, 0, sizeof *r);
    if (len && line[len - 1] == '\r')
        len--;
    if (len >= sizeof r->text)
        return CMX_ENOSPC;
    for (size_t i = 0; i < len; i++) {
        if (line[i] < 0x20 || line[i] > 0x7e)
            return CMX_EFORMAT;
        r->text[i] = line[i] == ' ' ? 0 : (char)line[i];
        if (!r->text[i] || (i && r->text[i - 1]))
            continue;
        if (r->n == CONTROL_WORDS_MAX)
            return CMX_ENOSPC;
        r->word[r->n++] = &r->text[i];
    }
    return r->n ? CMX_OK : CMX_EFORMAT;
}

static void answer_error(struct cmx_buf *out, const char *what)
{
    struct cmx_json j;

    cmx_buf_clear(out);
    cmx_json_init(&j, out);
    cmx_json_object(&j, NULL);
    cmx_json_str(&j, "error", what);
    cmx_json_end(&j);
    if (cmx_json_finish(&j) || cmx_buf_put_str(out, "\n"))
        cmx_buf_clear(out); /* the error does not fit either: send nothing */
}

static void answer_unknown(const struct control_command *commands, size_t n, const char *word, struct cmx_buf *out)
{
    struct cmx_nearest near = CMX_NEAREST_INIT(word);
    char what[160];

    for (size_t i = 0; i < n; i++)
        cmx_nearest_offer(&near, commands[i].name);
    if (cmx_nearest_result(&near))
        snprintf(what, sizeof what, "unknown command '%.40s'; did you mean '%s'?", word, cmx_nearest_result(&near));
    else
        snprintf(what, sizeof what, "unknown command '%.40s'", word);
    answer_error(out, what);
}

void control_answer(const struct control_command *commands, size_t n, void *arg, const uint8_t *line, size_t len,
                    struct cmx_buf *out)
{
    struct control_request r;
    cmx_err err = control_parse(line, len, &r);

    if (err) {
        answer_error(out,
                     err == CMX_ENOSPC ? "the request is too long" : "the request must be words of printable ASCII");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(r.word[0], commands[i].name) != 0)
            continue;
        err = commands[i].run(arg, &r, out);
        if (err)
            answer_error(out, cmx_err_text(err));
        return;
    }
    answer_unknown(commands, n, r.word[0], out);
}
