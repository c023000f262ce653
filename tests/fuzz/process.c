/* SPDX-License-Identifier: BSD-2-Clause */
/* Any bytes as the server's lines about processes: refused, or a table within its bounds that can be numbered. */
#include <stdlib.h>
#include <string.h>

#include "../../keyd/process_table.h"
#include "../../keyd/traits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct shim_traits maps;
	static struct traits traits;
	struct process_table *t;

	if (process_table_parse(data, size, &t) < 0)
		return 0;
	traits_begin(&traits);
	for (unsigned i = 0; i < t->n; i++) {
		const struct process_line *l = &t->lines[i];

		if (l->nby > MVPN_BY_LINE_MAX || l->nservices > MVPN_SERVICES_MAX)
			abort();
		for (unsigned n = 0; n < l->nby; n++)
			if (mvpn_by_wrong(l->by[n].kind, l->by[n].value) ||
			    traits_number(&traits, l->by[n].kind, l->by[n].value) >= MVPN_TRAITS_MAX)
				abort();
	}
	traits_resolve(&traits, "/dev/null", true, &maps);
	if (maps.nuids > MVPN_TRAITS_MAX || maps.nexes > MVPN_TRAITS_MAX ||
	    maps.ngroups > MVPN_TRAITS_MAX * MVPN_GROUP_DEPTH)
		abort();
	process_table_free(t);
	return 0;
}
