/* gw_json.h - writes one JSON document to a FILE with core/json.h's writer: begin, cmx_json_*(&o.j, ...), end. */
#pragma once

#include <stdio.h>

#include "cmxsafe/core/json.h"

#define GW_JSON_CHUNK 1024 /* maximum number of bytes that are written to the file at once */

struct gw_json {
    struct cmx_json j;
    struct cmx_buf buf;
    FILE *f; /* borrowed */
    char mem[GW_JSON_CHUNK];
};

void gw_json_begin(struct gw_json *o, FILE *f);
/* Writes the rest of the document and a newline. False: the document is incomplete, or writing failed. */
bool gw_json_end(struct gw_json *o);

/* Begin and end a single JSON object on stdout. If writing to stdout fails, main reports this. */
void gw_json_begin_stdout(struct gw_json *o);
void gw_json_end_stdout(struct gw_json *o);
