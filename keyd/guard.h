/* SPDX-License-Identifier: BSD-2-Clause */
/* `keyd --guard`: at boot, before the network, load and attach the programs with the protected prefixes that were last known, so
 * that nothing leaves in clear while keyd is not there yet. Does one thing and exits. */
#ifndef MVPN_GUARD_H
#define MVPN_GUARD_H

/* exit code of the process */
int guard_run(const char *state_dir, const char *pin_dir, const char *share_dir);

#endif
