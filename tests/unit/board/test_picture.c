/* The application's test picture, decoded by libjpeg. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jpeglib.h>

#include "jpeg.h"
#include "picture.h"

static uint8_t file[PICTURE_MAX];
static uint8_t pixels[480][640][3];

/* Decodes to YCbCr into pixels; fails the test if libjpeg warns. */
static void decode(const uint8_t *data, size_t len, unsigned width, unsigned height)
{
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr errors;

    d.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&d);
    jpeg_mem_src(&d, data, len);
    assert_int_equal(jpeg_read_header(&d, TRUE), JPEG_HEADER_OK);
    assert_int_equal(d.jpeg_color_space, JCS_YCbCr);
    d.out_color_space = JCS_YCbCr;
    jpeg_start_decompress(&d);
    assert_int_equal(d.output_width, width);
    assert_int_equal(d.output_height, height);
    while (d.output_scanline < height) {
        JSAMPROW row = pixels[d.output_scanline][0];

        jpeg_read_scanlines(&d, &row, 1);
    }
    jpeg_finish_decompress(&d);
    assert_int_equal(errors.num_warnings, 0);
    jpeg_destroy_decompress(&d);
}

static struct jpeg_colour noise(void *arg, unsigned column, unsigned row)
{
    unsigned v = (column * 7919 + row * 104729 + *(unsigned *)arg) * 2654435761u;
    struct jpeg_colour c = {(uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};

    return c;
}

static void test_every_block_has_its_colour(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 20; seed++) {
        size_t len = 0;

        assert_int_equal(jpeg_encode(file, sizeof file, &len, 20, 10, noise, &seed), CMX_OK);
        decode(file, len, 160, 80);
        for (unsigned row = 0; row < 80; row++)
            for (unsigned column = 0; column < 160; column++) {
                struct jpeg_colour c = noise(&seed, column / 8, row / 8);

                assert_int_equal(pixels[row][column][0], c.y);
                assert_int_equal(pixels[row][column][1], c.cb);
                assert_int_equal(pixels[row][column][2], c.cr);
            }
    }
}

static struct jpeg_colour extremes(void *arg, unsigned column, unsigned row)
{
    uint8_t v = (column + row) % 2 ? 255 : 0;
    struct jpeg_colour c = {v, (uint8_t)(255 - v), v};

    (void)arg;
    return c;
}

static void test_largest_differences(void **state)
{
    size_t len = 0;

    (void)state;
    assert_int_equal(jpeg_encode(file, sizeof file, &len, 8, 8, extremes, NULL), CMX_OK);
    decode(file, len, 64, 64);
    assert_int_equal(pixels[0][0][0], 0);
    assert_int_equal(pixels[0][8][0], 255);
    assert_int_equal(pixels[8][0][1], 0);
}

static void test_bounds(void **state)
{
    unsigned seed = 0;
    size_t len = 0, again = 7;

    (void)state;
    assert_int_equal(jpeg_encode(file, sizeof file, &len, 20, 10, noise, &seed), CMX_OK);
    for (size_t cap = 0; cap < len; cap++) {
        uint8_t *exact = malloc(cap); /* exact size, so that ASan detects a write beyond the end */

        assert_int_equal(jpeg_encode(exact, cap, &again, 20, 10, noise, &seed), CMX_ENOSPC);
        free(exact);
    }
    assert_int_equal(again, 7);
    assert_int_equal(jpeg_encode(file, sizeof file, &len, 0, 10, noise, &seed), CMX_EINVAL);
    assert_int_equal(jpeg_encode(file, sizeof file, &len, 8192, 10, noise, &seed), CMX_EINVAL);
}

static void test_picture_moves_and_fits(void **state)
{
    static uint8_t other[PICTURE_MAX];
    size_t len = 0, other_len = 0;

    (void)state;
    for (uint32_t n = 0; n < 2000; n++)
        assert_int_equal(picture_frame(NULL, n, file, sizeof file, &len), CMX_OK);
    assert_int_equal(picture_frame(NULL, UINT32_MAX, file, sizeof file, &len), CMX_OK);
    decode(file, len, 640, 480);
    assert_int_equal(picture_frame(NULL, 7, file, sizeof file, &len), CMX_OK);
    assert_int_equal(picture_frame(NULL, 8, other, sizeof other, &other_len), CMX_OK);
    assert_true(len != other_len || memcmp(file, other, len) != 0);
    assert_int_equal(picture_frame(NULL, 7, other, sizeof other, &other_len), CMX_OK);
    assert_int_equal(len, other_len);
    assert_memory_equal(file, other, len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_block_has_its_colour),
        cmocka_unit_test(test_largest_differences),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_picture_moves_and_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
