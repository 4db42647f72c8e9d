#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board/board.h"
#include "cmxsafe/port/port.h"
#include "port/linux/file_read.h"

#define FLASH_MAX (128 << 20)

cmx_err board_flash_open(struct board_flash *f, const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    void *mem;

    if (fd < 0)
        return cmx_file_error(errno);
    if (fstat(fd, &st) || st.st_size == 0 || st.st_size % CMX_FLASH_SECTOR || st.st_size > FLASH_MAX) {
        close(fd);
        return CMX_EFORMAT;
    }
    mem = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mem == MAP_FAILED)
        return CMX_EIO;
    f->mem = mem;
    f->size = (uint32_t)st.st_size;
    return CMX_OK;
}

void board_flash_close(struct board_flash *f)
{
    if (f->mem)
        munmap(f->mem, f->size);
    f->mem = NULL;
    f->size = 0;
}

uint32_t board_flash_size(void *f)
{
    return ((struct board_flash *)f)->size;
}

static bool inside(const struct board_flash *f, uint32_t offset, size_t len)
{
    return offset <= f->size && len <= f->size - offset;
}

cmx_err board_flash_read(void *arg, uint32_t offset, void *out, size_t len)
{
    struct board_flash *f = arg;

    if (!inside(f, offset, len))
        return CMX_EINVAL;
    memcpy(out, f->mem + offset, len);
    return CMX_OK;
}

cmx_err board_flash_write(void *arg, uint32_t offset, const void *data, size_t len)
{
    struct board_flash *f = arg;
    const uint8_t *p = data;

    if (!inside(f, offset, len))
        return CMX_EINVAL;
    for (size_t i = 0; i < len; i++)
        f->mem[offset + i] &= p[i]; /* NOR flash: a write only clears bits */
    return CMX_OK;
}

cmx_err board_flash_erase(void *arg, uint32_t offset, size_t len)
{
    struct board_flash *f = arg;

    if (!inside(f, offset, len) || offset % CMX_FLASH_SECTOR || len % CMX_FLASH_SECTOR)
        return CMX_EINVAL;
    memset(f->mem + offset, 0xff, len);
    return CMX_OK;
}
