/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-error.h"

G_DEFINE_QUARK(qmp-error-quark, qmp_error)

enum qmp_error qmp_error_from_class(const char *class_name)
{
	if (g_strcmp0(class_name, "CommandNotFound") == 0)
		return QMP_ERROR_COMMAND_NOT_FOUND;
	if (g_strcmp0(class_name, "DeviceNotActive") == 0)
		return QMP_ERROR_DEVICE_NOT_ACTIVE;
	if (g_strcmp0(class_name, "DeviceNotFound") == 0)
		return QMP_ERROR_DEVICE_NOT_FOUND;
	return QMP_ERROR_GENERIC;
}

bool qmp_error_is_refusal(const GError *error)
{
	return error && error->domain == QMP_ERROR;
}
