/* context_options.h - lists every option of a security context, one row for each. No include guard: define CMX_OPTION,
 * then include this file.
 *
 *     CMX_OPTION(kind, member, task, key, min, max, fallback, direction, without, help)
 *
 * member: the option's member of struct cmx_context (context.h); task: its member of TaskParameters
 * (device_settings.h). Both structs have their members in the order of these rows, and a member without a row does not
 * compile. key: the name in the agent's configuration file; the virtual board uses the member's name. min, max: the
 * bounds of a number; 0 is always allowed and means the default, except for a PORT, which is required. fallback: the
 * default value; without: what applies if the option is not set and has no default value. direction: the only direction
 * that uses the option, or ANY.
 *
 * The code that copies, compares and checks contexts (proxy_config.c), the code that merges and converts a sketch's
 * contexts (device/merge.c), the parsers of cmxsafed and cmxsafe-board, docs/CONFIG.md, docs/BOARD.md and
 * cmxsafed.conf(5) are generated from these rows. */
/* clang-format off */
CMX_OPTION(PORT, local_port, local_port, "local_port", 1, 65535, 0, ANY, NULL,
    "reverse: the service's port; direct: the listener's port.")
CMX_OPTION(PORT, remote_port, forward_remote_port, "remote_port", 1, 65535, 0, ANY, NULL,
    "reverse: the port of the gateway's listener; direct: the port on `remote_host`.")
CMX_OPTION(SWITCH, high_bw, high_bw, "high_bw", 0, 1, 0, ANY, NULL,
    "Larger buffers: more throughput, and more memory for each session.")
CMX_OPTION(HOST, remote_address, remote_address, "remote_address", 0, 0, NULL, CMX_REVERSE, "the gateway's loopback",
    "reverse: the address of the gateway's listener, such as the virtual IPv6 address on a CMX-GW. `fleet:PREFIX/48`: "
    "the address in this prefix that is derived from the device's key; `cmxsafe gateway enroll` derives the same one.")
CMX_OPTION(DIRECTION, direction, direction, "direction", CMX_REVERSE, CMX_DIRECT, CMX_REVERSE, ANY, NULL,
    "`reverse`: from a gateway port to a local service; `direct`: from a local port to a service behind the gateway.")
CMX_OPTION(HOST, remote_host, remote_host, "remote_host", 0, 0, NULL, CMX_DIRECT, "required for direct",
    "direct: the name or address of the service's host; the gateway resolves it.")
CMX_OPTION(COUNT, max_connections, max_connections, "max_connections", 1, CMX_PROXY_CONNECTIONS_MAX,
    CMX_PROXY_CONNECTIONS_DEFAULT, ANY, NULL,
    "Maximum number of simultaneous connections; further connections are refused.")
CMX_OPTION(SECONDS, idle_timeout_s, idle_timeout_s, "idle_timeout", 0, 2592000, 0, ANY, NULL,
    "A connection with no byte in either direction for this long is closed; 0: never.")
CMX_OPTION(NAME, session, session, "session", 0, 0, NULL, ANY, "a session of its own",
    "Contexts that name the same session share one SSH connection.")
CMX_OPTION(SECONDS, probe_interval_s, probe_interval_s, "probe_interval", 0, 86400, 0, CMX_REVERSE, NULL,
    "reverse: how often to test the gateway's listener end to end; 0: never.")
CMX_OPTION(ID, name, name, NULL, 0, 0, NULL, ANY, NULL, NULL)
CMX_OPTION(SECONDS, connect_timeout_s, connect_timeout_s, "connect_timeout", 1, 300, CMX_PROXY_CONNECT_TIMEOUT_S,
    CMX_REVERSE, NULL,
    "reverse: time limit for connecting to the local service.")
CMX_OPTION(HOST, local_host, local_host, "local_host", 0, 0, CMX_PROXY_LOCAL_HOST, ANY, NULL,
    "reverse: the service's host; direct: the address to listen on.")
CMX_OPTION(TEXT, tasks, tasks, "users", 0, 0, NULL, CMX_DIRECT, "anyone on the device",
    "direct, with isolation: who may connect to the listener, separated by commas: user names or uids on Linux, task names "
    "on an RTOS.")
CMX_OPTION(PEER, peer, peer, "peer", CMX_PEER_NONE, CMX_PEER_MIRROR, CMX_PEER_NONE, CMX_REVERSE, NULL,
    "reverse: how the service learns the client's identity. `proxy-v1`, `proxy-v2`: a header of the PROXY protocol "
    "precedes the first byte; `mirror` (cmxsafed only): the identity is the connection's source address.")
CMX_OPTION(ADDRESSES, allow_from, allow_from, "allow_from", 0, 0, NULL, CMX_REVERSE, "everyone",
    "reverse: the identities (addresses) or prefixes whose connections are accepted, at most 64, separated by commas.")
/* clang-format on */
#undef CMX_OPTION
