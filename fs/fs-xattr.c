/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs-ops.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "instant.h"

#define PREFIX "user.fleecefs."

typedef struct {
	const char *name;
	char *(*value)(const FsNode *node); /* NULL: this node has none */
} Attribute;

static char *instant(const FsNode *node)
{
	return g_strdup(snapshot_instant_text(node->snapshot));
}

static const DiskChain *chain_of(const FsNode *node)
{
	return snapshot_chain(node->snapshot, node->disk);
}

static char *mode(const FsNode *node)
{
	return g_strdup(chain_of(node)->reason ? "full" : "incremental");
}

static char *reason(const FsNode *node)
{
	return g_strdup(chain_of(node)->reason);
}

static char *base(const FsNode *node)
{
	gint64 ms = chain_of(node)->base_ms;

	return ms ? instant_to_text(ms) : NULL;
}

static char *chain(const FsNode *node)
{
	return g_strdup(chain_of(node)->chain);
}

static char *dirty_bytes(const FsNode *node)
{
	const DiskView *disk = snapshot_disk(node->snapshot, node->disk);

	return g_strdup_printf("%" G_GUINT64_FORMAT, disk_view_dirty(disk));
}

static char *pid(const FsNode *node)
{
	return g_strdup_printf("%d", getpid());
}

static const Attribute disk_attributes[] = {
	{ PREFIX "instant", instant },
	{ PREFIX "mode", mode },
	{ PREFIX "reason", reason },
	{ PREFIX "base", base },
	{ PREFIX "chain", chain },
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
	if (fs_node_is_data(node))
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
	text = attribute->name ? attribute->value(&node) : NULL;
	if (text)
		reply(req, text, strlen(text), size);
	else
		fuse_reply_err(req, ENODATA);
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
	for (const Attribute *a = attributes(&node); a->name; a++) {
		g_autofree char *text = a->value(&node);

		if (text)
			g_string_append_len(list, a->name,
				strlen(a->name) + 1);
	}
	reply(req, list->str, list->len, size);
}
