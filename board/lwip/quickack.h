/* quickack.h - lwIP holds acknowledgements back for up to 250 ms (TF_ACK_DELAY, tcp_fasttmr) and has no option against
 * it. A stock sshd has Nagle's algorithm on, so that its next small packet waits for one: each exchange would take that
 * long. */
#ifndef BOARD_LWIP_QUICKACK_H
#define BOARD_LWIP_QUICKACK_H

/* Sends the acknowledgement that lwIP holds back, if it does; s: lwIP's own descriptor, of the calling thread. */
void board_quickack(int s);

#endif
