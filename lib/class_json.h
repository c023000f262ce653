/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MVPN_CLASS_JSON_H
#define MVPN_CLASS_JSON_H

#include <jansson.h>

#include "class.h"

/*
 * A list, in the order of the classes: {"class": text, "dscp": name or null, "limit_kbit": n or null, "burst_b": n or null, FIRST: services
 * of that end, SECOND: of the other, "rest": has it what no class has}. Which end is FIRST: 0 A, 1 B. Frames have their types, "0x88b5",
 * at A.
 */
json_t *mvpn_classes_json(const struct mvpn_classes *c, unsigned first_end, const char *first,
			  const char *second);

#endif
