/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "await.h"
#include "nbd-export.h"

int nbd_export_probe(NbdExport *export, uint64_t offset)
{
	Await await;
	char byte;

	await_init(&await);
	nbd_export_read_async(export, &byte, 1, offset, await_done, &await);
	return await_end(&await);
}
