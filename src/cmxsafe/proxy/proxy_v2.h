/* proxy_v2.h - constants of the PROXY protocol, version 2 (haproxy.org, doc/proxy-protocol.txt, section 2.2). */
#pragma once

#define CMX_V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n" /* 12 bytes without the NUL at its end */
#define CMX_V2_SIGNATURE_LEN 12
#define CMX_V2_COMMAND 12 /* offset of the command */
#define CMX_V2_FAMILY 13  /* offset of the address family */
#define CMX_V2_LENGTH 14  /* offset of the length of the data after the head; two bytes, big-endian */
#define CMX_V2_HEAD 16    /* bytes */

#define CMX_V2_LOCAL 0x20 /* version 2 and the command: a connection of the sender itself */
#define CMX_V2_PROXY 0x21 /* version 2 and the command: a connection of the sender's client */
#define CMX_V2_TCP4 0x11
#define CMX_V2_TCP6 0x21
#define CMX_V2_TCP4_LEN 12 /* two addresses, two ports */
#define CMX_V2_TCP6_LEN 36
