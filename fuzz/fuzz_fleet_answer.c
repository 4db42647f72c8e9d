/* Reads any text as a record of another gateway's access log, or as its answer to `status` or `traffic`; the first byte
 * chooses which. The result must be JSON in printable ASCII and at most about twice as long as the text. Reading the
 * result again must give the same result. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/common/json_get.h"
#include "cli/gateway/gw_fleet_answer.h"
#include "cli/gateway/gw_fleet_ask.h"
#include "fuzz/must.h"

static cmx_err read_record(const char *line, FILE *out, size_t *malformed)
{
    (void)malformed;
    return gw_fleet_answer_record(line, out);
}

static const gw_fleet_reader readers[] = {read_record, gw_fleet_answer_status, gw_fleet_answer_traffic};

static cmx_err made_of(unsigned kind, const char *text, char **out, size_t *malformed)
{
    size_t len = 0;
    FILE *f = open_memstream(out, &len);
    cmx_err err;

    must(f != NULL);
    err = readers[kind](text, f, malformed);
    must(fclose(f) == 0);
    for (const char *p = *out; *p; p++)
        must(*p == '\n' || (*p >= 0x20 && *p < 0x7f));
    must(len <= 2 * strlen(text) + 64);
    return err;
}

static void check_again(unsigned kind, const char *made)
{
    char *again = NULL;
    size_t malformed = 0;

    must(json_is_whole(made));
    must(made_of(kind, made, &again, &malformed) == CMX_OK && malformed == 0 && strcmp(made, again) == 0);
    free(again); /* allocated by open_memstream */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text, *made = NULL;
    size_t malformed = 0;
    unsigned kind;

    if (size < 1)
        return 0;
    text = malloc(size);
    must(text != NULL);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    kind = data[0] & 1 ? 1 + (data[0] >> 1 & 1) : 0;
    if (made_of(kind, text, &made, &malformed) == CMX_OK)
        check_again(kind, made);
    free(made); /* allocated by open_memstream */
    free(text);
    return 0;
}
