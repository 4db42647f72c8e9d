/* `cmxsafe gateway image`: keeps firmware images for updates, and checks them with the fleet's update key. */
#include <libgen.h>
#include <string.h>
#include <time.h>

#include "cli/common/image_file.h"
#include "cli/gateway/gw_command.h"
#include "cli/gateway/gw_spool.h"
#include "cli/gateway/gw_store.h"
#include "cmxsafe/core/text.h"
#include "gateway/registry/event.h"
#include "gateway/registry/meta.h"

#define IMAGE_BYTES_MAX UINT64_C(512000000)
#define IMAGES_MAX 64
#define PROGRESS_STEP (UINT64_C(256) << 10)
#define KEY_HEX_MAX (2 * CMX_P256_PUBLIC_LEN + 1)
#define KEYS_META "update_keys" /* the public keys in hex, each followed by a comma */

/* ---- the update key ---- */

/* Fails if a stored key can't be read, because without keys the images would not be checked. */
static cmx_err read_keys(struct gw *g, struct cmx_ota_keys *keys, struct cmx_why *e)
{
    char text[CMX_OTA_KEYS_MAX * KEY_HEX_MAX + 1];
    char *rest = text;
    char *one;
    cmx_err err = gw_meta_get(&g->registry, KEYS_META, text, sizeof text);

    keys->n = 0;
    while (!err && (one = strsep(&rest, ",")) != NULL && one[0])
        err = cmx_ota_keys_add(keys, one);
    if (!err || err == CMX_ENOENT)
        return CMX_OK;
    return cmx_why_fail(e, err,
                        "the update key in the registry can't be read; set it again with 'cmxsafe gateway image key'");
}

static cmx_err write_keys(struct gw *g, const struct cmx_ota_keys *keys, struct cmx_why *e)
{
    char text[CMX_OTA_KEYS_MAX * KEY_HEX_MAX + 1] = "";

    for (size_t i = 0; i < keys->n; i++) {
        cmx_text_hex_encode(text + i * KEY_HEX_MAX, keys->key[i], CMX_P256_PUBLIC_LEN);
        memcpy(text + (i + 1) * KEY_HEX_MAX - 1, ",", 2);
    }
    return gw_meta_set(&g->registry, KEYS_META, text, e);
}

static void key_id_text(const uint8_t key[CMX_P256_PUBLIC_LEN], char out[2 * CMX_TRAILER_KEY_ID_LEN + 1])
{
    uint8_t id[CMX_TRAILER_KEY_ID_LEN] = {0};

    if (cmx_trailer_key_id(key, id) != CMX_OK)
        memset(id, 0, sizeof id);
    cmx_text_hex_encode(out, id, sizeof id);
}

static void keys_json(struct cmx_json *j, const struct cmx_ota_keys *keys)
{
    char id[2 * CMX_TRAILER_KEY_ID_LEN + 1];

    cmx_json_array(j, "keys");
    for (size_t i = 0; i < keys->n; i++) {
        key_id_text(keys->key[i], id);
        cmx_json_str(j, NULL, id);
    }
    cmx_json_end(j);
}

static int show_keys(const struct gw_common *c)
{
    struct gw_read x = {.what = "the update key can't be read", .common = *c};
    struct cmx_ota_keys keys;
    struct cmx_json *j;
    char id[2 * CMX_TRAILER_KEY_ID_LEN + 1];
    cmx_err err;

    if (gw_read_begin(&x))
        return x.status;
    err = read_keys(&x.g, &keys, &x.e);
    if (err)
        return gw_read_finish(&x, err);
    j = gw_read_object(&x);
    if (j)
        keys_json(j, &keys);
    for (size_t i = 0; !j && i < keys.n; i++) {
        key_id_text(keys.key[i], id);
        printf("%s\n", id);
    }
    if (!j && !keys.n)
        puts("no update key");
    return gw_read_finish(&x, CMX_OK);
}

static int image_key(int argc, char **argv)
{
    struct gw_change x = {.what = "the update key was not changed", .outcome = GW_CHANGED};
    bool remove = false;
    const struct cli_option options[] = {GW_CHANGE_OPTIONS(x.common),
                                         CLI_FLAG("remove", "forget the update key", &remove)};
    struct cli_line line =
        CLI_LINE("cmxsafe gateway image key", "[FILE [FILE]]",
                 "Sets the public key that the fleet's devices check updates with: PEM, or hex; - "
                 "reads standard input. Give two files for the current key and its successor. 'image add' "
                 "then accepts only images that one of them signed. Without a file, it prints the "
                 "ids of the keys.",
                 0, CMX_OTA_KEYS_MAX, options);
    struct cmx_ota_keys keys = {0};
    bool failed;

    if (cli_parse(&line, argc, argv, &x.status))
        return x.status;
    if (remove && line.n_operands)
        return cli_usage(line.command, "--remove takes no FILE");
    if (!remove && !line.n_operands && x.common.dry_run)
        return cli_usage(line.command, "--dry-run needs FILE or --remove");
    if (!remove && !line.n_operands)
        return show_keys(&x.common);
    for (size_t i = 0; i < line.n_operands; i++)
        if (image_file_add_key(&keys, line.operand[i]) != CMX_OK)
            return CLI_FAILED;
    if (gw_change_begin(&x))
        return x.status;
    failed =
        write_keys(&x.g, &keys, &x.e) || gw_event(&x.g.registry, "update-key", "", keys.n ? "set" : "removed", &x.e);
    return gw_change_report(&x, failed, keys.n ? "images are checked with %zu update key%s" : "no update key", keys.n,
                            keys.n == 1 ? "" : "s");
}

/* ---- checking an image ---- */

struct checked {
    struct cmx_image image;
    bool esp;
    const char *signature; /* result of the check: "good", "none", "secure-boot", "unchecked" (no update key is set),
                            * "unknown-key", "wrong" */
};

static const char *judge_signature(const struct cmx_image *c, const struct cmx_ota_keys *keys)
{
    cmx_err err;

    if (!c->has_trailer)
        return c->has_secure_boot ? "secure-boot" : "none";
    if (!keys->n)
        return "unchecked";
    err = cmx_trailer_verify(&c->trailer, keys, c->signed_len, c->digest);
    return !err ? "good" : err == CMX_ENOKEY ? "unknown-key" : "wrong";
}

static bool is_esp(const char *path)
{
    FILE *f = fopen(path, "rbe"); /* path is this process's own copy of the image */
    int first = f ? fgetc(f) : EOF;

    if (f)
        fclose(f);
    return first == 0xe9; /* ESP_IMAGE_HEADER_MAGIC */
}

static cmx_err check_image(struct checked *k, const char *path, const struct cmx_ota_keys *keys, struct cmx_why *e)
{
    struct cmx_image_policy policy = IMAGE_FILE_POLICY;
    cmx_err err;

    k->esp = is_esp(path);
    policy.format = k->esp ? CMX_IMAGE_ESP : CMX_IMAGE_OPAQUE;
    err = image_file_read(path, &policy, &k->image, e);
    if (err)
        return err;
    k->signature = judge_signature(&k->image, keys);
    return CMX_OK;
}

/* Fails if devices would refuse the image; e says why. */
static cmx_err refuse_image(const struct checked *k, const struct cmx_ota_keys *keys, struct cmx_why *e)
{
    if (!k->esp && !k->image.has_trailer)
        return cmx_why_fail(e, CMX_EFORMAT,
                            "it is neither an ESP-IDF image nor signed; sign it with 'cmxsafe image sign'");
    if (strcmp(k->signature, "wrong") == 0)
        return cmx_why_fail(e, CMX_ESIG, "its signature does not match its content; sign it again");
    if (strcmp(k->signature, "unknown-key") == 0)
        return cmx_why_fail(e, CMX_ENOKEY,
                            "it is signed with a key that is not the update key; sign it with the update key");
    if (keys->n && strcmp(k->signature, "none") == 0)
        return cmx_why_fail(e, CMX_ENOKEY, "it is not signed; sign it with 'cmxsafe image sign'");
    return CMX_OK;
}

struct kept {
    const char *digest, *label;
    int64_t at;
};

static void image_json(struct cmx_json *j, const struct gw *g, const struct kept *kept, const struct checked *k,
                       const char *problem)
{
    char path[GW_STORE_PATH_MAX];

    gw_store_path(g, kept->digest, path);
    cmx_json_str(j, "image", kept->digest);
    cmx_json_str(j, "file", path);
    cmx_json_str(j, "name", kept->label);
    cmx_json_i64(j, "at", kept->at);
    cmx_json_str(j, "problem", problem); /* NULL: the image can be used */
    if (k) {
        image_file_put(j, &k->image, k->esp);
        cmx_json_str(j, "signature", k->signature);
    }
}

static void image_text(const struct kept *kept, const struct checked *k, const char *problem)
{
    char at[GW_TIME_TEXT_MAX];

    printf("%s  %s", kept->digest, gw_command_time(kept->at, at));
    if (k && k->esp)
        printf("  %s, %s %s", cmx_image_chip_name(k->image.info.chip_id), k->image.info.project, k->image.info.version);
    if (k)
        printf("%s, %lu bytes, signature: %s", k->esp ? "" : "  opaque", (unsigned long)k->image.signed_len,
               k->signature);
    printf("%s%s%s%s", kept->label[0] ? "  " : "", kept->label, problem ? "  UNUSABLE: " : "", problem ? problem : "");
}

/* ---- the command add ---- */

struct adding {
    struct gw_change x;
    const char *path, *label;
    uint64_t bytes; /* required length of the image; 0: any */
    bool progress;
};

static void report_progress(uint64_t received, uint64_t exactly)
{
    static uint64_t reported;
    struct gw_json json;

    if (received - reported < PROGRESS_STEP && received != exactly)
        return;
    reported = received;
    gw_json_begin_stdout(&json);
    cmx_json_u64(&json.j, "received", received);
    gw_json_end_stdout(&json);
    fflush(stdout);
}

struct counting {
    const char *digest;
    size_t others;
};
static cmx_err count_others(void *arg, const char *digest, const char *label, int64_t at)
{
    struct counting *n = arg;

    (void)label;
    (void)at;
    n->others += strcmp(digest, n->digest) != 0;
    return CMX_OK;
}

static cmx_err keep_image(struct adding *a, const struct checked *k, const char *path, char digest[CMX_SHA256_HEX])
{
    struct gw_change *x = &a->x;
    const bool store = !x->common.dry_run;
    struct counting n = {.digest = digest};
    char detail[2 * CMX_IMAGE_TEXT_MAX + CMX_SHA256_HEX + 4];
    cmx_err err;

    if (store)
        gw_store_collect(&x->g);
    err = gw_store_file(&x->g, path, store, digest, &x->e);
    if (!err)
        err = gw_store_each_kept(&x->g, count_others, &n, &x->e);
    if (!err && n.others >= IMAGES_MAX)
        err = cmx_why_fail(&x->e, CMX_ENOSPC, "the gateway keeps %d images already; remove one", IMAGES_MAX);
    if (!err && store)
        err = gw_store_keep(&x->g, digest, a->label, &x->e);
    snprintf(detail, sizeof detail, "%s %s %s", k->esp ? k->image.info.project : "opaque",
             k->esp ? k->image.info.version : "", digest);
    return err ? err : gw_event(&x->g.registry, "image", "", detail, &x->e);
}

static int add_checked(struct adding *a, const char *path)
{
    struct gw_change *x = &a->x;
    struct cmx_ota_keys keys;
    struct checked k;
    char digest[CMX_SHA256_HEX] = "";
    struct gw_json json;
    struct kept kept = {.digest = digest, .label = a->label, .at = (int64_t)time(NULL)};
    bool failed;

    if (gw_change_begin(x))
        return x->status;
    failed = read_keys(&x->g, &keys, &x->e) || check_image(&k, path, &keys, &x->e) || refuse_image(&k, &keys, &x->e) ||
             keep_image(a, &k, path, digest);
    x->status = gw_change_finish(x, failed); /* closes x->g, whose dir stays valid */
    if (x->status)
        return x->status;
    if (x->common.json) {
        gw_json_begin_stdout(&json);
        image_json(&json.j, &x->g, &kept, &k, NULL);
        if (x->common.dry_run)
            cmx_json_bool(&json.j, "dry_run", true);
        gw_json_end_stdout(&json);
    } else {
        image_text(&kept, &k, NULL);
        printf("%s\n", gw_command_dry_run(&x->common));
    }
    return CLI_OK;
}

static int add_spooled(struct adding *a)
{
    const struct gw_spool_source from = {.path = a->path,
                                         .most = IMAGE_BYTES_MAX,
                                         .exactly = a->bytes,
                                         .progress = a->progress ? report_progress : NULL};
    struct gw_spool spool;
    struct cmx_why e = {0};
    struct gw g;
    int status = gw_command_open(&g, &a->x.common, true);
    cmx_err err;

    if (status)
        return status;
    gw_folder_close(&g); /* an upload may take a long time, so do not keep the registry open; g.dir stays valid */
    err = gw_spool_open(&spool, &g, &from, &e);
    if (err)
        status = cli_fail(strcmp(a->path, "-") == 0 ? a->x.what : a->path, e.text, NULL);
    else
        status = add_checked(a, spool.path);
    gw_spool_close(&spool);
    return status;
}

static int image_add(int argc, char **argv)
{
    struct adding a = {.x.what = "the image was not stored"};
    const char *name = NULL;
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(a.x.common),
        CLI_TEXT("name", "TEXT", "the name that 'image list' shows (default: the file's name)", &name),
        CLI_NUMBER("bytes", "N", 1, IMAGE_BYTES_MAX, "refuse an image of another length", &a.bytes),
        CLI_FLAG("progress", "print {\"received\":BYTES} while the image is read", &a.progress),
    };
    struct cli_line line = CLI_LINE(
        "cmxsafe gateway image add", "FILE|-",
        "Checks an image as a device does and stores a copy for updates. If an update key is set ('image key'), the "
        "image must be signed with it. The output contains the digest, and with --json the path, of the copy.",
        1, 1, options);
    char label[GW_STORE_LABEL_MAX];
    char copy[GW_PATH_MAX];

    if (cli_parse(&line, argc, argv, &a.x.status))
        return a.x.status;
    a.path = line.operand[0];
    snprintf(copy, sizeof copy, "%s", strcmp(a.path, "-") == 0 ? "" : a.path);
    snprintf(label, sizeof label, "%.*s", GW_STORE_LABEL_MAX - 1, name ? name : copy[0] ? basename(copy) : "");
    cmx_text_clean(label);
    a.label = label;
    return add_spooled(&a);
}

/* ---- the commands list and remove ---- */

struct listing {
    struct gw *g;
    struct cmx_ota_keys keys;
    struct cmx_json *json; /* NULL: the output is text */
};

static cmx_err list_image(void *arg, const char *digest, const char *label, int64_t at)
{
    struct listing *l = arg;
    struct kept kept = {digest, label, at};
    struct checked k;
    struct cmx_why e = {0};
    char path[GW_STORE_PATH_MAX];
    cmx_err err;

    gw_store_path(l->g, digest, path);
    err = check_image(&k, path, &l->keys, &e);
    if (err || refuse_image(&k, &l->keys, &e))
        cmx_why_set(&e, "%s", cmx_why_text(&e, err));
    if (!l->json) {
        image_text(&kept, err ? NULL : &k, e.text[0] ? e.text : NULL);
        printf("\n");
        return CMX_OK;
    }
    cmx_json_object(l->json, NULL);
    image_json(l->json, l->g, &kept, err ? NULL : &k, e.text[0] ? e.text : NULL);
    cmx_json_end(l->json);
    return CMX_OK;
}

static int image_list(int argc, char **argv)
{
    struct gw_read x = {.what = "the images can't be listed"};
    const struct cli_option options[] = {GW_DIR_OPTION(x.common), GW_JSON_OPTION(x.common)};
    struct cli_line line =
        CLI_LINE("cmxsafe gateway image list", "",
                 "Lists the images that the gateway keeps, each checked with the current update key.", 0, 0, options);
    struct listing l = {.g = &x.g};
    cmx_err err;

    if (cli_parse(&line, argc, argv, &x.status))
        return x.status;
    if (gw_read_begin(&x))
        return x.status;
    err = read_keys(&x.g, &l.keys, &x.e);
    if (err)
        return gw_read_finish(&x, err);
    l.json = gw_read_object(&x);
    if (l.json) {
        cmx_json_u64(l.json, "bytes_max", IMAGE_BYTES_MAX);
        keys_json(l.json, &l.keys);
        cmx_json_array(l.json, "images");
    }
    err = gw_store_each_kept(&x.g, list_image, &l, &x.e);
    if (l.json)
        cmx_json_end(l.json);
    return gw_read_finish(&x, err);
}

/* Removes the image's files. The registry already contains the removal's event. */
static int drop_image(struct gw *g, const char *digest)
{
    struct cmx_why e = {0};
    cmx_err err = gw_folder_open(g, true, &e);

    if (err)
        return gw_fail("the image's files were not removed; repeat the command", &e);
    err = gw_folder_lock(g, &e);
    if (!err)
        err = gw_store_forget(g, digest, true, &e);
    if (!err)
        gw_store_collect(g);
    gw_folder_close(g);
    return err ? gw_fail("the image's files were not removed; repeat the command", &e) : CLI_OK;
}

static int image_remove(int argc, char **argv)
{
    struct gw_change x = {.what = "the image was not removed", .outcome = GW_CHANGED};
    const struct cli_option options[] = {GW_CHANGE_OPTIONS(x.common)};
    struct cli_line line =
        CLI_LINE("cmxsafe gateway image remove", "DIGEST",
                 "Removes an image. Campaigns that were started with it keep their copy.", 1, 1, options);
    uint8_t raw[CMX_SHA256_LEN];
    char digest[CMX_SHA256_HEX];
    bool failed;
    int status;

    if (cli_parse(&line, argc, argv, &x.status))
        return x.status;
    if (strlen(line.operand[0]) != 2 * sizeof raw || cmx_text_hex_decode(raw, sizeof raw, line.operand[0]))
        return cli_usage(line.command, "DIGEST is the 64 hex digits that 'image list' prints first");
    if (gw_change_begin(&x))
        return x.status;
    cmx_text_hex_encode(digest, raw, sizeof raw);
    failed = gw_store_forget(&x.g, digest, false, &x.e) || gw_event(&x.g.registry, "image-remove", "", digest, &x.e);
    status = gw_change_report(&x, failed, "%s: removed", digest);
    return status || x.common.dry_run ? status : drop_image(&x.g, digest);
}

int gw_cmd_image(int argc, char **argv)
{
    static const struct cli_command commands[] = {
        {"add", image_add, "check an image and store it"},
        {"list", image_list, "list the images"},
        {"remove", image_remove, "remove an image"},
        {"key", image_key, "set the key that images are checked with"},
    };

    return cli_dispatch("cmxsafe gateway image", commands, GW_COUNT(commands), argc, argv);
}
