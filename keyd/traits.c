/* SPDX-License-Identifier: BSD-2-Clause */
#include "traits.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void traits_begin(struct traits *t)
{
	for (unsigned i = 0; i < MVPN_TRAITS_MAX; i++) {
		t->list[i].was = t->list[i].used;
		t->list[i].used = false;
	}
}

int traits_number(struct traits *t, unsigned kind, const char *value)
{
	struct trait *free_one = NULL;

	for (int i = 0; i < MVPN_TRAITS_MAX; i++) {
		struct trait *x = &t->list[i];

		if (!x->used && !x->was) {
			free_one = free_one ? free_one : x;
		} else if (x->kind == kind && !strcmp(x->value, value)) {
			x->used = true;
			return i;
		}
	}
	if (!free_one)
		return -1;
	*free_one = (struct trait){.kind = kind, .used = true};
	snprintf(free_one->value, sizeof(free_one->value), "%s", value);
	return (int)(free_one - t->list);
}

/* ---- what it means here ---- */

/* by the file alone: services of names may take as long as they like to answer */
static bool uid_of(const char *name, const char *passwd, uint32_t *ret)
{
	char buf[4096];
	struct passwd one, *found = NULL;
	bool ok = false;
	FILE *f;

	if (strspn(name, "0123456789") == strlen(name)) {
		*ret = (uint32_t)strtoul(name, NULL, 10);
		return true;
	}
	f = fopen(passwd, "re");
	if (!f)
		return false;
	while (!ok && fgetpwent_r(f, &one, buf, sizeof(buf), &found) == 0) {
		ok = !strcmp(one.pw_name, name);
		*ret = one.pw_uid;
	}
	fclose(f);
	return ok;
}

/* as the kernel numbers devices within itself */
static uint32_t kernel_dev(unsigned maj, unsigned min)
{
	return maj << 20 | min;
}

/*
 * "36 25 0:31 …" (proc(5)): the third is the file system's own device. Of btrfs, and of overlayfs in part, stat() tells one that
 * the kernel has made up for a part of it.
 */
static bool mount_dev(uint64_t mount, uint32_t *ret)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	unsigned long long id;
	unsigned maj, min;
	bool found = false;
	size_t size = 0;

	while (f && !found && getline(&line, &size, f) > 0) {
		found = sscanf(line, "%llu %*u %u:%u", &id, &maj, &min) == 3 && id == mount;
		if (found)
			*ret = kernel_dev(maj, min);
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

static bool exe_of(const char *path, struct mvpn_exe *ret)
{
	struct statx st;

	if (statx(AT_FDCWD, path, 0, STATX_TYPE | STATX_INO | STATX_MNT_ID, &st) < 0 ||
	    !S_ISREG(st.stx_mode))
		return false;
	*ret = (struct mvpn_exe){.inode = st.stx_ino,
				 .dev = kernel_dev(st.stx_dev_major, st.stx_dev_minor)};
	if (!st.stx_dev_major && st.stx_mask & STATX_MNT_ID)
		mount_dev(st.stx_mnt_id, &ret->dev);
	return true;
}

static struct mvpn_group *group(struct shim_traits *s, uint32_t under, const char *name, size_t len)
{
	struct mvpn_group_key k = {.under = under};

	memcpy(k.name, name, len);
	for (unsigned i = 0; i < s->ngroups; i++)
		if (!memcmp(&s->groups[i], &k, sizeof(k)))
			return &s->group_traits[i];
	s->groups[s->ngroups] = k;
	s->group_traits[s->ngroups] = (struct mvpn_group){.node = s->ngroups + 1};
	return &s->group_traits[s->ngroups++];
}

static void add_path(struct shim_traits *s, const char *path, uint64_t bit)
{
	struct mvpn_group *g = NULL;

	while (*path) {
		size_t len = strcspn(++path, "/");

		g = group(s, g ? g->node : 0, path, len);
		path += len;
	}
	if (g)
		g->traits |= bit;
}

static void add_uid(struct shim_traits *s, uint32_t uid, uint64_t bit)
{
	unsigned i = 0;

	while (i < s->nuids && s->uids[i] != uid)
		i++;
	if (i == s->nuids) {
		s->uids[s->nuids++] = uid;
		s->uid_traits[i] = 0;
	}
	s->uid_traits[i] |= bit;
}

static void add_exe(struct shim_traits *s, const struct mvpn_exe *exe, uint64_t bit)
{
	unsigned i = 0;

	while (i < s->nexes && memcmp(&s->exes[i], exe, sizeof(*exe)) != 0)
		i++;
	if (i == s->nexes) {
		s->exes[s->nexes++] = *exe;
		s->exe_traits[i] = 0;
	}
	s->exe_traits[i] |= bit;
}

void traits_resolve(struct traits *t, const char *passwd, bool before, struct shim_traits *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < MVPN_TRAITS_MAX; i++) {
		struct trait *x = &t->list[i];
		struct mvpn_exe exe;
		uint32_t uid;

		if (!x->used && !(before && x->was))
			continue;
		x->found = true;
		switch (x->kind) {
		case MVPN_BY_UNIT:
			group(ret, MVPN_GROUP_UNIT, x->value, strlen(x->value))->traits |= 1ULL << i;
			break;
		case MVPN_BY_CGROUP:
			add_path(ret, x->value, 1ULL << i);
			break;
		case MVPN_BY_UID:
			x->found = uid_of(x->value, passwd, &uid);
			if (x->found)
				add_uid(ret, uid, 1ULL << i);
			break;
		case MVPN_BY_EXE:
			x->found = exe_of(x->value, &exe);
			if (x->found)
				add_exe(ret, &exe, 1ULL << i);
			break;
		}
	}
}

static uint64_t groups_met(const struct traits *t, unsigned kind, const char *value)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < MVPN_TRAITS_MAX; i++)
		if (t->list[i].used && t->list[i].kind == kind &&
		    mvpn_by_meets(kind, t->list[i].value, value))
			bits |= 1ULL << i;
	return bits;
}

uint64_t traits_met(const struct traits *t, const struct shim_traits *now, const char *passwd,
		    unsigned kind, const char *value)
{
	struct mvpn_exe exe;
	uint32_t uid;

	if (kind == MVPN_BY_UID && uid_of(value, passwd, &uid)) {
		for (unsigned i = 0; i < now->nuids; i++)
			if (now->uids[i] == uid)
				return now->uid_traits[i];
	} else if (kind == MVPN_BY_EXE && exe_of(value, &exe)) {
		for (unsigned i = 0; i < now->nexes; i++)
			if (!memcmp(&now->exes[i], &exe, sizeof(exe)))
				return now->exe_traits[i];
	}
	return kind == MVPN_BY_UNIT || kind == MVPN_BY_CGROUP ? groups_met(t, kind, value) : 0;
}
