/* SPDX-License-Identifier: BSD-2-Clause */
/* key-show, key-rotate, key-cancel. */
#include <errno.h>
#include <string.h>

#include "admin.h"
#include "server_key.h"

void admin_key_show(struct server *s, struct ipc_call *call, json_t *args)
{
	ipc_reply_ok(call, server_key_json(s));
}

static void failed(struct ipc_call *call, int r)
{
	ipc_reply_error(call, MVPN_EXIT_FAILED, "store",
			r == -ENOSPC ? "make room on the disk of the state directory"
				     : "see the server's log; the key is as it was",
			"the server's key could not be changed: %s", strerror(-r));
}

/* the old one goes before its time: not while somebody needs it */
static void give_up_now(struct server *s, struct ipc_call *call)
{
	json_t *names = json_array(), *name;
	unsigned left = server_key_left(s, names);
	char list[256] = "";
	size_t i;
	int r;

	json_array_foreach(names, i,
			   name) if (strlen(list) + json_string_length(name) + 3 < sizeof(list))
	{
		strcat(list, i ? ", " : "");
		strcat(list, json_string_value(name));
	}
	json_decref(names);
	if (left) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, "not-heard",
				"wait for them, or revoke or remove those that do not come back; "
				"the time that `server key "
				"show` says ends it in any case",
				"%u devices know the old key only: %s%s", left, list,
				left > i ? ", …" : "");
		return;
	}
	r = server_key_give_up(s, "admin");
	if (r < 0)
		failed(call, r);
	else
		admin_key_show(s, call, NULL);
}

void admin_key_rotate(struct server *s, struct ipc_call *call, json_t *args)
{
	bool now = json_is_true(json_object_get(args, "now"));
	int64_t after = now ? 0 : MVPN_SERVER_KEY_AFTER_S;
	unsigned other = s->id.keys->other;
	int r = 0;

	if (!arg_number(call, args, "after_s", 0, MVPN_SERVER_KEY_AFTER_MAX_S, &after))
		return;
	if (other == KEYFILE_OLD && now) {
		give_up_now(s, call);
		return;
	}
	if (other && !now) {
		ipc_reply_error(
			call, MVPN_EXIT_FAILED, "in-progress",
			other == KEYFILE_NEXT
				? "--now does not wait for its time, `server key cancel` forgets it"
				: "--now gives the old one up, once every device knows the new one",
			other == KEYFILE_NEXT
				? "the next key is announced, and not in use yet"
				: "the key has been changed, and the old one is still good");
		return;
	}
	if (!other)
		r = server_key_begin(s, "admin", after);
	if (r == 0 && !after)
		r = server_key_switch(s, "admin");
	if (r < 0)
		failed(call, r);
	else
		admin_key_show(s, call, NULL);
}

void admin_key_cancel(struct server *s, struct ipc_call *call, json_t *args)
{
	int r = server_key_cancel(s, "admin");

	if (r == -EAGAIN)
		ipc_reply_error(
			call, MVPN_EXIT_FAILED, "nothing-announced",
			s->id.keys->other
				? "the way back is another rotation, once the old key is gone"
				: NULL,
			s->id.keys->other ? "the next key is in use already"
					  : "no key is announced");
	else if (r < 0)
		failed(call, r);
	else
		admin_key_show(s, call, NULL);
}
