/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Public test vectors, JSON, from $MVPN_VECTORS or ../shared/vectors beside the checkout. Include
 * after test.h; needs jansson. Without the file the test is skipped and says which file was
 * missing.
 */
#ifndef MVPN_TESTS_UNIT_VECTORS_H
#define MVPN_TESTS_UNIT_VECTORS_H

#include <stdio.h>
#include <string.h>

#include <jansson.h>
#include <sodium.h>

struct octets {
	size_t len;
	uint8_t b[9000];
};

static inline json_t *vectors_load(const char *name)
{
	const char *dir = getenv("MVPN_VECTORS");
	char path[4096];
	json_t *j;

	snprintf(path, sizeof(path), "%s/%s", dir && *dir ? dir : "../shared/vectors", name);
	j = json_load_file(path, 0, NULL);
	if (!j) {
		print_message("# skipped: no %s (set MVPN_VECTORS to the directory of vectors)\n",
			      path);
		skip();
	}
	return j;
}

static inline const char *vector_text(json_t *v, const char *key)
{
	const char *s = json_string_value(json_object_get(v, key));

	return s ? s : "";
}

/* the hexadecimal member `key`; absent is empty */
static inline const struct octets *vector_hex(struct octets *ret, json_t *v, const char *key)
{
	const char *s = vector_text(v, key);

	assert_true(strlen(s) <= 2 * sizeof(ret->b));
	assert_int_equal(
		sodium_hex2bin(ret->b, sizeof(ret->b), s, strlen(s), NULL, &ret->len, NULL), 0);
	return ret;
}

/* each test `v` in group `g` of a Wycheproof file `j` */
#define wycheproof_each(j, gi, g, vi, v)                            \
	json_array_foreach(json_object_get(j, "testGroups"), gi, g) \
		json_array_foreach(json_object_get(g, "tests"), vi, v)

static inline int vector_id(json_t *v)
{
	return json_integer_value(json_object_get(v, "tcId"));
}

static inline int wycheproof_size(json_t *g, const char *key)
{
	return json_integer_value(json_object_get(g, key));
}

/* a test's own words on failure, because an assertion knows only the line */
#define vector_check(v, cond)                                                                   \
	do {                                                                                    \
		if (!(cond))                                                                    \
			fail_msg("vector %d (%s): %s", vector_id(v), vector_text(v, "comment"), \
				 #cond);                                                        \
	} while (0)

#endif
