/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-block.h"

#include <sys/stat.h>

#include "qmp-execute.h"

bool qmp_blockdev_add_scratch(QmpClient *client, const char *node,
	const char *below, const char *path, GError **error)
{
	json_object *arguments = qmp_strings("driver", "raw", "node-name",
		node, "discard", "unmap", NULL);
	json_object *cache = json_object_new_object();

	/* Whoever stops the guest or deletes the node would have to wait until
	 * all of it was on the device, for nothing; the guest waits along. */
	json_object_object_add(cache, "no-flush", json_object_new_boolean(1));
	json_object_object_add(arguments, "cache", cache);
	/* A trim has to pass both layers to free anything. */
	json_object_object_add(arguments, "file",
		qmp_strings("driver", "file", "filename", path, "discard",
			"unmap", below ? "node-name" : NULL, below, NULL));
	return qmp_execute_void(client, "blockdev-add", arguments, error);
}

static bool is_device(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

static json_object *layer_options(const QmpLayer *layer)
{
	json_object *options = qmp_strings("driver", layer->format, NULL);
	json_object *file = qmp_strings("driver", is_device(layer->path) ?
		"host_device" : "file", "filename", layer->path, NULL);

	json_object_object_add(options, "read-only",
		json_object_new_boolean(1));
	json_object_object_add(file, "read-only", json_object_new_boolean(1));
	json_object_object_add(options, "file", file);
	return options;
}

/* A raw image has nothing below it, and cannot be told so. */
bool qmp_blockdev_add_image(QmpClient *client, const char *node,
	const QmpLayer *layers, size_t n, bool ends, GError **error)
{
	json_object *options = NULL;

	while (n--) {
		json_object *below = options;

		options = layer_options(&layers[n]);
		if (below || (ends && !g_str_equal(layers[n].format, "raw")))
			json_object_object_add(options, "backing", below);
	}
	json_object_object_add(options, "node-name",
		json_object_new_string(node));
	return qmp_execute_void(client, "blockdev-add", options, error);
}

bool qmp_blockdev_add_filter(QmpClient *client, const QmpFilter *filter,
	GError **error)
{
	json_object *arguments = qmp_strings("driver", "copy-before-write",
		"node-name", filter->node, "file", filter->file, "target",
		filter->target, "on-cbw-error", "break-snapshot", NULL);

	if (filter->cbw_timeout)
		json_object_object_add(arguments, "cbw-timeout",
			json_object_new_int64(filter->cbw_timeout));
	if (filter->bitmap)
		json_object_object_add(arguments, "bitmap",
			qmp_strings("node", filter->target, "name",
				filter->bitmap, NULL));
	return qmp_execute_void(client, "blockdev-add", arguments, error);
}

bool qmp_blockdev_add_access(QmpClient *client, const char *node,
	const char *filter, GError **error)
{
	return qmp_execute_void(client, "blockdev-add",
		qmp_strings("driver", "snapshot-access", "node-name", node,
			"file", filter, "discard", "unmap", NULL), error);
}

bool qmp_blockdev_del(QmpClient *client, const char *node, GError **error)
{
	return qmp_execute_void(client, "blockdev-del",
		qmp_strings("node-name", node, NULL), error);
}

bool qmp_check_main_thread(QmpClient *client, const char *node, GError **error)
{
	json_object *arguments = qmp_strings("node-name", node, NULL);

	json_object_object_add(arguments, "iothread", NULL);
	json_object_object_add(arguments, "force", json_object_new_boolean(1));
	return qmp_execute_void(client, "x-blockdev-set-iothread", arguments,
		error);
}
