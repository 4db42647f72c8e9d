#include "board/lwip/quickack.h"

#include "lwip/api.h"
#include "lwip/priv/sockets_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcpip.h"

void board_quickack(int s)
{
    struct lwip_sock *sock = lwip_socket_dbg_get_socket(s);
    struct tcp_pcb *pcb;

    LOCK_TCPIP_CORE();
    pcb = sock && sock->conn && NETCONNTYPE_GROUP(sock->conn->type) == NETCONN_TCP ? sock->conn->pcb.tcp : NULL;
    if (pcb && pcb->state != LISTEN && (pcb->flags & TF_ACK_DELAY)) {
        tcp_ack_now(pcb);
        tcp_output(pcb);
    }
    UNLOCK_TCPIP_CORE();
}
