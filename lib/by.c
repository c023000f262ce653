/* SPDX-License-Identifier: BSD-2-Clause */
#include "by.h"

#include <string.h>

static const char *const names[MVPN_BY_KINDS] = {
	[MVPN_BY_UNIT] = "unit",
	[MVPN_BY_CGROUP] = "cgroup",
	[MVPN_BY_UID] = "uid",
	[MVPN_BY_EXE] = "exe",
};

const char *mvpn_by_name(unsigned kind)
{
	return kind < MVPN_BY_KINDS ? names[kind] : "?";
}

int mvpn_by_kind(const char *word, size_t len)
{
	for (int i = 0; i < MVPN_BY_KINDS; i++)
		if (strlen(names[i]) == len && !memcmp(names[i], word, len))
			return i;
	return -1;
}

static bool ends(const char *s, size_t len, const char *with)
{
	size_t n = strlen(with);

	return len > n && !memcmp(s + len - n, with, n);
}

static bool only_has(const char *s, const char *more)
{
	for (; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		      (*s >= '0' && *s <= '9') || strchr(more, *s)))
			return false;
	return true;
}

static const char *unit_wrong(const char *v)
{
	size_t len = strlen(v);

	if (len >= MVPN_GROUP_NAME_B)
		return "a unit's name has at most 123 characters";
	if (!ends(v, len, ".service") && !ends(v, len, ".scope") && !ends(v, len, ".slice"))
		return "a unit that has processes is called .service, .scope or .slice";
	if (!only_has(v, ":_.-\\@"))
		return "a unit's name is of letters, digits and :_.-\\@";
	return NULL;
}

/* components that are not empty, . or .. */
static const char *path_wrong(const char *v, size_t part_max, unsigned parts_max)
{
	unsigned n = 0;

	if (*v != '/' || !v[1])
		return "a path begins with / and names something below it";
	while (*v) {
		size_t len = strcspn(++v, "/");

		if (!len || (len == 1 && v[0] == '.') || (len == 2 && v[0] == '.' && v[1] == '.'))
			return "a path has no //, /./ or /../, and no / at its end";
		if (len > part_max || ++n > parts_max)
			return "the path is too long";
		v += len;
	}
	return NULL;
}

static const char *uid_wrong(const char *v)
{
	unsigned long long n = 0;

	if (strspn(v, "0123456789") == strlen(v)) {
		for (; *v && n <= 0xfffffffeULL; v++)
			n = n * 10 + (unsigned)(*v - '0');
		return n <= 0xfffffffeULL ? NULL : "a uid is below 4294967295";
	}
	if (strlen(v) > MVPN_NAME_MAX_B || !only_has(v, "_.-$") || *v == '-')
		return "a user's name is of letters, digits and _.-";
	return NULL;
}

const char *mvpn_by_wrong(unsigned kind, const char *value)
{
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 127 || strchr(",#=>", *c))
			return "it has a blank, a control character or one of ,#=>, which the policy's "
			       "language keeps for itself";
	if (!*value || strlen(value) > MVPN_BY_MAX_B)
		return "it is empty or too long";
	switch (kind) {
	case MVPN_BY_UNIT:
		return unit_wrong(value);
	case MVPN_BY_CGROUP:
		return path_wrong(value, MVPN_GROUP_NAME_B - 1, MVPN_GROUP_DEPTH);
	case MVPN_BY_UID:
		return uid_wrong(value);
	case MVPN_BY_EXE:
		return path_wrong(value, MVPN_BY_MAX_B, MVPN_BY_MAX_B);
	}
	return "unknown kind";
}

bool mvpn_by_meets(unsigned kind, const char *asked, const char *has)
{
	size_t len = strlen(asked);

	if (!strcmp(asked, has))
		return true;
	return kind == MVPN_BY_CGROUP && !strncmp(asked, has, len) && has[len] == '/';
}

bool mvpn_by_unit_in(const char *cgroup, unsigned n, char ret[static MVPN_GROUP_NAME_B])
{
	bool slice = true;

	while (*cgroup && slice) {
		size_t len = strcspn(++cgroup, "/");

		if (!len || len >= MVPN_GROUP_NAME_B)
			return false;
		memcpy(ret, cgroup, len);
		ret[len] = '\0';
		if (!n--)
			return true;
		slice = ends(ret, len, ".slice");
		cgroup += len;
	}
	return false;
}
