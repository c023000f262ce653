/* SPDX-License-Identifier: BSD-2-Clause */
/* mvpnctl without a daemon: what a command line asks for, and what a reply makes it say and exit with. */
#include "../../ctl/ctl.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../ctl/show.h"
#include "fsutil.h"
#include "test.h"

static char out[65536], err[8192];
static int saved_out, saved_err;
static FILE *file_out, *file_err;

static void capture(void)
{
	fflush(stdout);
	fflush(stderr);
	saved_out = dup(STDOUT_FILENO);
	saved_err = dup(STDERR_FILENO);
	file_out = tmpfile();
	file_err = tmpfile();
	assert_true(dup2(fileno(file_out), STDOUT_FILENO) >= 0);
	assert_true(dup2(fileno(file_err), STDERR_FILENO) >= 0);
}

static void collect(FILE *f, char *ret, size_t size)
{
	rewind(f);
	ret[fread(ret, 1, size - 1, f)] = 0;
	fclose(f);
}

static void release(void)
{
	fflush(stdout);
	fflush(stderr);
	dup2(saved_out, STDOUT_FILENO);
	dup2(saved_err, STDERR_FILENO);
	close(saved_out);
	close(saved_err);
	collect(file_out, out, sizeof(out));
	collect(file_err, err, sizeof(err));
}

/* words are parted by single blanks */
static int parse(const char *words, struct command *c)
{
	static char copy[512];
	char *argv[32] = {"mvpnctl"}, *save = NULL;
	int argc = 1, r;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	ctl_output = OUTPUT_TABLE;
	capture();
	r = command_parse(argc, argv, c);
	release();
	return r;
}

static void command_lines_become_requests(void **state)
{
	static const struct {
		const char *words, *verb, *args;
	} cases[] = {
		{"status", "status", "{}"},
		{"attach eth0", "attach", "{\"iface\":\"eth0\"}"},
		{"attach --wire xdp eth0 --queues=2", "attach",
		 "{\"iface\":\"eth0\",\"queues\":2,\"wire\":\"xdp\"}"},
		{"attach -- --odd", "attach", "{\"iface\":\"--odd\"}"},
		{"detach eth0 -f", "detach", "{\"force\":true,\"iface\":\"eth0\"}"},
		{"ping db1 -c5 -i 10 -W 100", "ping",
		 "{\"count\":5,\"interval_ms\":10,\"peer\":\"db1\",\"timeout_ms\":100}"},
		{"wait", "wait", "{\"timeout_s\":30}"},
		{"wait --timeout 2m --peer a", "wait", "{\"peer\":\"a\",\"timeout_s\":120}"},
		{"explain 10.0.0.1", "explain", "{\"dst\":\"10.0.0.1\"}"},
		{"explain 10.0.0.1:80", "explain",
		 "{\"dst\":\"10.0.0.1\",\"port\":80,\"proto\":\"tcp\"}"},
		{"explain [fd00::1]:53/udp", "explain",
		 "{\"dst\":\"fd00::1\",\"port\":53,\"proto\":\"udp\"}"},
		{"explain fd00::1/icmp", "explain", "{\"dst\":\"fd00::1\",\"proto\":\"icmp\"}"},
		{"explain -f 172.17.0.2 10.0.0.1", "explain", "{\"dst\":\"10.0.0.1\",\"src\":\"172.17.0.2\"}"},
		{"explain 10.0.0.1/47", "explain", "{\"dst\":\"10.0.0.1\",\"proto\":\"47\"}"},
		{"server --socket /s token create --ttl 7d --address 10.0.0.1 -a fd00::/64 "
		 "--approve",
		 "token-create",
		 "{\"addresses\":[\"10.0.0.1\",\"fd00::/64\"],\"approve\":true,\"ttl_s\":604800}"},
		{"server device address del gw 10.9.0.0/24", "device-address",
		 "{\"del\":\"10.9.0.0/24\",\"device\":\"gw\"}"},
		{"server policy test a b", "policy-test", "{\"dst\":\"b\",\"src\":\"a\"}"},
		{"server policy show --rev 3", "policy-show", "{\"rev\":3}"},
		{"server policy rollback", "policy-rollback", "{}"},
		{"server policy rollback -r 3 -c why", "policy-rollback",
		 "{\"comment\":\"why\",\"rev\":3}"},
		{"server policy list", "policy-list", "{}"},
		{"server device revoke web1 -c stolen", "device-revoke",
		 "{\"comment\":\"stolen\",\"device\":\"web1\"}"},
		{"server sessions", "sessions", "{}"},
		{"server audit -f -a 12", "audit", "{\"after\":12,\"follow\":true}"},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct command c;
		char *args;

		assert_int_equal(parse(cases[i].words, &c), 0);
		assert_string_equal(c.verb->request, cases[i].verb);
		args = json_dumps(c.args, JSON_COMPACT | JSON_SORT_KEYS);
		assert_string_equal(args, cases[i].args);
		assert_string_equal(err, "");
		free(args);
		json_decref(c.args);
	}
}

/* what a line of the policy could say of this very process, and that a person says besides counts */
static void processes_are_looked_up(void **state)
{
	struct command c;
	char words[80];
	const char *exe;

	snprintf(words, sizeof(words), "explain --pid %d --uid 7 10.0.0.1", (int)getpid());
	assert_int_equal(parse(words, &c), 0);
	assert_string_equal(json_string_value(json_object_get(c.args, "uid")), "7");
	exe = json_string_value(json_object_get(c.args, "exe"));
	assert_true(exe && strstr(exe, "/ctl"));
	assert_true(json_is_integer(json_object_get(c.args, "netns")));
	assert_null(json_object_get(c.args, "pid"));
	json_decref(c.args);
	assert_int_equal(parse("explain --pid 4194304 10.0.0.1", &c), MVPN_EXIT_FAILED);
	assert_non_null(strstr(err, "there is no process 4194304"));
	json_decref(c.args);
}

static void mistakes_are_explained(void **state)
{
	static const struct {
		const char *words, *want;
	} cases[] = {
		{"", "a verb is missing"},
		{"stats", "unknown verb 'stats'; known: status, networks, attach"},
		{"server", "after 'server' must come one of: status, key, token"},
		{"server token make", "unknown verb 'server token make'; after 'server token' may "
				      "come: create, list, revoke"},
		{"attach", "attach: IFACE is missing"},
		{"attach eth0 eth1", "attach: does not take 'eth1'"},
		{"attach eth0 --wire tcp", "'tcp' is no value for --wire: one of auto|xdp|udp"},
		{"attach eth0 --queues 0", "'0' is no value for --queues: a number from 1 to"},
		{"attach eth0 --queues 2x", "'2x' is no value"},
		{"attach eth0 --queues -1", "'-1' is no value"},
		{"attach eth0 --wire", "--wire needs a value"},
		{"attach eth0 --foo", "unknown option --foo"},
		{"--foo attach", "unknown option --foo"},
		{"detach eth0 --force=yes", "--force takes no value"},
		{"wait --timeout soon", "a time like 90, 30s, 5m, 1h or 7d"},
		{"wait --timeout 99999999999999999999d", "a time like"},
		{"enroll", "--token-file FILE|- is missing"},
		{"enroll mavp1_secret", "does not take"},
		{"server device address add gw 10.0.0.1/8", "host bits zero"},
		{"explain 10.0.0.1:http", "'http' is no port"},
		{"explain 10.0.0.1:80/http", "'http' is no protocol"},
		{"explain 10.0.0.1:80/icmp", "icmp has no ports"},
		{"explain 10.0.0.1/256", "'256' is no protocol"},
		{"explain --pid 0 10.0.0.1", "'0' is no value for --pid"},
		{"server policy test a b http/tcp", "is not PORT/PROTO"},
		{"server policy test a b 70000/tcp", "from 1 to 65535"},
		{"-o yaml status", "'yaml' is no output"},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct command c;

		assert_int_equal(parse(cases[i].words, &c), MVPN_EXIT_USAGE);
		if (strncmp(err, "mvpnctl: ", 9) || !strstr(err, cases[i].want) ||
		    !strstr(err, "\n  example: mvpnctl "))
			fail_msg("'%s' says \"%s\"", cases[i].words, err);
		assert_string_equal(out, "");
		json_decref(c.args);
	}
}

static void mistakes_are_json_too(void **state)
{
	static const char *const words[] = {"nonsense -o json-line", "-ojson-line nonsense",
					    "attach --output=json-line"};
	struct command c;

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(parse(words[i], &c), MVPN_EXIT_USAGE);
		assert_non_null(strstr(out, "\"ok\":false,\"exit\":2"));
		json_decref(c.args);
	}
}

static void secrets_come_from_files(void **state)
{
	char path[] = "/tmp/mvpn-ctl.XXXXXX", words[128];
	int fd = mkstemp(path);
	struct command c;

	assert_true(fd >= 0);
	snprintf(words, sizeof(words), "enroll --name a --token-file %s", path);
	assert_int_equal(file_replace(path, " mavp1_abc\n", 11, 0600), 0);
	assert_int_equal(parse(words, &c), 0);
	assert_string_equal(json_string_value(json_object_get(c.args, "token")), "mavp1_abc");
	json_decref(c.args);
	assert_int_equal(file_replace(path, "secret\n", 7, 0600), 0);
	assert_int_equal(parse(words, &c), MVPN_EXIT_FAILED);
	assert_non_null(strstr(err, "holds no token"));
	assert_null(strstr(err, "secret"));
	json_decref(c.args);
	close(fd);
	unlink(path);
	assert_int_equal(parse(words, &c), MVPN_EXIT_FAILED);
	assert_non_null(strstr(err, "No such file"));
	json_decref(c.args);
}

static void every_verb_has_help(void **state)
{
	char words[128];
	struct command c;

	for (const struct verb *const *v = verbs; *v; v++) {
		snprintf(words, sizeof(words), "help %s", (*v)->name);
		assert_int_equal(parse(words, &c), 0);
		assert_null(c.verb);
		assert_non_null(strstr(out, (*v)->summary));
		assert_non_null(strstr(out, "example: mvpnctl "));
		json_decref(c.args);
		/* the examples are right */
		if (!strchr((*v)->example, '>') && strcmp((*v)->request, "enroll") &&
		    !strstr((*v)->example, ".txt")) {
			assert_int_equal(parse((*v)->example, &c), 0);
			assert_ptr_equal(c.verb, *v);
			json_decref(c.args);
		}
	}
	assert_int_equal(parse("--version", &c), 0);
	assert_non_null(strstr(out, MVPN_VERSION));
	json_decref(c.args);
}

/* ---- replies ---- */

static int reply(const struct verb *v, enum output how, const char *text)
{
	json_t *j = json_loads(text, 0, NULL);
	int r;

	assert_non_null(j);
	ctl_output = how;
	capture();
	if (v->complete)
		v->complete("/nowhere/keyd.sock", j);
	r = output_reply(v, j);
	release();
	json_decref(j);
	return r;
}

static void replies_decide_the_exit_code(void **state)
{
	static const struct {
		const char *text;
		int exit;
	} cases[] = {
		{"{\"schema\":1,\"ok\":true}", 0},
		{"{\"schema\":1,\"ok\":true,\"exit\":4}", 4},
		{"{\"schema\":1,\"ok\":true,\"exit\":6}", 6},
		{"{\"schema\":1,\"ok\":false,\"exit\":5,\"error\":{\"message\":\"no\"}}", 5},
		{"{\"schema\":1,\"ok\":false,\"exit\":0,\"error\":{\"message\":\"no\"}}", 1},
		{"{\"schema\":1,\"ok\":false,\"error\":{\"message\":\"no\"}}", 1},
		{"{\"schema\":1,\"ok\":false}", 1},
		{"{\"ok\":true}", 1},
		{"{\"schema\":2,\"ok\":true}", 1},
		{"{\"schema\":\"1\",\"ok\":true}", 1},
		{"{\"schema\":1,\"ok\":1}", 1},
		{"{\"schema\":1}", 1},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (int how = OUTPUT_TABLE; how <= OUTPUT_JSON_LINE; how++)
			assert_int_equal(reply(&verb_status, (enum output)how, cases[i].text),
					 cases[i].exit);
}

static void errors_say_message_and_hint(void **state)
{
	static const char text[] =
		"{\"schema\":1,\"ok\":false,\"exit\":5,\"error\":{\"code\":\"denied\","
		"\"message\":\"no \\u001b[31mway\",\"hint\":\"ask\"}}";

	assert_int_equal(reply(&verb_ping, OUTPUT_TABLE, text), MVPN_EXIT_DENIED);
	assert_string_equal(err, "mvpnctl: no ?[31mway\n  ask\n"); /* nobody drives the terminal */
	assert_string_equal(out, "");
	assert_int_equal(reply(&verb_ping, OUTPUT_JSON_LINE, text), MVPN_EXIT_DENIED);
	assert_non_null(strstr(out, "\"code\":\"denied\""));
	assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

static void explanations_are_told(void **state)
{
	assert_int_equal(
		reply(&verb_explain, OUTPUT_TABLE,
			 "{\"schema\":1,\"ok\":true,\"verdict\":\"dropped\",\"why\":[\"x is protected\",\"no\"],"
			 "\"peer\":\"b\",\"level\":\"network\",\"todo\":\"look\",\"rule\":{\"line\":3,\"text\":\"allow a -> b\"},"
			 "\"policy\":{\"rev\":4,\"ask\":\"mvpnctl server policy test a b\"},"
			 "\"process\":{\"uid\":\"7\",\"exe\":\"/x\",\"elsewhere\":true},\"hooks\":["
			 "{\"hook\":\"egress\",\"where\":\"eth0\",\"does\":\"dropped\"}]}"),
		0);
	assert_string_equal(out, "verdict       dropped\n"
				 "why           x is protected\n"
				 "              no\n"
				 "what to do    look\n"
				 "process       uid 7, exe /x (in another network namespace)\n"
				 "rule          policy line 3: allow a -> b\n"
				 "              of policy revision 4; on the server: mvpnctl server policy test a b\n"
				 "peer          b\n"
				 "level         network\n\n"
				 "HOOK    WHERE  WHAT HAPPENS\n"
				 "egress  eth0   dropped\n");
}

/* however many columns a table has, each row begins in the first */
static void sessions_are_rows(void **state)
{
	assert_int_equal(reply(&verb_sessions, OUTPUT_TABLE,
			       "{\"schema\":1,\"ok\":true,\"sessions\":["
			       "{\"peer\":\"b\",\"state\":\"active\"},{\"peer\":\"c\",\"state\":\"draining\"}]}"),
			 0);
	assert_non_null(strstr(out, "\nb "));
	assert_non_null(strstr(out, "\nc "));
	assert_null(strstr(out, "KEYS"));
}

static void policies_are_compared(void **state)
{
	assert_int_equal(
		reply(&verb_policy_diff, OUTPUT_TABLE,
		      "{\"schema\":1,\"ok\":true,\"exit\":1,\"rev\":3,\"same\":false,"
		      "\"changes\":[{\"change\":\"removed\",\"line\":1,\"text\":\"allow a -> b\"},"
		      "{\"change\":\"added\",\"line\":2,\"text\":\"allow only b -> c\"}],"
		      "\"pairs_known\":true,\"pairs_gain\":1,\"pairs_lose\":1,\"pairs\":["
		      "{\"a\":\"a\",\"b\":\"b\",\"before\":\"both\",\"after\":\"none\"},"
		      "{\"a\":\"b\",\"b\":\"c\",\"before\":\"none\",\"after\":\"a\"}],"
		      "\"sessions_cut\":1,\"sessions_renewed\":1,\"sessions\":["
		      "{\"a\":\"a\",\"b\":\"d\",\"renewed\":true,\"reason\":\"mode\"},"
		      "{\"a\":\"a\",\"b\":\"b\",\"renewed\":false,\"reason\":\"policy-changed\"}]}"),
		1);
	assert_string_equal(out, "removed       allow a -> b\n"
				 "added         allow only b -> c\n\n"
				 "A  B  BEFORE  AFTER\n"
				 "a  b  both    none\n"
				 "b  c  none    only ->\n\n"
				 "gain          1 pairs\n"
				 "lose          1 pairs\n"
				 "cut           1 sessions\n"
				 "              a - b\n"
				 "made anew     1 sessions\n"
				 "              a - d: its keys come from elsewhere\n");
	assert_int_equal(reply(&verb_policy_diff, OUTPUT_TABLE,
			       "{\"schema\":1,\"ok\":true,\"exit\":0,\"rev\":3,\"same\":true}"),
			 0);
	assert_string_equal(out, "the same as revision 3, but for comments, blanks and order\n");
}

/* as compilers do, and once: the message says the same without the file */
static void places_in_files_are_named(void **state)
{
	static const char text[] =
		"{\"schema\":1,\"ok\":false,\"exit\":2,\"error\":{\"code\":\"bad-policy\",\"message\":\"m\","
		"\"hint\":\"h\",\"file\":\"d/p\\u001b\",\"at\":[{\"line\":3,\"column\":9,\"text\":\"no\"},"
		"{\"line\":4,\"text\":\"nor\"},{\"line\":0,\"text\":\"all\"}]}}";
	static const char nofile[] =
		"{\"schema\":1,\"ok\":false,\"exit\":1,\"error\":{\"code\":\"c\",\"message\":\"m\","
		"\"at\":[{\"line\":3,\"text\":\"no\"}]}}";

	assert_int_equal(reply(&verb_policy_diff, OUTPUT_TABLE, text), MVPN_EXIT_USAGE);
	assert_string_equal(err, "d/p?:3:9: no\nd/p?:4: nor\nd/p?: all\n  h\n");
	assert_string_equal(out, "");
	assert_int_equal(reply(&verb_policy_diff, OUTPUT_JSON_LINE, text), MVPN_EXIT_USAGE);
	assert_string_equal(err, "");
	assert_int_equal(reply(&verb_policy_diff, OUTPUT_TABLE, nofile), MVPN_EXIT_FAILED);
	assert_string_equal(err, "mvpnctl: m\n");
}

static void revisions_are_listed(void **state)
{
	assert_int_equal(
		reply(&verb_policy_list, OUTPUT_TABLE,
		      "{\"schema\":1,\"ok\":true,\"revisions\":["
		      "{\"rev\":12,\"applied_at\":0,\"uid\":0,\"comment\":\"db moves\",\"lines\":3,"
		      "\"in_force\":true},"
		      "{\"rev\":9,\"applied_at\":0,\"uid\":-1,\"comment\":\"\",\"lines\":10,"
		      "\"in_force\":false}]}"),
		0);
	assert_string_equal(out, "REV  APPLIED  BY    LINES  IN FORCE  COMMENT\n"
				 " 12  never    root      3  yes       db moves\n"
				 "  9  never    -        10  no        -\n");
}

static void events_of_a_stream_are_lines(void **state)
{
	static const char event[] =
		"{\"schema\":1,\"ok\":true,\"seq\":12,\"at\":0,\"actor\":\"admin\",\"event\":"
		"\"device-revoke\",\"detail\":{\"device\":\"ab\",\"name\":\"w\\u001beb\\u009b\\u00e9\"},\"hash\":\"00\"}";

	assert_int_equal(reply(&verb_server_audit, OUTPUT_TABLE, event), 0);
	assert_string_equal(out, "12            never  admin  device-revoke  device=ab name=w?eb??é\n");
	assert_int_equal(reply(&verb_server_audit, OUTPUT_JSON_LINE, event), 0);
	assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
	assert_non_null(strstr(out, "\"seq\":12"));
}

static void problems_come_first(void **state)
{
	assert_int_equal(reply(&verb_status, OUTPUT_TABLE,
			       "{\"schema\":1,\"ok\":true,\"state\":\"offline\",\"healthy\":false,"
			       "\"server\":null,"
			       "\"problems\":[\"the sky "
			       "fell\"],\"counters\":{\"shim\":{\"drop_denied\":3,\"leak\":0}}}"),
			 0);
	assert_memory_equal(out, "PROBLEM       the sky fell\n", 27);
	assert_non_null(strstr(out, "drop_denied"));
	assert_null(strchr(out, '\033'));
}

static void networks_are_a_table(void **state)
{
	assert_int_equal(reply(&verb_networks, OUTPUT_TABLE,
			       "{\"schema\":1,\"ok\":true,\"exit\":4,\"networks\":["
			       "{\"name\":null,\"state\":\"running\",\"channel\":\"online\",\"server\":\"s:1\",\"device\":\"a\","
			       "\"tap\":\"mvpn0\",\"udp_port\":7469,\"peers\":2,\"protected\":6,\"healthy\":true},"
			       "{\"name\":\"lab\",\"state\":\"failed\",\"why\":\"no\\nport\",\"udp_port\":null}]}"),
			 4);
	assert_non_null(strstr(out, "(keyd.conf)  running  online   s:1     a       mvpn0      7469      2         6"));
	assert_non_null(strstr(out, "lab          failed   -        -       -       -             -      -         -  no?port"));
	/* `status` names the others, where there are any */
	assert_int_equal(reply(&verb_status, OUTPUT_TABLE, "{\"schema\":1,\"ok\":true,\"state\":\"online\"}"), 0);
	assert_null(strstr(out, "others"));
}

/* a key that is being changed has a line of its own until that is done */
static void next_keys_are_lines(void **state)
{
	assert_int_equal(reply(&verb_identity_show, OUTPUT_TABLE,
			       "{\"schema\":1,\"ok\":true,\"kept\":\"file\",\"path\":\"/x\",\"state\":"
			       "\"online\",\"next_key\":{\"fingerprint\":\"AAAA-BBBB\",\"step\":"
			       "\"accepted\"}}"),
			 0);
	assert_non_null(strstr(out, "next key      AAAA-BBBB, accepted\n"));
	assert_int_equal(reply(&verb_identity_show, OUTPUT_TABLE,
			       "{\"schema\":1,\"ok\":true,\"kept\":\"file\",\"path\":\"/x\",\"state\":"
			       "\"online\",\"next_key\":null}"),
			 0);
	assert_null(strstr(out, "next key"));
	assert_int_equal(reply(&verb_status, OUTPUT_TABLE,
			       "{\"schema\":1,\"ok\":true,\"state\":\"online\",\"server\":{\"address\":"
			       "\"s:1\",\"connected\":true,\"fingerprint\":\"CCCC\",\"next_key\":{"
			       "\"fingerprint\":\"DDDD\",\"active_at\":4102444800},\"old_key\":{"
			       "\"fingerprint\":\"EEEE\",\"until\":4102444800}}}"),
			 0);
	assert_non_null(strstr(out, "next key DDDD, from 2"));
	assert_non_null(strstr(out, "old key EEEE, good until 2"));
	assert_int_equal(reply(&verb_key_show, OUTPUT_TABLE,
			       "{\"schema\":1,\"ok\":true,\"step\":\"announced\",\"key\":{\"fingerprint\":"
			       "\"AAAA\",\"public_key\":\"00\"},\"next\":{\"fingerprint\":\"BBBB\","
			       "\"public_key\":\"11\"},\"active_at\":4102444800,\"until\":4102444800,"
			       "\"devices\":3,\"heard\":1,\"left\":[\"web\",\"db\"]}"),
			 0);
	assert_non_null(strstr(out, "next          BBBB\n"));
	assert_non_null(strstr(out, "1 of 3 know the new one\n"));
	assert_non_null(strstr(out, "not yet       web\n"));
}

/* keyd names the process; what it runs is seen from here, and a number that is another's by now is not believed */
static void flows_name_the_program(void **state)
{
	char text[512], exe[64];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	for (int old = 0; old <= 1; old++) {
		snprintf(text, sizeof(text),
			 "{\"schema\":1,\"ok\":true,\"flows\":[{\"src\":\"10.0.0.1\",\"dst\":"
			 "\"10.0.0.2\",\"proto\":6,\"process\":{\"pid\":%d,\"comm\":\"psql\","
			 "\"uid\":4711,\"unit\":\"postgres-client.service\",\"since_s\":%d},"
			 "\"translated\":\"10.9.0.1:61007\",\"rule\":{\"line\":3,\"text\":\"allow\"},"
			 "\"bytes_in\":5120,\"tcp\":{\"bytes_in\":2048}},{\"proto\":17,\"bytes_in\":3072}]}",
			 (int)getpid(), old ? 1 << 30 : 0);
		assert_int_equal(reply(&verb_flows, OUTPUT_TABLE, text), 0);
		snprintf(text, sizeof(text), "psql[%d]", (int)getpid());
		assert_non_null(strstr(out, text));
		assert_non_null(strstr(out, "4711"));
		assert_non_null(strstr(out, "postgres-client.service"));
		assert_non_null(strstr(out, "2.0 KiB"));
		assert_non_null(strstr(out, "3.0 KiB"));
		assert_null(strstr(out, "5.0 KiB"));
		assert_non_null(strstr(out, "10.9.0.1:61007  line 3"));
		assert_true(n > 8);
		exe[n] = '\0';
		exe[8] = '\0'; /* the table may shorten what is long */
		assert_true(old == !strstr(out, exe));
	}
}

/* a daemon of another version may leave members out or change their types: no verb may fall over that */
static void every_verb_bears_odd_replies(void **state)
{
	static const char *const odd[] = {
		"{\"schema\":1,\"ok\":true}",
		"{\"schema\":1,\"ok\":true,\"peers\":[1,null,{}],\"sessions\":[[],\"x\",{}],"
		"\"flows\":[{},3,{\"process\":7,\"tcp\":1,\"rule\":3,\"translated\":{}},{\"process\":{\"pid\":\"x\",\"inode\":-1}}],"
		"\"devices\":[{}],"
		"\"tokens\":[{}],\"events\":[{\"detail\":3}],\"checks\":[7],\"problems\":[1],"
		"\"interfaces\":[null],"
		"\"why\":[1],\"replies\":[null],\"rtt_ms\":[1,2,\"x\"],\"received\":-1,\"sent\":"
		"1e300,\"warnings\":[{}],"
		"\"text\":5,\"device\":[],\"server\":7,\"changed\":[1],\"counters\":[],\"rule\":[]"
		"}",
		"{\"schema\":1,\"ok\":true,\"peers\":{},\"sessions\":5,\"device\":{\"addresses\":{}"
		"},\"counters\":{\"a\":{\"b\":{}}},"
		"\"prefixes\":\"x\",\"since_at\":99999999999999999,\"session_ms\":\"x\",\"state\":"
		"7,\"token\":null}",
	};

	for (const struct verb *const *v = verbs; *v; v++)
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(reply(*v, OUTPUT_TABLE, odd[i]), 0);
}

static void numbers_are_made_human(void **state)
{
	char b[HUMAN_B];

	assert_string_equal(human_bytes(b, 0), "0 B");
	assert_string_equal(human_bytes(b, 1023), "1023 B");
	assert_string_equal(human_bytes(b, 1024), "1.0 KiB");
	assert_string_equal(human_bytes(b, 1048575), "1.0 MiB");
	assert_string_equal(human_bytes(b, UINT64_MAX), "16.0 EiB");
	assert_string_equal(human_seconds(b, 59), "59s");
	assert_string_equal(human_seconds(b, 3599), "59m 59s");
	assert_string_equal(human_seconds(b, 7500), "2h 5m");
	assert_string_equal(human_seconds(b, 90000), "1d 1h");
	assert_string_equal(human_time(b, 0), "never");
}

static json_t *events(json_int_t first, unsigned n, bool more)
{
	json_t *o = json_pack("{s:b, s:[]}", "ok", 1, "events"), *list = json_object_get(o, "events");

	for (unsigned k = 0; k < n; k++)
		json_array_append_new(list, json_pack("{s:I}", "seq", first + k));
	if (more)
		json_object_set_new(o, "more", json_true());
	return o;
}

/* a long trail is asked for in parts, and put out as one */
static void test_parts_are_joined(void **state)
{
	json_t *args = json_pack("{s:i, s:b}", "limit", 1200, "verify", 1), *reply = events(11, 500, true), *part;

	assert_true(verb_server_audit.goes_on(args, reply, NULL));
	assert_int_equal(json_integer_value(json_object_get(args, "after")), 510);
	assert_int_equal(json_integer_value(json_object_get(args, "limit")), 700);
	assert_null(json_object_get(args, "verify")); /* once is enough */
	part = events(511, 500, true);
	assert_true(verb_server_audit.goes_on(args, reply, part));
	assert_int_equal(json_integer_value(json_object_get(args, "limit")), 200);
	json_decref(part);
	part = events(1011, 200, false);
	assert_false(verb_server_audit.goes_on(args, reply, part));
	json_decref(part);
	assert_int_equal(json_array_size(json_object_get(reply, "events")), 1200);
	assert_null(json_object_get(reply, "more"));
	json_decref(reply);
	json_decref(args);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(command_lines_become_requests),
		cmocka_unit_test(mistakes_are_explained),
		cmocka_unit_test(processes_are_looked_up),
		cmocka_unit_test(explanations_are_told),
		cmocka_unit_test(sessions_are_rows),
		cmocka_unit_test(mistakes_are_json_too),
		cmocka_unit_test(secrets_come_from_files),
		cmocka_unit_test(every_verb_has_help),
		cmocka_unit_test(replies_decide_the_exit_code),
		cmocka_unit_test(errors_say_message_and_hint),
		cmocka_unit_test(policies_are_compared),
		cmocka_unit_test(places_in_files_are_named),
		cmocka_unit_test(revisions_are_listed),
		cmocka_unit_test(events_of_a_stream_are_lines),
		cmocka_unit_test(problems_come_first),
		cmocka_unit_test(networks_are_a_table),
		cmocka_unit_test(next_keys_are_lines),
		cmocka_unit_test(flows_name_the_program),
		cmocka_unit_test(every_verb_bears_odd_replies),
		cmocka_unit_test(numbers_are_made_human),
		cmocka_unit_test(test_parts_are_joined),
	};

	return MVPN_RUN(tests);
}
