/* SPDX-License-Identifier: BSD-2-Clause */
#include "isolate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fsutil.h"
#include "keystore.h"

#define KEEP_MAX 64 /* directories and credentials of one network */
#define COVER_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define COVER_OPTIONS "mode=0755,size=64k,nr_inodes=256"

/* what stays where it is when a directory above it is covered */
struct kept {
	char *path;
	int fd;
	bool is_dir;
};

struct view {
	struct kept kept[KEEP_MAX];
	unsigned nkept;
	const char *covered[CMDLINE_HIDE + 1]; /* in this order */
	unsigned ncovered;
};

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	while (len && dir[len - 1] == '/')
		len--;
	return !strncmp(path, dir, len) && path[len] == '/';
}

/* takes `path`; what is not there need not stay */
static int keep(struct view *v, char *path)
{
	struct kept *k = &v->kept[v->nkept];
	struct stat st;

	if (!path)
		return -ENOMEM;
	if (v->nkept == KEEP_MAX) {
		free(path);
		return -E2BIG;
	}
	k->fd = open(path, O_PATH | O_CLOEXEC);
	if (k->fd < 0 || fstat(k->fd, &st)) {
		int r = errno == ENOENT ? 0 : -errno;

		if (k->fd >= 0)
			close(k->fd);
		free(path);
		return r;
	}
	k->path = path;
	k->is_dir = S_ISDIR(st.st_mode);
	v->nkept++;
	return 0;
}

/* ---- whose is what ---- */

/* not this network's, by the names in keystore.h; what has another name is nobody's in particular */
static bool is_others(const char *credential, const char *network)
{
	char own[64];

	if (network)
		snprintf(own, sizeof(own), CREDENTIAL "-%s.", network);
	else
		snprintf(own, sizeof(own), CREDENTIAL ".");
	return (!strncmp(credential, CREDENTIAL ".", strlen(CREDENTIAL ".")) ||
		!strncmp(credential, CREDENTIAL "-", strlen(CREDENTIAL "-"))) &&
	       strncmp(credential, own, strlen(own)) != 0;
}

static int keep_credentials(struct view *v, const char *dir, const char *network)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	int r = d ? 0 : -errno;

	while (!r && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !is_others(e->d_name, network))
			r = keep(v, path_join(dir, e->d_name));
	if (d)
		closedir(d);
	return r;
}

static int keep_socket(struct view *v, const char *socket)
{
	char *dir = strdup(socket), *slash = dir ? strrchr(dir, '/') : NULL;
	int r = dir ? 0 : -ENOMEM;

	if (slash) {
		*slash = '\0';
		r = dir_make(dir, 0755);
		if (!r)
			r = keep(v, strdup(dir));
	}
	free(dir);
	return r;
}

/* NULL: nothing is in the way */
static const char *unfit(const struct cmdline *c, const char *dir)
{
	if (*dir != '/')
		return "is no absolute path";
	/* it is read again on each reload, and may be another file then */
	return is_below(c->config, dir) && !is_below(c->config, c->state) ? "has the configuration in it" : NULL;
}

static int look(struct view *v, const struct cmdline *c)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY"), *notify = getenv("NOTIFY_SOCKET");
	int r = keep(v, strdup(c->state));

	if (!r && c->socket)
		r = keep_socket(v, c->socket);
	if (!r && notify && *notify == '/')
		r = keep(v, strdup(notify));
	for (unsigned i = 0; i < CMDLINE_HIDE && !r; i++)
		if (c->hide[i]) {
			r = dir_make(c->hide[i], 0755);
			v->covered[v->ncovered++] = c->hide[i];
		}
	if (!r && credentials && *credentials) {
		r = keep_credentials(v, credentials, c->network);
		v->covered[v->ncovered++] = credentials;
	}
	return r;
}

/* ---- mounts ---- */

static int make(const struct kept *k)
{
	int fd;

	if (k->is_dir)
		return dir_make(k->path, 0755);
	fd = open(k->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int put_back(const struct kept *k)
{
	char from[32];
	int r = make(k);

	snprintf(from, sizeof(from), "/proc/self/fd/%d", k->fd);
	return r ? r : mount(from, k->path, NULL, MS_BIND | MS_REC, NULL) ? -errno : 0;
}

static int uncover(const char *dir, int r)
{
	return umount2(dir, MNT_DETACH) ? -ENOTRECOVERABLE : r;
}

static int cover(const struct view *v, const char *dir)
{
	int r = 0;

	if (mount("mvpn", dir, "tmpfs", COVER_FLAGS, COVER_OPTIONS))
		return -errno;
	for (unsigned i = 0; i < v->nkept && !r; i++)
		if (is_below(v->kept[i].path, dir))
			r = put_back(&v->kept[i]);
	/* what is written in the wrong place shall fail, and not be forgotten */
	if (!r && mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | COVER_FLAGS, NULL))
		r = -errno;
	return r ? uncover(dir, r) : 0;
}

static int cover_all(const struct view *v, const char **ret_on)
{
	for (unsigned i = 0; i < v->ncovered; i++) {
		int r = cover(v, v->covered[i]);

		*ret_on = v->covered[i];
		for (unsigned j = i; r && j--;)
			r = uncover(v->covered[j], r);
		if (r)
			return r;
	}
	return 0;
}

int isolate(const struct cmdline *c, char **ret_error)
{
	struct view v = {0};
	const char *what = "mount namespace", *on = "";
	int r = 0;

	for (unsigned i = 0; i < CMDLINE_HIDE; i++) {
		const char *wrong = c->hide[i] ? unfit(c, c->hide[i]) : NULL;

		if (wrong)
			return asprintf(ret_error, "%s %s", c->hide[i], wrong) < 0 ? -ENOMEM : -EINVAL;
	}
	/* the descriptors have to be of the new one */
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		r = -errno;
	if (!r) {
		what = "own directories, from ";
		on = c->state;
		r = look(&v, c);
	}
	if (!r) {
		what = "tmpfs on ";
		r = cover_all(&v, &on);
	}
	if (r && asprintf(ret_error, "%s%s: %s", what, on, strerror(-r)) < 0)
		*ret_error = NULL;
	while (v.nkept--) {
		close(v.kept[v.nkept].fd);
		free(v.kept[v.nkept].path);
	}
	return r;
}
