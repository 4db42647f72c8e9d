/* acknowledge_esp.c - sends TCP acknowledgements at once. lwIP delays them by up to 250 ms (TF_ACK_DELAY, tcp_fasttmr)
 * and has no option that turns the delay off. */
#ifdef ESP_PLATFORM

#include "cmxsafe/port/port.h"
#include "lwip/api.h"
#include "lwip/priv/sockets_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/priv/tcpip_priv.h"

struct call {
    struct tcpip_api_call_data base; /* must be the first member: the callback casts its address to struct call * */
    int fd;
};

/* Runs in lwIP's task, or under its lock, so that the connection cannot be freed during the call. */
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

    (void)tcpip_api_call(acknowledge, &call.base); /* fails only if memory is short; lwIP's timer then acknowledges */
}

#endif
