/* known_hosts.h - finds the lines of an OpenSSH known_hosts file that match a host and port (sshd(8), SSH_KNOWN_HOSTS
 * FILE FORMAT): plain names, patterns, [name]:port and hashed names. A line with a marker (@revoked, @cert-authority)
 * is not a pin. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* True if the key in the line is a pin for host:port. The line has no newline. */
bool known_hosts_match(const char *line, const char *host, uint16_t port);

/* True if the line revokes a key of host:port; *key then points at "type base64" within it. */
bool known_hosts_revoked(const char *line, const char *host, uint16_t port, const char **key);

/* Returns the part of a line that begins with the key: "type base64...". NULL: the line has a marker, or no key. */
const char *known_hosts_key(const char *line);
