/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nbd-export.h"

typedef struct {
	GMutex lock;
	GCond ended;
	bool over; /* lock */
	int error; /* lock */
} Probe;

static void probe_done(void *opaque, int error)
{
	Probe *probe = opaque;

	g_mutex_lock(&probe->lock);
	probe->over = true;
	probe->error = error;
	g_cond_signal(&probe->ended);
	g_mutex_unlock(&probe->lock);
}

int nbd_export_probe(NbdExport *export, uint64_t offset)
{
	Probe probe = { .over = false };
	char byte;

	g_mutex_init(&probe.lock);
	g_cond_init(&probe.ended);
	nbd_export_read_async(export, &byte, 1, offset, probe_done, &probe);
	g_mutex_lock(&probe.lock);
	while (!probe.over)
		g_cond_wait(&probe.ended, &probe.lock);
	g_mutex_unlock(&probe.lock);
	g_cond_clear(&probe.ended);
	g_mutex_clear(&probe.lock);
	return probe.error;
}
