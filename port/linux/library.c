#include "port/linux/library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* dlerror's text names the library or the function, and the reason. */
static cmx_err complain(const struct cmx_library *l, const char *purpose, struct cmx_why *why)
{
    const char *said = dlerror();

    if (why)
        cmx_why_set(why, "%s needs a library: %s; install %s", purpose, said ? said : l->soname,
                    l->package[0] ? l->package : "the package that has it");
    return CMX_ENOTSUP;
}

static cmx_err load(struct cmx_library *l, const char *purpose, struct cmx_why *why)
{
    void *handle = dlopen(l->soname, RTLD_NOW | RTLD_LOCAL);
    cmx_err err;

    if (!handle)
        return complain(l, purpose, why);
    for (size_t i = 0; i < l->n_names; i++) {
        void *symbol = dlsym(handle, l->names[i]);

        if (!symbol) {
            err = complain(l, purpose, why);
            dlclose(handle);
            return err;
        }
        /* A copy of the bytes turns void * into a function pointer: see POSIX, dlsym, rationale. */
        memcpy((char *)l->pointers + i * sizeof symbol, &symbol, sizeof symbol);
    }
    l->handle = handle;
    return CMX_OK;
}

cmx_err cmx_library_load(struct cmx_library *l, const char *purpose, struct cmx_why *why)
{
    cmx_err err = CMX_OK;

    pthread_mutex_lock(&lock);
    if (!l->handle)
        err = load(l, purpose, why);
    pthread_mutex_unlock(&lock);
    return err;
}

void cmx_library_unload(struct cmx_library *l)
{
    pthread_mutex_lock(&lock);
    if (l->handle)
        dlclose(l->handle);
    l->handle = NULL;
    pthread_mutex_unlock(&lock);
}
