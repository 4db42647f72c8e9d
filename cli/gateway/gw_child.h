/* gw_child.h - runs this program's own `attest` or `update` for one device, inside the gateway's namespaces. */
#pragma once

#include "gateway/folder/gw_folder.h"

struct gw_child {
    pid_t pid;    /* the caller waits for this process */
    FILE *output; /* the child's stdout, in a temporary file: a pipe could fill up and block the child */
    FILE *errors; /* the child's stderr, in a temporary file */
};

/* Writes "http://[ADDRESS]:PORT"; address "" (in a small deployment): "http://localhost:PORT". The URL has the address
 * instead of the name because of the Host header. In this header, the update service accepts any address, but it
 * accepts a name outside .cmx only if its configuration lists the name. */
void gw_child_url(const char *address, uint64_t port, char *out, size_t cap);
/* Starts this program with the arguments after argv[0]. unprivileged: see gw_inside_start. Returns false if the program
 * could not be started. */
bool gw_child_start(struct gw_child *c, const struct gw *g, bool unprivileged, const char *argv[]);
/* Writes the last line of the child's stdout if good is true, else of its stderr, as printable text. If that stream is
 * empty, writes the last line of the other stream; if both are, "no output". */
void gw_child_last_line(const struct gw_child *c, bool good, char *out, size_t cap);
/* Reads a member of the JSON that the child printed. False: there is no such member. */
bool gw_child_json(const struct gw_child *c, const char *path, char *out, size_t cap);
/* Writes the evidence's claims from the JSON that attest printed, in the form of struct gw_attestation; "": none. */
void gw_child_claims(const struct gw_child *c, char out[GW_CLAIMS_MAX]);
void gw_child_close(struct gw_child *c);
