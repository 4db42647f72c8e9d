#include "board/lwip/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/port/port.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"

#define MTU 1500
#define FRAME_MAX (MTU + 14 + 4) /* maximum length of a frame, with a VLAN tag */

static bool attach(const struct board_tap *tap)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};

    memcpy(request.ifr_name, tap->name, sizeof tap->name);
    return ioctl(tap->fd, TUNSETIFF, &request) == 0;
}

cmx_err board_tap_open(struct board_tap *tap, const char *name, struct cmx_why *why)
{
    cmx_err err;

    if (!name[0] || strlen(name) >= sizeof tap->name)
        return cmx_why_fail(why, CMX_EINVAL, "TAP device '%.40s': the name must have 1 to 15 characters", name);
    snprintf(tap->name, sizeof tap->name, "%s", name);
    tap->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (tap->fd >= 0 && attach(tap))
        return CMX_OK;
    err = errno == ENOENT ? CMX_ENOENT : errno == EBUSY ? CMX_EBUSY : CMX_EPERM;
    cmx_why_set(why, "TAP device %s: %s", name, strerror(errno));
    if (tap->fd >= 0)
        close(tap->fd);
    return err;
}

static err_t transmit(struct netif *netif, struct pbuf *p)
{
    const struct board_tap *tap = netif->state;
    uint8_t frame[FRAME_MAX];
    u16_t len = pbuf_copy_partial(p, frame, sizeof frame, 0);

    if (len != p->tot_len)
        return ERR_BUF;
    /* If the device's queue is full, the frame is lost, as on a real network. */
    return write(tap->fd, frame, len) == len || errno == EAGAIN || errno == ENOBUFS ? ERR_OK : ERR_IF;
}

err_t board_tap_init(struct netif *netif)
{
    struct board_tap *tap = netif->state;

    tap->netif = netif;
    netif->name[0] = 't';
    netif->name[1] = 'p';
    netif->mtu = MTU;
    netif->hwaddr_len = 6;
    memcpy(netif->hwaddr, tap->mac, 6);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP |
                   NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    netif->output = etharp_output;
    netif->output_ip6 = ethip6_output;
    netif->linkoutput = transmit;
    return ERR_OK;
}

static void receive(struct board_tap *tap, const uint8_t *frame, u16_t len)
{
    /* The buffer is not from the pool: in Debian's liblwip 2.1.3 the pool's elements are shorter than pbuf_alloc
     * assumes. */
    struct pbuf *p = pbuf_alloc(PBUF_RAW, len, PBUF_RAM);

    if (!p)
        return; /* the frame is lost; TCP sends it again */
    if (pbuf_take(p, frame, len) != ERR_OK || tap->netif->input(p, tap->netif) != ERR_OK)
        pbuf_free(p);
}

/* Waits until another program has created the device again. TUNSETIFF would itself create a missing device, without
 * addresses, and that program would then fail. */
static void wait_for_device(const struct board_tap *tap)
{
    cmx_log(CMX_LOG_ERROR, "net",
            "reading from the TAP device failed: %s; the board has no network until %s exists again", strerror(errno),
            tap->name);
    while (if_nametoindex(tap->name) == 0 || !attach(tap))
        cmx_port_sleep_ms(1000);
    cmx_log(CMX_LOG_INFO, "net", "TAP device %s exists again", tap->name);
}

static void read_frames(void *arg)
{
    struct board_tap *tap = arg;
    uint8_t frame[FRAME_MAX];

    for (;;) {
        ssize_t n = read(tap->fd, frame, sizeof frame);

        if (n > 0)
            receive(tap, frame, (u16_t)n);
        else if (n < 0 && errno != EINTR && errno != EAGAIN && errno != EIO)
            wait_for_device(tap);
        else
            cmx_port_sleep_ms(10); /* EIO: the interface is down; it may come up again */
    }
}

cmx_err board_tap_run(struct board_tap *tap)
{
    return cmx_port_task_start("tap", 0, read_frames, tap);
}
