/* The conformance test as an ESP-IDF application. It erases the partition "storage". */
#include <stdio.h>

#include "conformance.h"
#include "esp_event.h"
#include "esp_netif.h"
#include "esp_partition.h"

static void say(const char *line)
{
    puts(line);
}

void app_main(void)
{
    const esp_partition_t *p = esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, "storage");
    struct cmx_conformance c = {.say = say};

    ESP_ERROR_CHECK(esp_netif_init()); /* starts lwIP and its loopback */
    if (p) {
        c.scratch_offset = p->address;
        c.scratch_len = p->size;
    }
    printf("conformance: %u failed\n", cmx_port_conformance(&c));
}
