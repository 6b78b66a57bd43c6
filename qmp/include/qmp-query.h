/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-query.h - what QEMU tells about itself, changing nothing
 *
 * Each function is one command of the QMP reference manual.  Lists are
 * GPtrArrays that free their elements; strings in them are never NULL unless
 * said.  All return NULL or false with error set on failure; the message
 * begins with the command's name.  A reply of another shape than the manual's
 * is EPROTO.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "qmp-client.h"

/* An entry of query-block: a block backend, mostly that of a guest device. */
typedef struct {
	char *device; /* legacy drive id; "" with -blockdev */
	char *qdev;   /* QOM path of the guest device; NULL without one */
	bool removable;
	bool inserted;      /* what follows is valid only then */
	char *node;         /* node name of the root node */
	char *driver;       /* driver of the root node: "qcow2", "throttle" */
	char *file;         /* its image as QEMU names it; NULL: it does not */
	bool read_only;
	uint64_t size; /* virtual size in bytes */
} QmpBlock;

GPtrArray *qmp_query_block(QmpClient *client, GError **error);

/* A dirty bitmap that has a name. */
typedef struct {
	char *name;
	bool recording;    /* marks what is written */
	bool busy;         /* exported, or in the hands of another operation */
	bool persistent;
	bool inconsistent; /* good for nothing but to be removed */
} QmpBitmap;

/* An entry of query-named-block-nodes. */
typedef struct {
	char *node;
	char *driver;
	bool read_only;
	char *file;         /* its image as QEMU names it; NULL: it does not */
	uint64_t size;      /* virtual size in bytes; 0: it does not say */
	bool keeps_bitmaps; /* its format can: qcow2 of version 3 */
	GPtrArray *bitmaps; /* QmpBitmap */
} QmpNode;

GPtrArray *qmp_query_named_block_nodes(QmpClient *client, GError **error);

/* The one of that name, or NULL; there is none of the name NULL. */
const QmpNode *qmp_node_find(const GPtrArray *nodes, const char *name);

/* Its bitmap of that name, or NULL. */
const QmpBitmap *qmp_node_bitmap(const QmpNode *node, const char *name);

/* An entry of query-block-exports. */
typedef struct {
	char *id;
	char *type; /* "nbd", "fuse", "vhost-user-blk" */
	char *node;
	bool leaving; /* block-export-del has been accepted */
} QmpBlockExport;

GPtrArray *qmp_query_block_exports(QmpClient *client, GError **error);

/* An entry of query-jobs. */
typedef struct {
	char *id;
	char *type;
	char *status;
} QmpJob;

GPtrArray *qmp_query_jobs(QmpClient *client, GError **error);

/* How many iothreads there are; -1 on failure: QMP_ERROR_COMMAND_NOT_FOUND
 * where there is no guest, only a block layer (qemu-storage-daemon). */
int qmp_query_iothreads(QmpClient *client, GError **error);

/* query-uuid: "00000000-0000-0000-0000-000000000000" where the VM was given
 * none.  Errors as before; free with g_free(). */
char *qmp_query_uuid(QmpClient *client, GError **error);

/* query-status: *running, and where status is not NULL the run state's name
 * ("running", "paused", "io-error"), to be freed with g_free(). */
bool qmp_query_status(QmpClient *client, bool *running, char **status,
	GError **error);
