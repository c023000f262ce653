/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket's verbs (docs/control.md, "server"). */
#ifndef SERVER_ADMIN_H
#define SERVER_ADMIN_H

#include "ipc.h"
#include "mvpn/ctl.h"
#include "server.h"

int admin_new(struct server *s);
void admin_free(struct admin *a);

/* ---- shared by the admin_*.c files ---- */
typedef void admin_fn(struct server *s, struct ipc_call *call, json_t *args);

admin_fn admin_token_create, admin_token_list, admin_token_revoke;
admin_fn admin_device_list, admin_device_show, admin_device_approve, admin_device_suspend,
	admin_device_revoke, admin_device_remove, admin_device_rename, admin_device_address;
admin_fn admin_policy_show, admin_policy_check, admin_policy_apply, admin_policy_test,
	admin_policy_diff, admin_policy_rollback, admin_policy_list;

admin_fn admin_audit;
admin_fn admin_key_show, admin_key_rotate, admin_key_cancel;

/* the text argument, or NULL when it is missing or no text */
const char *arg_text(json_t *args, const char *name);
/* true, and *ret set if the argument is there; false after an error was sent: no integer within min..max */
bool arg_number(struct ipc_call *call, json_t *args, const char *name, int64_t min, int64_t max,
		int64_t *ret);
/* the device that "device" names; NULL after an error was sent */
struct device *arg_device(struct server *s, struct ipc_call *call, json_t *args);
/* sends the error for a change that the store refused */
void reply_store_error(struct server *s, struct ipc_call *call, int r);
json_t *json_hex(const void *data, size_t len);
/*
 * A policy that could be put in force: well-formed, and its own tests hold. NULL after an error was sent, which makes mvpnctl
 * exit so. The second takes the argument "text".
 */
struct policy *policy_from_text(struct server *s, struct ipc_call *call, const char *text, size_t len,
				int exit);
struct policy *policy_arg(struct server *s, struct ipc_call *call, json_t *args, int exit,
			  const char **ret_text);
/* names in it that nobody has */
json_t *policy_warnings(struct server *s, const struct policy *p);
/* [{…}] of a device's sessions, or of all (NULL) */
json_t *sessions_json(struct server *s, const uint8_t *device);
/* a device's name for people: its name, or the id of one that is gone */
json_t *device_name_json(struct server *s, const uint8_t id[16]);

#endif
