/* SPDX-License-Identifier: BSD-2-Clause */
/* The names in [keyd] networks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "networks.h"

#define SEPARATORS ", \t"

static const char *name_wrong(const struct networks *l, const char *name)
{
	if (!mvpn_network_valid(name))
		return "is no name: 1 to 9 of a-z and 0-9";
	if (!strcmp(name, "keyd") || !strcmp(name, "server"))
		return "cannot be a network's name: its configuration would be a file of mvpn's own";
	if (networks_have(l, name))
		return "is there twice";
	return l->n == sizeof(l->names) / sizeof(l->names[0]) ? "is one too many: there may be 15" : NULL;
}

int networks_parse(const char *text, struct networks *ret, char **ret_error)
{
	char *copy = strdup(text ? text : ""), *save = NULL, *name;
	int r = copy ? 0 : -ENOMEM;

	ret->n = 0;
	for (name = copy ? strtok_r(copy, SEPARATORS, &save) : NULL; name && !r; name = strtok_r(NULL, SEPARATORS, &save)) {
		const char *wrong = name_wrong(ret, name);

		if (wrong)
			r = asprintf(ret_error, "[keyd] networks: \"%s\" %s", name, wrong) < 0 ? -ENOMEM : -EINVAL;
		else
			strcpy(ret->names[ret->n++], name);
	}
	free(copy);
	return r;
}

bool networks_have(const struct networks *l, const char *name)
{
	for (unsigned i = 0; i < l->n; i++)
		if (!strcmp(l->names[i], name))
			return true;
	return false;
}
