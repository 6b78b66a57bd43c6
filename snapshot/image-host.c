/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image-host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "autofd.h"
#include "disk-image.h"
#include "fleece-error.h"
#include "listener.h"
#include "owner.h"
#include "qmp-block.h"
#include "qmp-export.h"
#include "qmp-query.h"

/* How long it may take to end before it is killed. */
#define END_MS (5 * 1000)

typedef struct {
	const DiskImage *image;
	char *node;  /* its node, and its export's id */
	int lock_fd; /* -1: not locked */
} HostedImage;

struct ImageHost {
	char *vm;
	GPtrArray *files;   /* DiskImages */
	GPtrArray *images;  /* HostedImage, one for each */
	GPtrArray *nodes;   /* QmpNode: these, and those below them, as they
			     * were before any was exported */
	int process;        /* pidfd; -1: it does not run */
	int qmp_fd;         /* O_PATH: the sockets, which have no name */
	int nbd_fd;
	char *qmp;          /* the ways to them, for this process alone */
	char *uri;
};

static void hosted_free(HostedImage *hosted)
{
	g_free(hosted->node);
	if (hosted->lock_fd >= 0)
		close(hosted->lock_fd);
	g_free(hosted);
}

/* --- the process --- */

static bool ends_by(int process, int signal_number)
{
	struct pollfd poller = { .fd = process, .events = POLLIN };

	pidfd_send_signal(process, signal_number, NULL, 0);
	return poll(&poller, 1, END_MS) > 0;
}

static void unlock(ImageHost *host)
{
	for (guint i = 0; i < host->images->len; i++) {
		HostedImage *hosted = host->images->pdata[i];

		if (hosted->lock_fd >= 0)
			close(hosted->lock_fd);
		hosted->lock_fd = -1;
	}
}

/* One that hangs in a read of a dead device cannot be waited for; it ends when
 * that does. */
bool image_host_end(ImageHost *host, GError **error)
{
	AUTOFD int process = host->process;

	host->process = -1;
	unlock(host);
	if (process < 0 || ends_by(process, SIGTERM) ||
	    ends_by(process, SIGKILL))
		return true;
	fleece_set_error(error, ETIMEDOUT, "the qemu-storage-daemon that "
		"reads its images does not end");
	return false;
}

void image_host_free(ImageHost *host)
{
	g_autoptr(GError) error = NULL;

	if (!host)
		return;
	if (!image_host_end(host, &error))
		g_warning("VM %s: %s", host->vm, error->message);
	if (host->qmp_fd >= 0)
		close(host->qmp_fd);
	if (host->nbd_fd >= 0)
		close(host->nbd_fd);
	g_ptr_array_unref(host->images);
	g_ptr_array_unref(host->files);
	g_clear_pointer(&host->nodes, g_ptr_array_unref);
	g_free(host->qmp);
	g_free(host->uri);
	g_free(host->vm);
	g_free(host);
}

/* A listening socket without a name: *path_fd is the only way to it. */
static int nameless_listener(int *path_fd, GError **error)
{
	g_autofree char *session = owner_new_session();
	g_autofree char *directory = listener_make_directory(session, error);
	g_autofree char *path = directory ? listener_path(directory) : NULL;
	AUTOFD int fd = directory ? listener_open(directory, error) : -1;

	if (fd >= 0) {
		*path_fd = open(path, O_PATH | O_CLOEXEC);
		if (*path_fd < 0)
			fleece_set_error_errno(error, errno, "%s", path);
	}
	if (directory)
		listener_remove_directory(directory);
	return *path_fd >= 0 ? autofd_steal(&fd) : -1;
}

static bool start(ImageHost *host, const ImageStarter *starter, GError **error)
{
	AUTOFD int qmp = nameless_listener(&host->qmp_fd, error);
	AUTOFD int nbd = qmp < 0 ? -1 :
				   nameless_listener(&host->nbd_fd, error);

	host->qmp = g_strdup_printf("/proc/self/fd/%d", host->qmp_fd);
	host->uri = g_strdup_printf("nbd+unix:///?socket=/proc/self/fd/%d",
		host->nbd_fd);
	if (nbd >= 0)
		host->process = image_starter_run(starter, qmp, nbd, error);
	return host->process >= 0;
}

/* --- the images --- */

/* The names of the bitmaps that can be read, NULL behind the last; they are
 * the node's. */
static const char **sound_bitmaps(const QmpNode *node)
{
	const char **names = g_new0(const char *, node->bitmaps->len + 1);
	unsigned n = 0;

	for (guint i = 0; i < node->bitmaps->len; i++) {
		const QmpBitmap *bitmap = node->bitmaps->pdata[i];

		if (!bitmap->inconsistent)
			names[n++] = bitmap->name;
	}
	return names;
}

static bool export_image(const ImageHost *host, QmpClient *client,
	HostedImage *hosted, GError **error)
{
	const QmpNode *node = qmp_node_find(host->nodes, hosted->node);
	g_autofree const char **bitmaps = node ? sound_bitmaps(node) : NULL;
	QmpExport export = {
		.id = hosted->node,
		.node = hosted->node,
		.name = hosted->image->id,
		.bitmaps = bitmaps,
		.bitmap_node = hosted->node,
	};

	if (!node)
		fleece_set_error(error, EPROTO,
			"query-named-block-nodes: no node %s", hosted->node);
	return node && qmp_block_export_add(client, &export, error);
}

/* The layers of an image, to be freed; *n: how many. */
static QmpLayer *layers_of(const DiskImage *image, size_t *n, GError **error)
{
	g_autofree QmpLayer *layers = g_new0(QmpLayer,
		1 + image->backing->len);

	for (*n = 0; *n <= image->backing->len; ++*n) {
		const DiskImage *layer = *n ? image->backing->pdata[*n - 1] :
					      image;

		layers[*n].path = layer->path;
		layers[*n].format = disk_image_format(layer, error);
		if (!layers[*n].format)
			return NULL;
	}
	return g_steal_pointer(&layers);
}

static bool open_image(const ImageHost *host, QmpClient *client,
	HostedImage *hosted, GError **error)
{
	const DiskImage *image = hosted->image;
	size_t n;
	g_autofree QmpLayer *layers = layers_of(image, &n, error);

	if (layers)
		hosted->lock_fd = disk_image_lock(image, error);
	return hosted->lock_fd >= 0 && qmp_blockdev_add_image(client,
		hosted->node, layers, n, image->ends, error);
}

typedef bool ImageStep(const ImageHost *host, QmpClient *client,
	HostedImage *hosted, GError **error);

static bool each(const ImageHost *host, QmpClient *client, ImageStep *step,
	GError **error)
{
	for (guint i = 0; i < host->images->len; i++) {
		HostedImage *hosted = host->images->pdata[i];

		if (!step(host, client, hosted, error)) {
			g_prefix_error(error, "disk %s: ", hosted->image->id);
			return false;
		}
	}
	return true;
}

static bool open_all(ImageHost *host, unsigned timeout_ms, GError **error)
{
	g_autoptr(QmpClient) client = qmp_client_connect(host->qmp, timeout_ms,
		error);

	if (!client) {
		g_prefix_error(error, "qemu-storage-daemon: ");
		return false;
	}
	if (!each(host, client, open_image, error))
		return false;
	host->nodes = qmp_query_named_block_nodes(client, error);
	return host->nodes && each(host, client, export_image, error);
}

static void add_image(ImageHost *host, const DiskImage *image)
{
	HostedImage *hosted = g_new0(HostedImage, 1);

	hosted->image = image;
	hosted->node = g_strdup_printf("image%u", host->images->len);
	hosted->lock_fd = -1;
	g_ptr_array_add(host->images, hosted);
}

ImageHost *image_host_new(const ImageStarter *starter, const char *vm,
	GPtrArray *images, unsigned timeout_ms, GError **error)
{
	g_autoptr(ImageHost) host = g_new0(ImageHost, 1);

	host->vm = g_strdup(vm);
	host->files = g_ptr_array_ref(images);
	host->process = host->qmp_fd = host->nbd_fd = -1;
	host->images = g_ptr_array_new_with_free_func(
		(GDestroyNotify)hosted_free);
	for (guint i = 0; i < images->len; i++)
		add_image(host, images->pdata[i]);
	return start(host, starter, error) &&
		open_all(host, timeout_ms, error) ?
		g_steal_pointer(&host) : NULL;
}

const char *image_host_uri(const ImageHost *host)
{
	return host->uri;
}

static const HostedImage *find_image(const ImageHost *host,
	bool (*is_it)(const HostedImage *hosted, const char *name),
	const char *name)
{
	for (guint i = 0; i < host->images->len; i++) {
		if (is_it(host->images->pdata[i], name))
			return host->images->pdata[i];
	}
	return NULL;
}

static bool is_disk(const HostedImage *hosted, const char *name)
{
	return g_str_equal(hosted->image->id, name);
}

static bool has_node(const HostedImage *hosted, const char *name)
{
	return g_str_equal(hosted->node, name);
}

const QmpBitmap *image_host_bitmap(const ImageHost *host, const char *disk,
	const char *name)
{
	const HostedImage *hosted = find_image(host, is_disk, disk);
	const QmpNode *node = qmp_node_find(host->nodes,
		hosted ? hosted->node : NULL);

	return node ? qmp_node_bitmap(node, name) : NULL;
}

bool image_host_has_below(const ImageHost *host, const char *name)
{
	for (guint i = 0; i < host->nodes->len; i++) {
		const QmpNode *node = host->nodes->pdata[i];

		if (!find_image(host, has_node, node->node) &&
		    qmp_node_bitmap(node, name))
			return true;
	}
	return false;
}
