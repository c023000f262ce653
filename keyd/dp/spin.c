/* SPDX-License-Identifier: BSD-2-Clause */
#include "spin.h"

#define STEPS 8 /* from nothing to most_ns by doubling an eighth, and back by halving */

void spin_init(struct spin *s, uint64_t most_ns, bool steady)
{
	s->most_ns = most_ns;
	s->ns = steady ? most_ns : 0;
	s->idle_ns = 0;
	s->steady = steady;
}

static void adapt(struct spin *s, uint64_t waited_ns)
{
	if (waited_ns > s->most_ns)
		s->ns = s->ns > s->most_ns / STEPS ? s->ns / 2 : 0;
	else if (waited_ns > s->ns)
		s->ns = s->ns ? s->ns * 2 : s->most_ns / STEPS;
	if (s->ns > s->most_ns)
		s->ns = s->most_ns;
}

void spin_work(struct spin *s, uint64_t now_ns)
{
	if (s->idle_ns && !s->steady)
		adapt(s, now_ns - s->idle_ns);
	s->idle_ns = 0;
}

bool spin_again(struct spin *s, uint64_t now_ns)
{
	if (!s->idle_ns)
		s->idle_ns = now_ns;
	return now_ns - s->idle_ns < s->ns;
}
