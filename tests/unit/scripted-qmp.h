/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scripted-qmp.h - a QMP peer that plays a script
 *
 * A thread behind a unix socket in a folder of its own.  It serves one
 * connection: the greeting, qmp_capabilities, then step by step; after the
 * last step it reads until the client closes.  A command that the script
 * does not have next, and a step never reached, fail the test.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

/* A reply as QEMU writes it; the text is JSON. */
#define RETURN(text) "{\"return\": " text ", \"id\": \"%ID%\"}\r\n"
#define REFUSE(class_name, desc)                                               \
	"{\"id\": \"%ID%\", \"error\": {\"class\": \"" class_name              \
	"\", \"desc\": \"" desc "\"}}\r\n"
#define EVENT                                                                  \
	"{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, "              \
	"\"event\": \"STOP\"}\r\n"

/* In place of a command: the step does not wait for one. */
#define SCRIPTED_AT_ONCE ""

typedef struct {
	const char *command;   /* NULL: any */
	const char *arguments; /* JSON, compared as such; NULL: any */
	const char *reply;     /* "%ID%" is the command's id; NULL: silence */
	bool repeat;           /* until the client closes */
	bool hang_up;          /* afterwards */
	bool stall;            /* afterwards: read nothing, stay connected */
} ScriptedStep;

typedef struct ScriptedQmp ScriptedQmp;

/*
 * Listens and starts the thread.  greeting NULL is that of QEMU 7.2.22; with
 * another one the script begins before qmp_capabilities.  The steps have to
 * outlive it.
 */
ScriptedQmp *scripted_qmp_new(const char *greeting, const ScriptedStep *steps,
	size_t n_steps);

/* Ends with the test failed where steps are left.  The client has to be
 * closed already. */
void scripted_qmp_free(ScriptedQmp *peer);

const char *scripted_qmp_path(const ScriptedQmp *peer);

/* Waits until the thread has ended. */
void scripted_qmp_wait(ScriptedQmp *peer);

/* The descriptors that came, in order; call it after scripted_qmp_wait(). */
const GArray *scripted_qmp_fds(const ScriptedQmp *peer);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ScriptedQmp, scripted_qmp_free)
