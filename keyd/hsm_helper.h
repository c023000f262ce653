/* SPDX-License-Identifier: BSD-2-Clause */
/* The process that talks to the token: `keyd --token-helper`, started by hsm.c alone. */
#ifndef MVPN_HSM_HELPER_H
#define MVPN_HSM_HELPER_H

int hsm_helper(void); /* answers questions on HSM_FD until it is closed; the exit status */

#endif
