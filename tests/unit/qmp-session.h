/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qmp-session.h - a scripted QMP peer with a client, for one test */
#pragma once

#include <string.h>

#include <glib.h>

#include "qmp-client.h"
#include "scripted-qmp.h"

#define PATIENT_MS 20000

/* A peer with its client, for one test. */
typedef struct {
	ScriptedQmp *peer;
	QmpClient *client;
	GError *error;
} Session;

static inline void session_clear(Session *session)
{
	g_clear_error(&session->error);
	qmp_client_free(session->client);
	scripted_qmp_free(session->peer);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Session, session_clear)

static inline Session session_start(const ScriptedStep *steps, size_t n_steps)
{
	Session session = { .peer = scripted_qmp_new(NULL, steps, n_steps) };

	session.client = qmp_client_connect(scripted_qmp_path(session.peer),
		PATIENT_MS, &session.error);
	g_assert_no_error(session.error);
	return session;
}

static inline void assert_failed(Session *session, GQuark domain, int code,
	const char *words)
{
	g_assert_error(session->error, domain, code);
	if (!strstr(session->error->message, words))
		g_error("\"%s\" lacks \"%s\"", session->error->message, words);
	g_clear_error(&session->error);
}
