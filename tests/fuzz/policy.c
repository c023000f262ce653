/* SPDX-License-Identifier: BSD-2-Clause */
/* Any text: the parser refuses it or gives a policy that can be asked. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../../server/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_name(void *arg, unsigned line, const char *name)
{
	const struct policy *p = arg;
	struct policy_subject a = {name, &name, 1}, b = {"b", NULL, 0};

	if (!line || policy_has_group(p, name))
		abort();
	policy_allows(p, &a, &b);
	policy_allows(p, &b, &a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy_error e = {0};
	struct policy *p;

	if (policy_parse((const char *)data, size, &p, &e) < 0) {
		if (!e.message[0])
			abort();
		return 0;
	}
	policy_each_name(p, use_name, p);
	policy_free(p);
	return 0;
}
