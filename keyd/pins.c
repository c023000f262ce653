/* SPDX-License-Identifier: BSD-2-Clause */
#include "pins.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto.h"
#include "fsutil.h"

#define FILE_NAME "pins"
#define FILE_MAX (64U << 20)
#define SLACK 1000 /* lines of changed keys that a short file may have */
#define LINE_B (32 + 1 + 64) /* of hex digits, without its end */

struct pin {
	uint8_t id[MVPN_ID_LEN], pk[32];
	uint32_t line;
};

static int pin_cmp(const void *a, const void *b)
{
	const struct pin *x = a, *y = b;
	int c = memcmp(x->id, y->id, sizeof(x->id));

	return c ? c : (x->line > y->line) - (x->line < y->line);
}

/* false: cut by a crash, or by hand; that peer is pinned anew */
static bool pin_parse(struct pin *ret, char *line)
{
	if (strlen(line) != LINE_B || line[32] != ' ')
		return false;
	line[32] = '\0';
	return !mvpn_unhex(ret->id, sizeof(ret->id), line) && !mvpn_unhex(ret->pk, sizeof(ret->pk), line + 33);
}

static void pin_text(char ret[static LINE_B + 2], const uint8_t id[MVPN_ID_LEN], const uint8_t pk[32])
{
	mvpn_hex(ret, id, MVPN_ID_LEN);
	ret[32] = ' ';
	mvpn_hex(ret + 33, pk, 32);
	ret[LINE_B] = '\n';
	ret[LINE_B + 1] = '\0';
}

/* the last of each id, by id; *ret_lines: how many lines there were in all */
static int pins_read(const char *path, struct pin **ret, uint32_t *ret_n, uint32_t *ret_lines)
{
	char *text = NULL, *save = NULL;
	uint32_t n = 0, last = 0;
	struct pin *pins;
	size_t len;
	int r = file_read(path, FILE_MAX, &text, &len);

	if (r)
		return r;
	pins = calloc(len / LINE_B + 1, sizeof(*pins));
	*ret_lines = 0;
	for (char *line = pins ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		pins[n].line = (*ret_lines)++;
		n += pin_parse(&pins[n], line);
	}
	free(text);
	if (!pins)
		return -ENOMEM;
	if (n)
		qsort(pins, n, sizeof(*pins), pin_cmp);
	for (uint32_t i = 0; i < n; i++)
		if (i + 1 == n || memcmp(pins[i].id, pins[i + 1].id, sizeof(pins[i].id)) != 0)
			pins[last++] = pins[i];
	*ret = pins;
	*ret_n = last;
	return 0;
}

static bool is_long(const struct pins_kept *k)
{
	return k->lines > 2 * k->ids + SLACK;
}

static int pins_write(const char *path, const struct pin *pins, uint32_t n)
{
	size_t len = (size_t)n * (LINE_B + 1);
	char *text = malloc(len + 1);
	int r;

	if (!text)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		pin_text(text + (size_t)i * (LINE_B + 1), pins[i].id, pins[i].pk);
	r = file_replace(path, text, len, 0600);
	free(text);
	return r;
}

int pins_load(const char *dir, struct pins_kept *ret,
	      int (*fn)(void *arg, const uint8_t id[MVPN_ID_LEN], const uint8_t pk[32]), void *arg)
{
	char *path = path_join(dir, FILE_NAME);
	struct pin *pins = NULL;
	uint32_t n = 0;
	int r;

	*ret = (struct pins_kept){0};
	if (!path)
		return -ENOMEM;
	r = pins_read(path, &pins, &n, &ret->lines);
	ret->ids = n;
	/* one that cannot be written now is as good as before, and shortened another time */
	if (!r && is_long(ret) && !pins_write(path, pins, n))
		ret->lines = n;
	free(path);
	for (uint32_t i = 0; !r && fn && i < n; i++)
		r = fn(arg, pins[i].id, pins[i].pk);
	free(pins);
	return r == -ENOENT ? 0 : r;
}

int pins_append(const char *dir, struct pins_kept *kept, const uint8_t id[MVPN_ID_LEN], const uint8_t pk[32],
		bool durable)
{
	char *path = path_join(dir, FILE_NAME), line[1 + LINE_B + 2];
	int fd, r = 0;

	if (!path)
		return -ENOMEM;
	line[0] = '\n'; /* whatever a crash has left before it */
	pin_text(line + 1, id, pk);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	free(path);
	if (fd < 0)
		return -errno;
	errno = 0;
	if (write(fd, line, LINE_B + 2) != LINE_B + 2)
		r = errno ? -errno : -EIO;
	if (!r && durable && fdatasync(fd))
		r = -errno;
	close(fd);
	kept->lines++;
	if (!r && is_long(kept))
		pins_load(dir, kept, NULL, NULL);
	return r;
}
