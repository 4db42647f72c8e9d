/* heap.h - settings of the C library's heap that only some C libraries have. */
#pragma once

/* Makes all threads share one heap. Call this before the first thread starts. */
void cmx_heap_share(void);

/* Returns free memory to the system. */
void cmx_heap_trim(void);
