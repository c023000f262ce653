/* SPDX-License-Identifier: BSD-2-Clause */
#include "mvpn/auth.h"

static const struct {
	const char *name, *text;
} reasons[] = {
	[MVPN_R_NONE] = {"none", "no reason given"},
	[MVPN_R_DENIED] = {"denied", "policy allows no traffic between the two devices; see "
				     "`mvpnctl server policy test`"},
	[MVPN_R_PEER_OFFLINE] =
		{"peer-offline",
		 "the other device is not connected to the server; is its keyd running?"},
	[MVPN_R_PEER_SILENT] = {"peer-silent", "the other device is connected but did not answer "
					       "in time; it will be tried again"},
	[MVPN_R_BUSY] =
		{"busy",
		 "an introduction of this pair is under way already; it will be waited for"},
	[MVPN_R_UNKNOWN_DST] = {"unknown-destination",
				"no device owns the destination; see `mvpnctl server device list`"},
	[MVPN_R_REVOKED] =
		{"revoked",
		 "the device was revoked; enrol it again with a new token if that was a mistake"},
	[MVPN_R_PENDING] = {"pending",
			    "the device awaits approval: `mvpnctl server device approve NAME`"},
	[MVPN_R_SUSPENDED] =
		{"suspended",
		 "the device is suspended; `mvpnctl server device approve NAME` lets it back"},
	[MVPN_R_TOKEN_EXPIRED] =
		{"token-expired",
		 "the enrolment token has expired; make a new one: `mvpnctl server token create`"},
	[MVPN_R_TOKEN_USED] =
		{"token-used",
		 "the enrolment token was used up; make a new one: `mvpnctl server token create`"},
	[MVPN_R_TOKEN_REVOKED] =
		{"token-revoked",
		 "the enrolment token was revoked; make a new one: `mvpnctl server token create`"},
	[MVPN_R_NAME_TAKEN] = {"name-taken",
			       "another device has that name; enrol with --name and another one"},
	[MVPN_R_ADDR_NOT_OWNED] =
		{"address-not-owned",
		 "the address is neither the one the channel comes from nor given by an "
		 "administrator: `mvpnctl server device address add`"},
	[MVPN_R_ADDR_TAKEN] =
		{"address-taken",
		 "another device owns that address; see `mvpnctl server device list`"},
	[MVPN_R_BAD_MESSAGE] = {"bad-message",
				"a message was malformed; are both ends of the same version?"},
	[MVPN_R_STALE_BOOT] =
		{"stale-boot",
		 "the message was for an earlier life of the device; it will be tried again"},
	[MVPN_R_PIN] = {"pin-mismatch", "the peer's key is not the one pinned: it was replaced, or "
					"somebody is in the middle; compare fingerprints"},
	[MVPN_R_LOCAL_POLICY] = {"local-policy", "the other device's own configuration refuses it"},
	[MVPN_R_SHUTDOWN] = {"shutdown", "the other end is shutting down"},
	[MVPN_R_REPLACED] =
		{"replaced",
		 "a newer one took its place; if it keeps happening, two hosts share one identity"},
	[MVPN_R_LIMIT] = {"limit", "a bound was reached; see the counters in `mvpnctl status`"},
	[MVPN_R_NO_SUITE] = {"no-common-suite",
			     "the two ends share no cipher suite or version; are both up to date?"},
	[MVPN_R_EXPIRED] = {"expired", "its lifetime is over"},
	[MVPN_R_INTERNAL] = {"internal",
			     "an internal error; see the journal of the daemon that reports it"},
	[MVPN_R_POLICY_CHANGED] = {"policy-changed",
				   "the policy changed and does not allow it any more"},
	[MVPN_R_MAC_TAKEN] = {"mac-taken",
			      "another device holds that MAC address, until it registers without "
			      "it or is revoked; see `mvpnctl server device show`"},
	[MVPN_R_MAC_INVALID] = {"mac-invalid",
				"a zero or multicast MAC address is no interface's own"},
	[MVPN_R_MODE] = {"mode", "the policy has a `mode` line for the two devices; asked anew"},
	[MVPN_R_MODE_REFUSED] =
		{"mode-refused",
		 "the policy lets the server know the keys between the two devices, and one of them "
		 "does not take part: take the `mode` line away, or set central_keys = yes in "
		 "keyd.conf on both"},
	[MVPN_R_KEY_AWAY] = {"key-away", "the device's key is on a token that cannot be used now; "
					 "`mvpnctl status` there says why"},
	[MVPN_R_DELEGATION] = {"delegation",
			       "the device's token does not vouch for the key that it uses, or no "
			       "longer: is the token plugged in there, and are the clocks right?"},
	[MVPN_R_STREAM_REFUSED] = {"stream-refused",
				   "no application takes the connection there"},
	[MVPN_R_STREAM_ADDRESS] = {"stream-address",
				   "a stream goes from an address of its own device to one of the "
				   "other device's, or behind it"},
	[MVPN_R_SELECTORS] = {"selectors", "the policy changed what the two devices may exchange; the "
					   "session is made anew"},
	[MVPN_R_PROCESS] = {"process", "the policy lets only certain processes send there (`by`), and "
				       "the keyd of one of the two is too old to tell: update it"},
	[MVPN_R_RELAY] = {"relay", "no device that the policy lets relay can do it, and the server does not; see `relay` in the policy and "
				   "relay_mbit in server.conf"},
	[MVPN_R_SERVER_KEY] = {"server-key", "the server has given up the key that is pinned: `mvpnctl server key show` there says its key, "
					     "`mvpnctl pin KEY` pins it here; or enrol with a new token"},
	[MVPN_R_SERVICE] = {"service", "the policy does not name their service any more"},
	[MVPN_R_STREAM_UNREACHABLE] = {"stream-unreachable",
				       "the other device finds no way to the destination: is the host "
				       "behind it up?"},
};
_Static_assert(sizeof(reasons) / sizeof(reasons[0]) == MVPN_R_MAX, "a name for each reason");

const char *mvpn_reason_name(unsigned reason)
{
	return reason < MVPN_R_MAX && reasons[reason].name ? reasons[reason].name : "unknown";
}

const char *mvpn_reason_text(unsigned reason)
{
	return reason < MVPN_R_MAX && reasons[reason].text
		       ? reasons[reason].text
		       : "a reason that this version does not know; is it older than the server?";
}

const char *mvpn_level_name(unsigned level)
{
	return level == MVPN_LEVEL_SOCKET   ? "socket"
	       : level == MVPN_LEVEL_EITHER ? "socket|network"
	       : level == MVPN_LEVEL_BOTH   ? "socket+network"
					    : "network";
}

const char *mvpn_mode_name(unsigned mode)
{
	static const char *const names[MVPN_MODES] = {"end-to-end", "central60", "central63"};

	return mode < MVPN_MODES ? names[mode] : "unknown";
}
