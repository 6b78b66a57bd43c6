/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-server.h - an NBD server that others run, and what it exports
 *
 * The server is named by a URI, which libnbd parses.  A survey is one
 * connection that never leaves the handshake: it asks what there is, and
 * reads nothing.  It belongs to one thread at a time, and its functions block
 * for up to timeout_ms for each answer.
 *
 * Where TLS is asked for and not to be had, or the other side is not who it
 * should be, nothing works: there is no falling back.  So TLS needs something
 * to know the server by: pre-shared keys or, but not over a unix socket,
 * certificates.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

typedef struct {
	const char *uri;          /* as nbd_connect_uri(3) takes it */
	bool require_tls;         /* also where the URI does not */
	const char *certificates; /* a directory, see libnbd(3), or NULL */
	const char *psk;          /* a file of pre-shared keys, or NULL */
	unsigned timeout_ms;      /* for a handshake, and each answer in it */
} NbdServer;

/* What a server says of one of its exports. */
typedef struct {
	char *name;             /* "" for the default one */
	uint64_t size;          /* bytes; need be a multiple of nothing */
	bool can_trim;
	bool can_share;         /* several connections see the same */
	bool tells_allocation;  /* it has base:allocation */
	GPtrArray *bitmaps;     /* NAMEs of its qemu:dirty-bitmap:NAME */
	uint32_t minimum;       /* every request is a multiple of it; 1: any */
	uint32_t maximum;       /* of a read, bytes; 0: it did not say */
} NbdExportFacts;

#define NBD_BITMAP_CONTEXT "qemu:dirty-bitmap:"

typedef struct NbdSurvey NbdSurvey;

/* Connects.  The code is that of connect(2), ETIMEDOUT for silence, EINVAL
 * for a URI that is none, ENOTSUP where no TLS is to be had. */
NbdSurvey *nbd_survey_new(const NbdServer *server, GError **error);

/* Ends the connection. */
void nbd_survey_free(NbdSurvey *survey);

/* The export that the URI names; "" where it names none. */
const char *nbd_survey_named(const NbdSurvey *survey);

/*
 * The names of all exports that the server lists, in its order, freed with
 * the array.  EOPNOTSUPP where it does not list them, EFBIG where they do not
 * end.
 */
GPtrArray *nbd_survey_list(NbdSurvey *survey, GError **error);

/*
 * Asks about one export.  ENOENT where there is none of this name.  A server
 * without structured replies or metadata contexts has no bitmaps, and tells
 * nothing of its allocation.
 */
NbdExportFacts *nbd_survey_ask(NbdSurvey *survey, const char *name,
	GError **error);

void nbd_export_facts_free(NbdExportFacts *facts);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbdSurvey, nbd_survey_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbdExportFacts, nbd_export_facts_free)
