/* Parses any bytes as a multipart body twice: in one piece, and in small pieces. The first byte of the input sets the
 * size of the pieces. The parser must not read beyond the input, and both runs must produce the same result. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/ota/crc32.h"
#include "cmxsafe/ota/multipart.h"

struct seen {
    uint32_t crc;
    unsigned parts;
    unsigned done;
    cmx_err err;
    bool complete;
};

static struct seen run(const uint8_t *data, size_t size, size_t piece)
{
    struct seen s = {0};
    struct cmx_multipart m;

    s.err = cmx_multipart_init(&m, "multipart/form-data; boundary=X-");
    for (size_t at = 0; at < size && !s.err; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        struct cmx_buf in;
        struct cmx_multipart_event ev;

        cmx_buf_init_view(&in, data + at, n);
        do {
            s.err = cmx_multipart_next(&m, &in, &ev);
            if (s.err)
                break;
            s.parts += ev.kind == CMX_MULTIPART_PART;
            s.done += ev.kind == CMX_MULTIPART_DONE;
            if (ev.kind == CMX_MULTIPART_DATA)
                s.crc = cmx_crc32(s.crc, ev.data, ev.len);
        } while (ev.kind != CMX_MULTIPART_MORE);
    }
    s.complete = cmx_multipart_complete(&m);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen a, b;

    if (size < 1)
        return 0;
    a = run(data + 1, size - 1, size);
    b = run(data + 1, size - 1, 1u + data[0] % 64);
    if (a.err != b.err || a.complete != b.complete || a.parts != b.parts || a.done != b.done ||
        (!a.err && a.crc != b.crc) || a.done > a.parts)
        abort();
    return 0;
}
