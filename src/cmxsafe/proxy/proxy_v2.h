/* proxy_v2.h - defines constants of the PROXY protocol, version 2 (haproxy.org, doc/proxy-protocol.txt, section
 * 2.2). */
#pragma once

#define CMX_V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n" /* 12 bytes and a final NUL */
#define CMX_V2_SIGNATURE_LEN 12
#define CMX_V2_COMMAND 12 /* offset of the command */
#define CMX_V2_FAMILY 13  /* offset of the address family */
#define CMX_V2_LENGTH 14  /* offset of the length of the data after the head; two bytes, big-endian */
#define CMX_V2_HEAD 16    /* length of the head, in bytes */

#define CMX_V2_LOCAL 0x20 /* version 2, command LOCAL: the sender made the connection for itself */
#define CMX_V2_PROXY 0x21 /* version 2, command PROXY: the sender forwards a client's connection */
#define CMX_V2_TCP4 0x11
#define CMX_V2_TCP6 0x21
#define CMX_V2_TCP4_LEN 12 /* bytes: two addresses, two ports */
#define CMX_V2_TCP6_LEN 36
