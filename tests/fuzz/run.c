/* SPDX-License-Identifier: BSD-2-Clause */
/* run_size: never reads beyond the run, and always gets on. The first two bytes are the guess. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../keyd/dp/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint16_t guess;
	uint8_t *p;
	size_t n;

	if (size < 3)
		return 0;
	memcpy(&guess, data, 2);
	size -= 2;
	p = malloc(size); /* exactly: the sanitizer sees the next byte */
	memcpy(p, data + 2, size);
	n = run_size(p, size, guess);
	if (!n || n > size)
		abort();
	free(p);
	return 0;
}
