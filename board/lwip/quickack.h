/* quickack.h - lwIP delays acknowledgements by up to 250 ms (TF_ACK_DELAY, tcp_fasttmr) and has no option that turns
 * the delay off. A stock sshd uses Nagle's algorithm and sends its next small packet only after an acknowledgement, so
 * each exchange would take up to 250 ms. */
#pragma once

/* Sends the acknowledgement that lwIP is delaying, if there is one. s: lwIP's own socket number (without LWIP_FD). Call
 * this from the thread that uses the socket. */
void board_quickack(int s);
