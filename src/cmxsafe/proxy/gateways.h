/* gateways.h - a device's list of gateways: parses it, and chooses which gateway to try next. Pure: no I/O, clock or
 * allocation; random bits are an argument.
 *
 *     gw1.example, gw2.example:2222 > backup.example
 *
 * A comma separates gateways that are equal; '>' begins the next group, which is tried only when every gateway before
 * it has failed. An entry is a name, an address, or either with a port; an IPv6 address with a port needs brackets.
 *
 * Within a group each device tries the gateways in a random order, so that the devices of a dead gateway spread over
 * the others. A device stays with a gateway that works. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"

#define CMX_GATEWAYS_MAX 8
#define CMX_GATEWAYS_TEXT_MAX 256 /* maximum size of the list in bytes, NUL included */

struct cmx_gateway_host {
    const char *host; /* points into the list's text; without brackets */
    uint16_t port;
    uint8_t group; /* 0 is tried first */
};

/* Do not copy: the hosts point into text. */
struct cmx_gateway_list {
    size_t n;
    struct cmx_gateway_host at[CMX_GATEWAYS_MAX]; /* groups in ascending order */
    char text[CMX_GATEWAYS_TEXT_MAX];
};

/* Reads a list. port: the port of each entry that names none. why receives the reason for a failure; may be NULL.
 * CMX_EINVAL: text is not a valid list; l is then empty. */
CMX_MUST_USE cmx_err cmx_gateway_list_parse(struct cmx_gateway_list *l, const char *text, uint16_t port,
                                            struct cmx_why *why);

/* The gateway in use, and the gateways that have failed in the current round. */
struct cmx_gateway_turn {
    uint8_t at;
    uint8_t tried; /* one bit for each gateway that has failed */
};

/* Chooses the first gateway. l must not be empty. random, here and in cmx_gateway_turn_next: 32 uniform bits. */
void cmx_gateway_turn_begin(struct cmx_gateway_turn *t, const struct cmx_gateway_list *l, uint32_t random);

/* True if t->at is the last gateway of the round: once it has failed, every gateway has been tried. */
bool cmx_gateway_turn_is_last(const struct cmx_gateway_turn *t, const struct cmx_gateway_list *l);

/* Call when the gateway t->at has failed: chooses the next gateway. After the last gateway a new round begins. */
void cmx_gateway_turn_next(struct cmx_gateway_turn *t, const struct cmx_gateway_list *l, uint32_t random);

/* Call when the gateway t->at has worked: begins a new round. If t->at fails later, every other gateway is tried before
 * t->at is tried again. */
void cmx_gateway_turn_worked(struct cmx_gateway_turn *t);
