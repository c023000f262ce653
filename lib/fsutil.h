/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that must be whole or absent, and files that hold secrets. */
#ifndef MVPN_FSUTIL_H
#define MVPN_FSUTIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* write to a temporary beside it, fsync, rename, fsync the directory */
int file_replace(const char *path, const void *data, size_t len, mode_t mode);
/* at the end of a file that exists, and on the disk; an error may have left a part of it there */
int file_append(const char *path, const void *data, size_t len);
/* whole file, malloc'ed and NUL-terminated; -EFBIG over max */
int file_read(const char *path, size_t max, char **ret, size_t *ret_len);
/* as file_read, but -EPERM unless a regular file owned by us or root with no group or other permission */
int file_read_secret(const char *path, size_t max, char **ret, size_t *ret_len);
int dir_make(const char *path, mode_t mode); /* with parents; 0 if it exists */
/*
 * Lets this process have n descriptors, or as many as may be; returns how many it may have now. Beyond the hard limit it takes
 * CAP_SYS_RESOURCE.
 */
uint64_t files_allow(uint64_t n);
/* malloc'ed "dir/name" or NULL */
char *path_join(const char *dir, const char *name);

#endif
