/* device_fields.h - a device of the registry, and the checks of the values that an operator gives for it. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/registry/address.h"
#include "gateway/registry/sshkey.h"

#define GW_NAME_MAX 64  /* a DNS label (RFC 1035 section 2.3.1), NUL included */
#define GW_PORTS_MAX 32 /* a device needs at most one port for each of its contexts */
#define GW_DIRECTS_MAX 16
#define GW_HOST_MAX 128
#define GW_SOURCE_TEXT_MAX 64 /* where a peer connected from, such as "[2001:db8::7]:50412" */
#define GW_CLIENT_MAX 64      /* the SSH software that a peer announced; a longer text is cut */

struct gw_direct {
    char host[GW_HOST_MAX];
    uint16_t port;
};

struct gw_device {
    int64_t id;
    char name[GW_NAME_MAX];
    char address[GW_ADDRESS_MAX]; /* "" in a small deployment */
    char group[GW_NAME_MAX];      /* the device's group; "": none */
    char fingerprint[GW_FINGERPRINT_MAX];
    char key_type[GW_KEY_TYPE_MAX];
    uint16_t ports[GW_PORTS_MAX];
    size_t n_ports;
    struct gw_direct directs[GW_DIRECTS_MAX];
    size_t n_directs;
    int64_t enrolled; /* Unix time */
    int64_t revoked;  /* Unix time; 0: active */
};

/* Checks a name, which becomes a host name: 1 to 63 lower-case letters, digits and '-'. It must not begin or end with
 * '-'. */
CMX_MUST_USE cmx_err gw_registry_name_check(const char *name, struct cmx_why *e);

/* Checks a device's name as gw_registry_name_check does, and refuses the names of the gateway itself. */
CMX_MUST_USE cmx_err gw_device_name_check(const char *name, struct cmx_why *e);

/* True for the host names of the gateway itself: gateway.DOMAIN and, whatever the domain is, gateway.cmx. */
bool gw_device_host_is_gateway(const char *host, const char *domain);

bool gw_device_has_port(const struct gw_device *d, unsigned port);
bool gw_device_has_direct(const struct gw_device *d, const struct gw_direct *x);

/* Parse a list whose items are separated by commas, semicolons or blanks, such as "81,8989,8888" and
 * "db.example:5432,[fd00::1]:80". Empty text is an empty list. Hosts are stored in their canonical form, and a
 * direct service that is given twice is stored once. */
CMX_MUST_USE cmx_err gw_device_parse_ports(struct gw_device *d, const char *text, struct cmx_why *e);
CMX_MUST_USE cmx_err gw_device_parse_directs(struct gw_device *d, const char *text, struct cmx_why *e);
