/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-monitor.h"

#include <errno.h>

#include "fleece-error.h"
#include "virt-domain.h"
#include "virt-monitor.h"

#define DONE "{\"return\": {}}"

typedef struct {
	VirtHost *host;
	char *uuid;
	unsigned timeout_ms;
} Line;

static void line_free(void *opaque)
{
	Line *line = opaque;

	virt_host_free(line->host);
	g_free(line->uuid);
	g_free(line);
}

static bool stop(const Line *line, unsigned timeout_ms, GError **error)
{
	return virt_domain_suspend(line->host, line->uuid, timeout_ms, error);
}

/* As with QMP it is no error that it runs.  It may be in a hurry, so that is
 * not asked before. */
static bool go_on(const Line *line, unsigned timeout_ms, GError **error)
{
	GError *failure = NULL;
	enum virt_state now;

	if (virt_domain_resume(line->host, line->uuid, timeout_ms, &failure))
		return true;
	if (g_error_matches(failure, FLEECE_ERROR, EIO) &&
	    virt_domain_state(line->host, line->uuid, &now, NULL) &&
	    now == VIRT_STATE_RUNS) {
		g_error_free(failure);
		return true;
	}
	g_propagate_error(error, failure);
	return false;
}

static char *do_it(const Line *line, const char *command, const char *message,
	int fd, unsigned timeout_ms, GError **error)
{
	if (g_str_equal(command, "stop"))
		return stop(line, timeout_ms, error) ? g_strdup(DONE) : NULL;
	if (g_str_equal(command, "cont"))
		return go_on(line, timeout_ms, error) ? g_strdup(DONE) : NULL;
	return virt_monitor_run(line->host, line->uuid, message, fd,
		timeout_ms, error);
}

/* libvirt is given the time to say itself what it has waited for, where
 * nobody is in a hurry. */
static char *run(void *opaque, const char *command, const char *message,
	int fd, unsigned timeout_ms, GError **error)
{
	const Line *line = opaque;
	GError *failure = NULL;
	char *reply = do_it(line, command, message, fd,
		timeout_ms < line->timeout_ms ? timeout_ms :
						virt_host_timeout(line->host),
		&failure);

	if (g_error_matches(failure, FLEECE_ERROR, ENOENT))
		failure->code = ECONNRESET;
	if (failure)
		g_propagate_error(error, failure);
	return reply;
}

static Line *line_new(const char *uri, const char *uuid, unsigned timeout_ms)
{
	Line *line = g_new0(Line, 1);

	line->host = virt_host_new(uri, NULL, NULL);
	virt_host_set_timeout(line->host, timeout_ms);
	line->uuid = g_strdup(uuid);
	line->timeout_ms = timeout_ms;
	return line;
}

static bool check_runs(const Line *line, GError **error)
{
	bool off;

	if (!virt_domain_is_off(line->host, line->uuid, &off, error))
		return false;
	if (off)
		fleece_set_error(error, ENOENT, "the domain does not run");
	return !off;
}

QmpClient *domain_monitor_connect(const char *uri, const char *uuid,
	unsigned timeout_ms, GError **error)
{
	static const QmpCarrier carrier = { run, line_free };
	Line *line = line_new(uri, uuid, timeout_ms);

	if (check_runs(line, error))
		return qmp_client_over(&carrier, line, timeout_ms, error);
	line_free(line);
	return NULL;
}
