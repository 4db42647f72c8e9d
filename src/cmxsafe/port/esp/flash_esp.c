/* flash_esp.c - implements the flash functions of port.h for the whole chip. Reads are raw, as attestation needs them:
 * with flash encryption they return ciphertext. Writes and erases use the partition API, which encrypts where it must.
 * They fail outside partitions, for example in the bootloader and the partition table. */
#ifdef ESP_PLATFORM

#include "cmxsafe/port/esp/esp_defaults.h"
#include "cmxsafe/port/port.h"
#include "esp_flash.h"
#include "esp_partition.h"

uint32_t cmx_port_flash_size(void)
{
    uint32_t size = 0;

    return esp_flash_get_size(NULL, &size) == ESP_OK ? size : 0;
}

static cmx_err inside(uint32_t offset, size_t len)
{
    uint32_t size = cmx_port_flash_size();

    return offset <= size && len <= size - offset ? CMX_OK : CMX_EINVAL;
}

static cmx_err from_esp(esp_err_t rc)
{
    if (rc == ESP_OK)
        return CMX_OK;
    if (rc == ESP_ERR_NO_MEM)
        return CMX_ENOMEM;
    return rc == ESP_ERR_NOT_ALLOWED ? CMX_EPERM : CMX_EIO;
}

cmx_err cmx_port_flash_read(uint32_t offset, void *out, size_t len)
{
    cmx_err err = inside(offset, len);

    if (err || !len)
        return err;
    return from_esp(esp_flash_read(NULL, out, offset, (uint32_t)len));
}

/* Returns the partition that contains the whole range, or NULL. ESP-IDF owns it. */
static const esp_partition_t *partition_of(uint32_t offset, size_t len)
{
    esp_partition_iterator_t it = esp_partition_find(ESP_PARTITION_TYPE_ANY, ESP_PARTITION_SUBTYPE_ANY, NULL);
    const esp_partition_t *found = NULL;

    while (it && !found) {
        const esp_partition_t *p = esp_partition_get(it);

        if (offset >= p->address && offset - p->address <= p->size && len <= p->size - (offset - p->address))
            found = p;
        it = esp_partition_next(it); /* after the last partition, releases it and returns NULL */
    }
    esp_partition_iterator_release(it);
    return found;
}

cmx_err cmx_port_flash_write(uint32_t offset, const void *data, size_t len)
{
    const esp_partition_t *p = partition_of(offset, len);
    cmx_err err = inside(offset, len);

    if (err || !len)
        return err;
    return p ? from_esp(esp_partition_write(p, offset - p->address, data, len)) : CMX_EPERM;
}

cmx_err cmx_port_flash_erase(uint32_t offset, size_t len)
{
    const esp_partition_t *p = partition_of(offset, len);
    cmx_err err = inside(offset, len);

    if (!err && (offset % CMX_FLASH_SECTOR || len % CMX_FLASH_SECTOR))
        err = CMX_EINVAL;
    if (err || !len)
        return err;
    return p ? from_esp(esp_partition_erase_range(p, offset - p->address, len)) : CMX_EPERM;
}

#endif
