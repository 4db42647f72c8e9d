/* sys_arch.h - lwIP's operating system types, opaque. For compile checks only. */
#pragma once

typedef void *sys_sem_t;
typedef void *sys_mutex_t;
typedef void *sys_mbox_t;
typedef void *sys_thread_t;
