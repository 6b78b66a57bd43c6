/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-fixture.h - an NBD server of its own for each test, and its export
 *
 * Servers are real programs, started with a shell, in a folder of their own
 * that goes with them.  Whatever fails or takes too long aborts the test; a
 * server never outlives it.
 */
#pragma once

#include <sys/types.h>

#include <glib.h>

#include "nbd-export.h"

#define MIB (1024 * 1024)

/* What waits, waits for no longer than this. */
#define NBD_FIXTURE_PATIENCE (20 * G_TIME_SPAN_SECOND)

typedef struct {
	char *dir;
	char *socket;
	char *script;
	pid_t process; /* 0: there is none */
	NbdLoop *loop;
	NbdExport *export;
	uint64_t room; /* of the exports that are made from now on */
	gint lost; /* atomic: calls of lost() */
} NbdFixture;

/* Requests that are waited for together. */
typedef struct {
	GMutex lock;
	GCond changed;
	unsigned pending; /* lock */
	unsigned done;    /* lock */
} NbdBatch;

typedef struct {
	NbdBatch *batch;
	unsigned char *buffer;
	uint64_t offset;
	size_t length;
	int error;
	unsigned calls; /* of its completion */
} NbdBatchRequest;

/* For g_test_add(): a loop, and nothing else yet. */
void nbd_fixture_set_up(NbdFixture *f, gconstpointer data);
void nbd_fixture_tear_down(NbdFixture *f, gconstpointer data);

/* Starts the shell command, with $socket, $dir and $script set, and waits
 * until it listens. */
void nbd_fixture_serve(NbdFixture *f, const char *command);

/* The same with nbdkit's sh plugin and the cases of a shell script, between
 * "case $1 in" and "esac".  1 MiB, requests in parallel. */
void nbd_fixture_serve_script(NbdFixture *f, const char *cases);

/* As kill -9; does nothing the second time. */
void nbd_fixture_kill_server(NbdFixture *f);

/* A socket connected to the server. */
int nbd_fixture_socket(const NbdFixture *f);

/* Makes the export, without connections. */
void nbd_fixture_new_export(NbdFixture *f, uint64_t size,
	unsigned read_timeout_ms, unsigned max_in_flight);

/* Adds a connection that must succeed. */
void nbd_fixture_connect(NbdFixture *f, const char *context);

/* Both, with a patient export. */
void nbd_fixture_open(NbdFixture *f, uint64_t size, unsigned connections);

/* Waits until lost() was called. */
void nbd_fixture_wait_until_lost(NbdFixture *f);

/* One request, waited for; they return its errno. */
int nbd_fixture_read(NbdExport *export, uint64_t offset, size_t length);
int nbd_fixture_trim(NbdExport *export, uint64_t offset, uint64_t length);

void nbd_batch_init(NbdBatch *batch);
void nbd_batch_clear(NbdBatch *batch);

/* Starts a read into a new buffer of request's. */
void nbd_batch_read(NbdExport *export, NbdBatch *batch,
	NbdBatchRequest *request, uint64_t offset, size_t length);

/* An NbdDone for an NbdBatchRequest. */
void nbd_batch_done(void *opaque, int error);

/* Waits for all, or until so many are done. */
void nbd_batch_wait(NbdBatch *batch);
void nbd_batch_wait_for_some(NbdBatch *batch, unsigned done);
