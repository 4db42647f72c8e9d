/* gateway_options.h - lists the options of a gateway that a configuration file can set, one row for each.
 * No include guard: define CMX_GATEWAY_OPTION, then include this file.
 *
 *     CMX_GATEWAY_OPTION(kind, member, key, min, max, fallback, without, help)
 *
 * member: the option's member of struct cmx_gateway (context.h); key: its name in the agent's configuration file. min,
 * max: the bounds of a number, in milliseconds for MS and in seconds for SECONDS; max of an ACCOUNT or a TEXT: the
 * maximum number of characters. fallback: the value that replaces 0; without: what applies if the option is not set and
 * has no fallback. The GATEWAYS and an ACCOUNT are required. A file that uses help must define STR, which turns a macro
 * into the text of its value.
 *
 * The code that copies, compares and checks gateways and sets defaults (proxy_config.c; it checks max, but not min),
 * the parser of cmxsafed, docs/CONFIG.md and cmxsafed.conf(5) are generated from these rows. */
/* clang-format off */
CMX_GATEWAY_OPTION(GATEWAYS, host, "host", 0, 0, NULL, NULL,
    "Name or address of the SSH server, or of several: `gw1.example, gw2.example:2222 > backup.example`. Gateways "
    "with `,` between them are equal: each device tries them in its own random order. The gateways after a `>` are "
    "tried when all before it have failed. A device stays with a gateway that works. At most " STR(CMX_GATEWAYS_MAX) ".")
CMX_GATEWAY_OPTION(PORT, port, "port", 1, 65535, 22, NULL,
    "The TCP port of each entry of `host` that names no port.")
CMX_GATEWAY_OPTION(ACCOUNT, user, "user", 0, 64, NULL, NULL,
    "Account to log in to.")
CMX_GATEWAY_OPTION(FILE, key_file, "key_file", 0, 0, NULL, NULL,
    "Private key, OpenSSH or PEM; refused if group or others can access it.")
CMX_GATEWAY_OPTION(TEXT, ciphers, "ciphers", 0, 512, NULL,
    "AES-GCM and ChaCha20-Poly1305, the faster one first, then AES-256-CTR",
    "OpenSSH names, separated by commas.")
CMX_GATEWAY_OPTION(SECONDS, login_timeout_s, "login_timeout", 1, 300, CMX_PROXY_LOGIN_TIMEOUT_S, NULL,
    "Time limit of one login attempt, from TCP connect to authentication. The look-up of the gateway's name does not "
    "count.")
CMX_GATEWAY_OPTION(SECONDS, keepalive_s, "keepalive", 1, 3600, CMX_PROXY_KEEPALIVE_S, NULL,
    "Send a keepalive after this long without traffic.")
CMX_GATEWAY_OPTION(COUNT, keepalive_max, "keepalive_max", 1, 100, CMX_PROXY_KEEPALIVE_MAX, NULL,
    "Reconnect after this many unanswered keepalives.")
CMX_GATEWAY_OPTION(MS, backoff_base_ms, "backoff_min", 100, 3600000, CMX_PROXY_BACKOFF_BASE_MS, NULL,
    "Upper limit of the first wait between attempts; the limit doubles with each failure.")
CMX_GATEWAY_OPTION(MS, backoff_max_ms, "backoff_max", 100, 86400000, CMX_PROXY_BACKOFF_MAX_MS, NULL,
    "Upper limit of the waits. With several gateways, it is divided by their number. After a wrong host key or "
    "credential the first wait may already be `backoff_max`, and later waits five times as long.")
CMX_GATEWAY_OPTION(BYTES, rekey_bytes, "rekey_bytes", 0, 1ull << 40, 0, NULL,
    "Renew the session keys after this many bytes; 0: the SSH library's default.")
CMX_GATEWAY_OPTION(SWITCH, require_pq, "require_pq", 0, 1, 0, NULL,
    "Only accept key exchanges that resist a quantum computer (mlkem768x25519-sha256, "
    "sntrup761x25519-sha512@openssh.com); needs libssh 0.12 or later and OpenSSH 8.5 or later.")
/* clang-format on */
#undef CMX_GATEWAY_OPTION
