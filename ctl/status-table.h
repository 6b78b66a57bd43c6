/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * status-table.h - the status of a mount as people read it
 */
#pragma once

#include <stdio.h>

#include "status-json.h"

/*
 * Prints the VMs of the array vms, or only one of them where that is not
 * NULL: a line each, and below it one for each disk and for each remark.  A
 * member that is not there is a "-".
 */
void status_table_print(json_object *vms, json_object *only, FILE *file);
