/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor.h"

#include "domain-host.h"
#include "domain-monitor.h"

bool monitor_speaks_qmp(const Monitor *monitor)
{
	return monitor->uuid || !domain_is_uri(monitor->at);
}

QmpClient *monitor_connect(const Monitor *monitor, unsigned timeout_ms,
	GError **error)
{
	return monitor->uuid ?
		domain_monitor_connect(monitor->at, monitor->uuid, timeout_ms,
			error) :
		qmp_client_connect(monitor->at, timeout_ms, error);
}
