/* proxy_v2.h - constants of the PROXY protocol, version 2 (haproxy.org, doc/proxy-protocol.txt, section 2.2). */
#ifndef CMX_PROXY_PROXY_V2_H
#define CMX_PROXY_PROXY_V2_H

#define CMX_V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n" /* 12 bytes without the NUL at its end */
#define CMX_V2_SIGNATURE_LEN 12
#define CMX_V2_COMMAND 12 /* these bytes' places */
#define CMX_V2_FAMILY 13
#define CMX_V2_LENGTH 14 /* of what follows the head; two bytes, big-endian */
#define CMX_V2_HEAD 16   /* bytes */

#define CMX_V2_LOCAL 0x20 /* version 2, and the command: the sender's own connection */
#define CMX_V2_PROXY 0x21 /* on behalf of a client */
#define CMX_V2_TCP4 0x11
#define CMX_V2_TCP6 0x21
#define CMX_V2_TCP4_LEN 12 /* two addresses, two ports */
#define CMX_V2_TCP6_LEN 36

#endif
