/* SPDX-License-Identifier: BSD-2-Clause */
/* Parts of keyd that nothing is told of while the two are introduced: they do nothing. The real ones: pair_shim.c. */
#include "pair.h"

#include "../../keyd/ether.h"
#include "../../keyd/levels.h"
#include "../../keyd/options.h"
#include "../../keyd/processes.h"

int ether_init(struct keyd *k)
{
	return 0;
}

void ether_free(struct keyd *k)
{
}

void ether_claim(struct keyd *k, struct chan_buf *b)
{
}

void ether_welcome(struct keyd *k, const struct chan_msg *m)
{
}

int ether_message(struct keyd *k, const struct chan_msg *m)
{
	return 0;
}

void ether_lost(struct keyd *k)
{
}

int processes_init(struct keyd *k)
{
	return 0;
}

void processes_free(struct keyd *k)
{
}

int processes_message(struct keyd *k, const struct chan_msg *m)
{
	return 0;
}

void processes_lost(struct keyd *k)
{
}

void levels_apply(struct keyd *k)
{
}

void levels_message(struct keyd *k, const struct chan_msg *m)
{
}

void levels_limit(const struct session *s)
{
}

void options_set(struct keyd *k, uint32_t options)
{
}

void options_times(struct keyd *k, const struct chan_msg *m)
{
}
