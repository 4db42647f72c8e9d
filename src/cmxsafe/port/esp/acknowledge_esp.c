/* acknowledge_esp.c - lwIP holds acknowledgements back for up to 250 ms (TF_ACK_DELAY, tcp_fasttmr) and has no option
 * against it. */
#ifdef ESP_PLATFORM

#include "cmxsafe/port/port.h"
#include "lwip/api.h"
#include "lwip/priv/sockets_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/priv/tcpip_priv.h"

struct call {
    struct tcpip_api_call_data base; /* first: lwIP hands it back */
    int fd;
};

/* In lwIP's own task, or under its lock: the connection cannot go meanwhile. */
static err_t acknowledge(struct tcpip_api_call_data *data)
{
    const struct call *call = (const struct call *)(const void *)data;
    const struct lwip_sock *sock = lwip_socket_dbg_get_socket(call->fd);
    struct tcp_pcb *pcb = NULL;

    if (sock && sock->conn && NETCONNTYPE_GROUP(sock->conn->type) == NETCONN_TCP)
        pcb = sock->conn->pcb.tcp;
    if (!pcb || pcb->state == LISTEN || !(pcb->flags & TF_ACK_DELAY))
        return ERR_OK;
    tcp_ack_now(pcb);
    return tcp_output(pcb);
}

void cmx_port_acknowledge(int fd)
{
    struct call call = {.fd = fd};

    (void)tcpip_api_call(acknowledge, &call.base); /* a failure is one of memory: the timer acknowledges later */
}

#endif
