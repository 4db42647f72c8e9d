# Sets CMX_HEAP and CMX_NEXT_MALLOC to one source file each, depending on which functions the C library has.
include(CheckCSourceCompiles)
include(CheckSymbolExists)

check_symbol_exists(malloc_trim malloc.h CMX_HAVE_MALLOC_TRIM)
set(CMX_HEAP port/linux/libc/heap_other.c)
if(CMX_HAVE_MALLOC_TRIM)
  set(CMX_HEAP port/linux/libc/heap_glibc.c)
endif()

check_c_source_compiles("extern void __libc_free(void *); extern void *__libc_realloc(void *, unsigned long);
  int main(void) { __libc_free(__libc_realloc(0, 1)); return 0; }" CMX_HAVE_LIBC_FREE)
set(CMX_NEXT_MALLOC port/linux/libc/next_dlsym.c)
if(CMX_HAVE_LIBC_FREE)
  set(CMX_NEXT_MALLOC port/linux/libc/next_named.c)
endif()
