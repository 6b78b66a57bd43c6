/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>

#include "fleece-error.h"
#include "qmp-execute.h"
#include "qmp-socket.h"

bool qmp_wait_gone(QmpClient *client, const char *command, const char *id,
	QmpIsListed is_listed, GError **error)
{
	unsigned timeout_ms = qmp_client_timeout(client);
	int64_t deadline = qmp_deadline(timeout_ms);

	for (;;) {
		bool listed;

		if (!is_listed(client, id, &listed, error)) {
			g_prefix_error(error, "%s: ", command);
			return false;
		}
		if (!listed)
			return true;
		if (g_get_monotonic_time() >= deadline)
			break;
		qmp_client_linger(client);
	}
	fleece_set_error(error, ETIMEDOUT, "%s: %s is still there after %u ms",
		command, id, timeout_ms);
	return false;
}
