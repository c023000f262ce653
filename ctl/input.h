/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that a verb reads, "-" being standard input. */
#ifndef MVPN_CTL_INPUT_H
#define MVPN_CTL_INPUT_H

#include <stddef.h>

int input_read(const char *path, size_t max, char **ret, size_t *ret_len); /* as file_read() */
const char *input_name(const char *path);				   /* for messages */

#endif
