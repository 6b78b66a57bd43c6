/* SPDX-License-Identifier: GPL-2.0-or-later */
/* human.h - sizes and times as people read them; the texts are to be freed */
#pragma once

#include <stdint.h>

/* "512 B", "1.5 KiB", "64 MiB": two digits at least, powers of 1024. */
char *human_size(uint64_t bytes);

/* "5s", "1m05s", "2h03m", "3d04h"; nothing is shorter than "0s". */
char *human_age(double seconds);
