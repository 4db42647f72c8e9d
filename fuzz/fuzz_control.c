/* Sends any bytes as a request of the agent's control protocol. The answer must be exactly one line that fits into the
 * buffer. */
#include <stdlib.h>
#include <string.h>

#include "agent/control/control.h"

static cmx_err words(void *arg, const struct control_request *r, struct cmx_buf *out)
{
    (void)arg;
    if (r->n == 0 || r->n > CONTROL_WORDS_MAX)
        abort();
    for (size_t i = 0; i < r->n; i++)
        if (!r->word[i][0] || strchr(r->word[i], ' '))
            abort();
    return cmx_buf_printf(out, "%s\n", r->word[r->n - 1]);
}

static const struct control_command commands[] = {{"status", words}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t memory[512];
    struct cmx_buf out;

    cmx_buf_init(&out, memory, sizeof memory);
    control_answer(commands, 1, NULL, data, size, &out);
    if (cmx_buf_len(&out) == 0 || memory[cmx_buf_len(&out) - 1] != '\n')
        abort();
    if (memchr(memory, '\n', cmx_buf_len(&out) - 1))
        abort();
    return 0;
}
