/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "await.h"

void await_init(Await *await)
{
	*await = (Await){ .over = false };
	g_mutex_init(&await->lock);
	g_cond_init(&await->ended);
}

void await_done(void *opaque, int error)
{
	Await *await = opaque;

	g_mutex_lock(&await->lock);
	await->over = true;
	await->error = error;
	g_cond_signal(&await->ended);
	g_mutex_unlock(&await->lock);
}

int await_end(Await *await)
{
	g_mutex_lock(&await->lock);
	while (!await->over)
		g_cond_wait(&await->ended, &await->lock);
	g_mutex_unlock(&await->lock);
	g_cond_clear(&await->ended);
	g_mutex_clear(&await->lock);
	return await->error;
}
