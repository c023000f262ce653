/* SPDX-License-Identifier: BSD-2-Clause */
#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "privileges.h"

void privileges_harden(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* the leak checker must trace its own process */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
	umask(0077);
}

static int lookup(const char *user, uid_t *uid, gid_t *gid)
{
	struct passwd *pw;

	errno = 0;
	pw = getpwnam(user);
	if (!pw)
		return errno ? -errno : -ENOENT;
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

int privileges_give_state(const char *state_dir, const char *user)
{
	struct dirent *e;
	uid_t uid = 0;
	gid_t gid = 0;
	DIR *d;
	int r = lookup(user, &uid, &gid);

	if (r < 0)
		return r;
	if (geteuid() != 0)
		return 0;
	d = opendir(state_dir);
	if (!d)
		return -errno;
	while ((e = readdir(d)) && r == 0) {
		struct stat st;

		/* plain files only, and never through a link */
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode) && (st.st_uid != uid || st.st_gid != gid) &&
		    st.st_nlink == 1 &&
		    fchownat(dirfd(d), e->d_name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
			r = -errno;
	}
	if (r == 0 && fchown(dirfd(d), uid, gid) < 0)
		r = -errno;
	closedir(d);
	return r;
}

int privileges_drop(const char *user)
{
	uid_t uid = 0;
	gid_t gid = 0;
	int r;

	if (user && geteuid() == 0) {
		r = lookup(user, &uid, &gid);
		if (r < 0)
			return r;
		capng_clear(CAPNG_SELECT_BOTH);
		if (capng_change_id((int)uid, (int)gid,
				    CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) < 0)
			return -EPERM;
	} else {
		/* the bounding set takes CAP_SETPCAP, without which libcap-ng complains; the unit bounds it itself */
		capng_select_t set = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) > 0 ?
					     CAPNG_SELECT_BOTH :
					     CAPNG_SELECT_CAPS;

		capng_clear(set);
		if (capng_apply(set) < 0)
			return -EPERM;
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#ifndef __SANITIZE_ADDRESS__
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* a change of user resets it */
#endif
	return 0;
}
