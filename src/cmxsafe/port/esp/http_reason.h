/* http_reason.h - the reason phrases of HTTP status codes (RFC 9110 section 15), which esp_http_server lacks, and the
 * meaning of esp_http_server's errors. */
#pragma once

#include "esp_err.h"

#include "cmxsafe/core/err.h"

/* Returns why esp_http_server did not send an answer: CMX_ENOMEM or CMX_ECLOSED; CMX_OK for ESP_OK. */
CMX_MUST_USE cmx_err http_reason_error(esp_err_t rc);

/* Returns a static string; "Status" for a code that is not listed. */
const char *http_reason_text(int status);
