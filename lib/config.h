/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Strict INI configuration on libinih: a table of known keys; an unknown section or key, a value out of range, or a
 * line that is not INI is an error that names file, line, key and what is allowed. FILE is read first, then
 * FILE.d/ *.conf in name order; later wins.
 */
#ifndef MVPN_CONFIG_H
#define MVPN_CONFIG_H

#include <stddef.h>
#include <stdint.h>

enum config_type { CONFIG_STRING, CONFIG_UINT, CONFIG_BOOL, CONFIG_ENUM };

struct config_key {
	const char *section, *name;
	enum config_type type;
	size_t offset;		    /* of the field in the settings struct: char *, uint64_t, bool, int */
	uint64_t min, max;	    /* CONFIG_UINT */
	const char *const *choices; /* CONFIG_ENUM: NULL-terminated; the value stored is the index */
};

/*
 * Fill `settings`, which holds the defaults. Its strings are malloc'ed or NULL, before and after; whatever is
 * returned, config_free frees them. 0, or -errno with *ret_error a malloc'ed message. -ENOENT only if `path` is missing.
 */
int config_load(const char *path, const struct config_key *keys, size_t nkeys, void *settings, char **ret_error);
/*
 * The same of a file that may hold more, and mistakes: what is not in the table, or is wrong, is passed over. Only whole files that cannot be
 * read are errors.
 */
int config_load_some(const char *path, const struct config_key *keys, size_t nkeys, void *settings, char **ret_error);
void config_free(const struct config_key *keys, size_t nkeys, void *settings);

#endif
