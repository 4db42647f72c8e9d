#include "cmxsafe/core/label.h"

#include <string.h>

/* A text has at most 31 characters, because the last byte of a message is the counter. */
static const char texts[][CMX_LABEL_LEN] = {
    [CMX_LABEL_EVIDENCE] = "cmxsafe evidence mac 1",
    [CMX_LABEL_SSH] = "cmxsafe ssh ecdsa-p256 1",
    [CMX_LABEL_UEID] = "cmxsafe ueid 1",
    [CMX_LABEL_ATTEST] = "cmxsafe attest ecdsa-p256 1",
    [CMX_LABEL_APPRAISAL] = "cmxsafe appraisal 1",
};

void cmx_label_message(cmx_label label, uint8_t counter, uint8_t out[CMX_LABEL_LEN])
{
    memcpy(out, texts[label], CMX_LABEL_LEN);
    out[CMX_LABEL_LEN - 1] = counter;
}
