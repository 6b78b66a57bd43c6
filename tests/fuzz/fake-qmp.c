/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake-qmp.h"

#include <errno.h>

#include "fleece-error.h"
#include "qmp-execute.h"
#include "qmp-reply.h"
#include "qmp-wire.h"

struct QmpClient {
	QmpWire *wire;
	FakeQmpWatch *watch;
};

QmpClient *fake_qmp_new(FuzzInput in, FakeQmpWatch *watch)
{
	QmpClient *client = g_new0(QmpClient, 1);

	client->wire = qmp_wire_new();
	client->watch = watch;
	qmp_wire_push(client->wire, (const char *)in.data, in.size);
	return client;
}

void qmp_client_free(QmpClient *client)
{
	if (!client)
		return;
	qmp_wire_free(client->wire);
	g_free(client);
}

/* Nobody connects again here. */
QmpClient *qmp_client_connect(const char *path, unsigned timeout_ms,
	GError **error)
{
	fleece_set_error(error, ENOENT, "%s: no QEMU", path);
	return NULL;
}

QmpClient *qmp_client_over(const QmpCarrier *carrier, void *opaque_take,
	unsigned timeout_ms, GError **error)
{
	carrier->free(opaque_take);
	return qmp_client_connect("carrier", timeout_ms, error);
}

unsigned qmp_client_timeout(const QmpClient *client)
{
	return 0;
}

void qmp_client_linger(QmpClient *client)
{
}

json_object *qmp_execute(QmpClient *client, const char *command,
	json_object *arguments, int fd, GError **error)
{
	g_autoptr(json_object) reply = NULL;

	if (client->watch)
		client->watch(command, arguments);
	json_object_put(arguments);
	if (!qmp_wire_pop(client->wire, &reply, error)) {
		g_prefix_error(error, "%s: ", command);
		return NULL;
	}
	if (reply)
		return qmp_reply_return(command, reply, error);
	fleece_set_error(error, ECONNRESET, "%s: closed", command);
	return NULL;
}

bool qmp_execute_void(QmpClient *client, const char *command,
	json_object *arguments, GError **error)
{
	g_autoptr(json_object) value = qmp_execute(client, command, arguments,
		QMP_NO_FD, error);

	return value;
}
