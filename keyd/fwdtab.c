/* SPDX-License-Identifier: BSD-2-Clause */
#include "fwdtab.h"

#include <stdlib.h>

struct fwdtab *fwdtab_new(unsigned max)
{
	return calloc(1, sizeof(struct fwdtab) + max * sizeof(struct fwd_entry));
}

void fwdtab_add(struct fwdtab *t, const struct fwd_entry *e)
{
	t->of[t->n++] = *e;
}

static int by_spi(const void *a, const void *b)
{
	const struct fwd_entry *x = a, *y = b;

	return (x->spi > y->spi) - (x->spi < y->spi);
}

void fwdtab_sort(struct fwdtab *t)
{
	qsort(t->of, t->n, sizeof(*t->of), by_spi);
}

unsigned fwdtab_find(const struct fwdtab *t, uint32_t spi, const struct fwd_entry **ret)
{
	unsigned lo = 0, hi = t ? t->n : 0, n = 0;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (t->of[mid].spi < spi)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (t && lo + n < t->n && t->of[lo + n].spi == spi)
		n++;
	if (n)
		*ret = &t->of[lo];
	return n;
}
