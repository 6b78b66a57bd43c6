/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs-ops.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "user.fleecefs."

typedef struct {
	const char *name;
	char *(*value)(const FsNode *node);
} Attribute;

static char *instant(const FsNode *node)
{
	return g_strdup(snapshot_instant_text(node->snapshot));
}

static char *mode(const FsNode *node)
{
	return g_strdup("full");
}

static char *reason(const FsNode *node)
{
	return g_strdup("no-chain");
}

static char *dirty_bytes(const FsNode *node)
{
	const DiskView *disk = snapshot_disk(node->snapshot, node->disk);

	return g_strdup_printf("%" G_GUINT64_FORMAT,
		extent_list_total(disk_view_extents(disk), EXTENT_DIRTY,
			EXTENT_DIRTY));
}

static char *pid(const FsNode *node)
{
	return g_strdup_printf("%d", getpid());
}

static const Attribute disk_attributes[] = {
	{ PREFIX "instant", instant },
	{ PREFIX "mode", mode },
	{ PREFIX "reason", reason },
	{ PREFIX "dirty_bytes", dirty_bytes },
	{ NULL, NULL },
};

/* What umount.fleecefs(8) waits for. */
static const Attribute root_attributes[] = {
	{ PREFIX "pid", pid },
	{ NULL, NULL },
};

static const Attribute none[] = { { NULL, NULL } };

static const Attribute *attributes(const FsNode *node)
{
	if (node->kind == NODE_RAW)
		return disk_attributes;
	return node->kind == NODE_ROOT ? root_attributes : none;
}

/* Size 0 asks how long it is. */
static void reply(fuse_req_t req, const char *text, size_t length,
	size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, length);
	else if (size < length)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, text, length);
}

void fs_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	g_auto(FsNode) node = { 0 };
	int error = fs_node_get(fs_of(req), ino, &node);
	const Attribute *attribute;
	g_autofree char *text = NULL;

	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	attribute = attributes(&node);
	while (attribute->name && !g_str_equal(attribute->name, name))
		attribute++;
	if (!attribute->name) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	text = attribute->value(&node);
	reply(req, text, strlen(text), size);
}

void fs_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	g_auto(FsNode) node = { 0 };
	int error = fs_node_get(fs_of(req), ino, &node);
	g_autoptr(GString) list = g_string_new(NULL);

	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	for (const Attribute *a = attributes(&node); a->name; a++)
		g_string_append_len(list, a->name, strlen(a->name) + 1);
	reply(req, list->str, list->len, size);
}
