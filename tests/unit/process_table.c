/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines about processes: as they come from the server, and how a device numbers what they ask for. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../../keyd/process_table.h"
#include "../../keyd/traits.h"

static uint8_t bytes[4096];
static size_t len;

static void tlv(uint16_t type, const void *value, size_t n)
{
	bytes[len++] = (uint8_t)(type >> 8);
	bytes[len++] = (uint8_t)type;
	bytes[len++] = (uint8_t)(n >> 8);
	bytes[len++] = (uint8_t)n;
	memcpy(bytes + len, value, n);
	len += n;
}

static void whole(void)
{
	uint8_t peer[MVPN_ID_LEN] = {7};

	len = 0;
	tlv(MVPN_TLV_PROCESS_LINE, "\0\0\1\2allow\033it", 12);
	tlv(MVPN_TLV_PROCESS_SERVICE, "\6\x15\x38\x15\x39", 5);
	tlv(MVPN_TLV_PROCESS_BY, "\2root", 5);
	tlv(MVPN_TLV_PROCESS_PEER, peer, sizeof(peer));
	tlv(MVPN_TLV_PROCESS_LINE, "\0\0\0\3", 4);
}

static void lines_are_read(void **state)
{
	struct process_table *t;

	whole();
	assert_int_equal(process_table_parse(bytes, len, &t), 0);
	assert_int_equal(t->n, 2);
	assert_int_equal(t->lines[0].line, 258);
	assert_string_equal(process_table_text(t, 258), "allow?it");
	assert_null(process_table_text(t, 4));
	assert_int_equal(t->lines[0].services[0].lo, 5432);
	assert_int_equal(t->lines[0].services[0].hi, 5433);
	assert_int_equal(t->lines[0].by[0].kind, MVPN_BY_UID);
	assert_string_equal(t->lines[0].by[0].value, "root");
	assert_int_equal(t->lines[0].peers[0][0], 7);
	assert_int_equal(t->lines[1].nby, 0);
	process_table_free(t);
	assert_int_equal(process_table_parse(NULL, 0, &t), 0);
	assert_int_equal(t->n, 0);
	process_table_free(t);
}

static void bad(void)
{
	struct process_table *t;

	assert_int_equal(process_table_parse(bytes, len, &t), -EBADMSG);
}

static void bad_lines_are_refused(void **state)
{
	struct process_table *t;

	whole();
	for (size_t n = len; n--;) { /* cut anywhere but between two TLVs */
		int r = process_table_parse(bytes, n, &t);

		if (r == 0)
			process_table_free(t);
		else
			assert_int_equal(r, -EBADMSG);
	}
	len = 0;
	tlv(MVPN_TLV_PROCESS_BY, "\2root", 5); /* of no line */
	bad();
	whole();
	tlv(MVPN_TLV_NAME, "x", 1); /* who knows what a line would mean with it? */
	bad();
	whole();
	tlv(MVPN_TLV_PROCESS_BY, "\4root", 5);
	bad();
	whole();
	tlv(MVPN_TLV_PROCESS_BY, "\0root", 5); /* no unit */
	bad();
	whole();
	tlv(MVPN_TLV_PROCESS_BY, "\2ro\0t", 5);
	bad();
	whole();
	tlv(MVPN_TLV_PROCESS_SERVICE, "\6\0\2\0\1", 5);
	bad();
	whole();
	for (unsigned i = 0; i < MVPN_BY_LINE_MAX + 1; i++)
		tlv(MVPN_TLV_PROCESS_BY, "\2root", 5);
	bad();
}

/* ---- traits ---- */

static void numbers_are_not_reused_at_once(void **state)
{
	static struct traits t;
	char text[32];
	int a, b;

	memset(&t, 0, sizeof(t));
	traits_begin(&t);
	a = traits_number(&t, MVPN_BY_UID, "1");
	assert_int_equal(traits_number(&t, MVPN_BY_UID, "1"), a);
	assert_int_not_equal(traits_number(&t, MVPN_BY_EXE, "1"), a);
	traits_begin(&t);
	b = traits_number(&t, MVPN_BY_UID, "2"); /* sockets may still have a's bit */
	assert_int_not_equal(a, b);
	traits_begin(&t);
	assert_int_equal(traits_number(&t, MVPN_BY_UID, "3"), a);
	assert_int_equal(traits_number(&t, MVPN_BY_UID, "2"), b);
	for (int i = 2; i < MVPN_TRAITS_MAX; i++) {
		snprintf(text, sizeof(text), "%d", 100 + i);
		assert_in_range(traits_number(&t, MVPN_BY_UID, text), 0, MVPN_TRAITS_MAX - 1);
	}
	assert_int_equal(traits_number(&t, MVPN_BY_UID, "9"), -1);
	assert_int_equal(traits_number(&t, MVPN_BY_UID, "3"), a);
}

static uint64_t group_of(const struct shim_traits *s, uint32_t under, const char *name, uint32_t *ret_node)
{
	for (unsigned i = 0; i < s->ngroups; i++)
		if (s->groups[i].under == under && !strcmp(s->groups[i].name, name)) {
			*ret_node = s->group_traits[i].node;
			return s->group_traits[i].traits;
		}
	return UINT64_MAX;
}

static void what_they_mean_here(void **state)
{
	static struct traits t;
	static struct shim_traits s;
	char passwd[] = "/tmp/mvpn-passwd-XXXXXX";
	int fd = mkstemp(passwd);
	uint32_t x = 0, y, node;
	struct stat st;

	memset(&t, 0, sizeof(t));
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "root:x:0:0::/:\nme:x:77:7::/:\n", 29), 29);
	traits_begin(&t);
	assert_int_equal(traits_number(&t, MVPN_BY_UID, "me"), 0);
	assert_int_equal(traits_number(&t, MVPN_BY_UID, "77"), 1);
	assert_int_equal(traits_number(&t, MVPN_BY_UID, "you"), 2);
	assert_int_equal(traits_number(&t, MVPN_BY_EXE, passwd), 3);
	assert_int_equal(traits_number(&t, MVPN_BY_EXE, "/nowhere"), 4);
	assert_int_equal(traits_number(&t, MVPN_BY_UNIT, "x.service"), 5);
	assert_int_equal(traits_number(&t, MVPN_BY_CGROUP, "/x/y"), 6);
	assert_int_equal(traits_number(&t, MVPN_BY_CGROUP, "/x"), 7);
	traits_resolve(&t, passwd, false, &s);
	assert_int_equal(s.nuids, 1);
	assert_int_equal(s.uids[0], 77);
	assert_int_equal(s.uid_traits[0], 3);
	assert_false(t.list[2].found);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(s.nexes, 1);
	assert_int_equal(s.exes[0].inode, st.st_ino);
	assert_int_equal(s.exes[0].dev, major(st.st_dev) << 20 | minor(st.st_dev));
	assert_int_equal(s.exe_traits[0], 8);
	assert_false(t.list[4].found);
	assert_int_equal(s.ngroups, 3);
	assert_int_equal(group_of(&s, MVPN_GROUP_UNIT, "x.service", &node), 1 << 5);
	assert_int_equal(group_of(&s, 0, "x", &x), 1 << 7);
	assert_int_equal(group_of(&s, x, "y", &y), 1 << 6);
	/* what was, goes along while it is asked for */
	traits_begin(&t);
	traits_number(&t, MVPN_BY_UID, "5");
	traits_resolve(&t, passwd, true, &s);
	assert_int_equal(s.nuids, 2);
	traits_resolve(&t, passwd, false, &s);
	assert_int_equal(s.nuids, 1);
	assert_int_equal(s.ngroups, 0);
	/* a file system without a device of its own: by its mount */
	traits_begin(&t);
	assert_in_range(traits_number(&t, MVPN_BY_EXE, "/proc/self/status"), 0, MVPN_TRAITS_MAX - 1);
	traits_resolve(&t, passwd, false, &s);
	assert_int_equal(stat("/proc/self/status", &st), 0);
	assert_int_equal(s.nexes, 1);
	assert_int_equal(s.exes[0].dev, minor(st.st_dev));
	close(fd);
	unlink(passwd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_read),
		cmocka_unit_test(bad_lines_are_refused),
		cmocka_unit_test(numbers_are_not_reused_at_once),
		cmocka_unit_test(what_they_mean_here),
	};

	return cmocka_run_group_tests_name("process_table", tests, NULL, NULL);
}
