#include "gateway/render/gw_nft_nodes.h"

#include "gateway/render/gw_nft_marks.h"

/* A local user or unit of the node at the other end: the same name at each node, so each may send with its identity.
 * The answers go where the connection came from. */
static void put_from_locals(FILE *f, const struct gw_nodes *nodes)
{
    fprintf(f, "    chain from_locals {\n");
    for (size_t i = 0; i < nodes->n; i++)
        if (&nodes->list[i] != nodes->own)
            fprintf(f, "        iifname \"cmxlink%u\" meta mark set %#x\n", nodes->list[i].number,
                    GW_NFT_FROM_NODE_MARK | nodes->list[i].number);
    fprintf(f, "        jump judge\n"
               "        jump deny\n"
               "        drop\n"
               "    }\n");
}

void gw_nft_nodes_chains(FILE *f, const struct gw_nodes *nodes)
{
    put_from_locals(f, nodes);
    fprintf(f,
            "    # What gateways tell each other: BGP, BFD, and questions of the running gateways.\n"
            "    chain between_nodes {\n"
            "        tcp dport { 179, " GW_NFT_NODE_PORT " } accept\n"
            "        tcp sport { 179, " GW_NFT_NODE_PORT " } tcp flags & (syn | ack) != syn accept\n"
            "        udp dport 3784 accept\n"
            "        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
            "        drop\n"
            "    }\n"
            "    chain from_node {\n"
            "        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept\n"
            "        ip6 saddr %s ip6 daddr %s fib saddr . iif oif exists goto between_nodes\n"
            "        meta nfproto != ipv6 drop\n"
            "        meta l4proto != tcp counter drop\n"
            "        ip6 saddr @locals goto from_locals\n"
            "        meta mark set " GW_NFT_MARK "\n"
            "        fib saddr . mark . iif oif missing counter drop comment \"an identity that this node does not "
            "hold\"\n"
            "        meta mark set 0\n"
            "        jump judge\n"
            "        jump deny\n"
            "        drop\n"
            "    }\n"
            "    # Both ends derive their segment size from the loopback; the link's packets are smaller.\n"
            "    chain postrouting {\n"
            "        type filter hook postrouting priority mangle; policy accept;\n"
            "        oifname \"cmxlink*\" tcp flags & syn == syn tcp option maxseg size set rt mtu\n"
            "    }\n",
            nodes->prefix, nodes->own->link);
}

void gw_nft_nodes_marks(FILE *f, const struct gw_nodes *nodes)
{
    fprintf(f, "        meta mark set 0\n");
    for (size_t i = 0; i < nodes->n; i++)
        if (&nodes->list[i] != nodes->own)
            fprintf(f, "        iifname \"cmxlink%u\" ip6 saddr @locals meta mark set %#x\n", nodes->list[i].number,
                    GW_NFT_FROM_NODE_MARK | nodes->list[i].number);
}
