/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image-host.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "autofd.h"
#include "disk-image.h"
#include "fleece-error.h"
#include "listener.h"
#include "qmp-block.h"
#include "qmp-error.h"
#include "qmp-export.h"
#include "qmp-query.h"

#define PROGRAM "qemu-storage-daemon"
/* As the program finds its listening sockets. */
#define QMP_FD 3
#define NBD_FD 4
/* How long it may take to end before it is killed. */
#define END_US (5 * G_TIME_SPAN_SECOND)
#define POLL_US (10 * G_TIME_SPAN_MILLISECOND)

typedef struct {
	const DiskImage *image;
	char *node;  /* its node, and its export's id */
	int lock_fd; /* -1: not locked */
	bool added;  /* the node is there, and */
	bool shown;  /* its export */
} HostedImage;

struct ImageHost {
	char *vm;
	char *format;       /* NULL: by the file's name */
	GPtrArray *files;   /* DiskImages */
	GPtrArray *images;  /* HostedImage, one for each */
	GPid pid;           /* 0: it does not run */
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

static bool ends_by(GPid pid, int signal_number)
{
	gint64 began = g_get_monotonic_time();

	kill(pid, signal_number);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (g_get_monotonic_time() - began > END_US)
			return false;
		g_usleep(POLL_US);
	}
	return true;
}

/* One that hangs in a read of a dead device cannot be waited for; it ends when
 * that does. */
static void end_process(const ImageHost *host)
{
	if (!ends_by(host->pid, SIGTERM) && !ends_by(host->pid, SIGKILL))
		g_warning("VM %s: %s (pid %d) does not end", host->vm, PROGRAM,
			(int)host->pid);
}

void image_host_free(ImageHost *host)
{
	if (!host)
		return;
	if (host->pid)
		end_process(host);
	if (host->qmp_fd >= 0)
		close(host->qmp_fd);
	if (host->nbd_fd >= 0)
		close(host->nbd_fd);
	g_ptr_array_unref(host->images);
	g_ptr_array_unref(host->files);
	g_free(host->format);
	g_free(host->qmp);
	g_free(host->uri);
	g_free(host->vm);
	g_free(host);
}

/* In the child: it ends with us, and not by the terminal's Ctrl-C, which is
 * for us. */
static void in_child(gpointer parent)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != GPOINTER_TO_INT(parent))
		_exit(1);
}

static bool spawn(ImageHost *host, int qmp, int nbd, GError **error)
{
	const char *const argv[] = { PROGRAM, "--chardev",
		"socket,id=qmp,fd=" G_STRINGIFY(QMP_FD) ",server=on,wait=off",
		"--monitor", "chardev=qmp", "--nbd-server",
		"addr.type=fd,addr.str=" G_STRINGIFY(NBD_FD)
		",max-connections=0", NULL };
	const int from[] = { qmp, nbd };
	const int to[] = { QMP_FD, NBD_FD };
	g_autoptr(GError) failure = NULL;

	if (g_spawn_async_with_pipes_and_fds("/", argv, NULL,
		    G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD |
		    G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
		    in_child, GINT_TO_POINTER(getpid()), -1, -1, -1, from, to,
		    G_N_ELEMENTS(from), &host->pid, NULL, NULL, NULL,
		    &failure))
		return true;
	host->pid = 0;
	fleece_set_error(error, ENOENT, "VM %s: %s, which reads its images: "
		"%s (Debian: qemu-system-common)", host->vm, PROGRAM,
		failure->message);
	return false;
}

/* A listening socket without a name: *path_fd is the only way to it. */
static int nameless_listener(int *path_fd, GError **error)
{
	g_autofree char *directory = listener_make_directory(error);
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

static bool start(ImageHost *host, GError **error)
{
	AUTOFD int qmp = nameless_listener(&host->qmp_fd, error);
	AUTOFD int nbd = qmp < 0 ? -1 :
				   nameless_listener(&host->nbd_fd, error);

	host->qmp = g_strdup_printf("/proc/self/fd/%d", host->qmp_fd);
	host->uri = g_strdup_printf("nbd+unix:///?socket=/proc/self/fd/%d",
		host->nbd_fd);
	return nbd >= 0 && spawn(host, qmp, nbd, error);
}

ImageHost *image_host_new(const char *vm, GPtrArray *images,
	const char *format, GError **error)
{
	g_autoptr(ImageHost) host = g_new0(ImageHost, 1);

	host->vm = g_strdup(vm);
	host->format = g_strdup(format);
	host->files = g_ptr_array_ref(images);
	host->qmp_fd = host->nbd_fd = -1;
	host->images = g_ptr_array_new_with_free_func(
		(GDestroyNotify)hosted_free);
	for (guint i = 0; i < images->len; i++) {
		HostedImage *hosted = g_new0(HostedImage, 1);

		hosted->image = images->pdata[i];
		hosted->node = g_strdup_printf("image%u", i);
		hosted->lock_fd = -1;
		g_ptr_array_add(host->images, hosted);
	}
	return start(host, error) ? g_steal_pointer(&host) : NULL;
}

const char *image_host_uri(const ImageHost *host)
{
	return host->uri;
}

static QmpClient *talk(const ImageHost *host, unsigned timeout_ms,
	GError **error)
{
	QmpClient *client = qmp_client_connect(host->qmp, timeout_ms, error);

	if (!client)
		g_prefix_error(error, PROGRAM ": ");
	return client;
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

static const QmpNode *find_node(const GPtrArray *nodes, const char *name)
{
	for (guint i = 0; nodes && i < nodes->len; i++) {
		const QmpNode *node = nodes->pdata[i];

		if (g_str_equal(node->node, name))
			return node;
	}
	return NULL;
}

static bool export_image(QmpClient *client, const HostedImage *hosted,
	GError **error)
{
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(client, error);
	const QmpNode *node = find_node(nodes, hosted->node);
	g_autofree const char **bitmaps = node ? sound_bitmaps(node) : NULL;
	QmpExport export = {
		.id = hosted->node,
		.node = hosted->node,
		.name = hosted->image->id,
		.bitmaps = bitmaps,
		.bitmap_node = hosted->node,
	};

	if (nodes && !node)
		fleece_set_error(error, EPROTO,
			"query-named-block-nodes: no node %s", hosted->node);
	return node && qmp_block_export_add(client, &export, error);
}

static bool open_one(const ImageHost *host, QmpClient *client,
	HostedImage *hosted, GError **error)
{
	const DiskImage *image = hosted->image;
	const char *format = disk_image_format(image, host->format, error);

	if (!format)
		return false;
	hosted->lock_fd = disk_image_lock(image, error);
	hosted->added = hosted->lock_fd >= 0 &&
		qmp_blockdev_add_image(client, hosted->node, image->path,
			format, error);
	hosted->shown = hosted->added && export_image(client, hosted, error);
	return hosted->shown;
}

static bool close_one(QmpClient *client, HostedImage *hosted, GError **error)
{
	if (hosted->shown &&
	    !qmp_block_export_del(client, hosted->node, error))
		return false;
	hosted->shown = false;
	if (hosted->added && !qmp_blockdev_del(client, hosted->node, error))
		return false;
	hosted->added = false;
	if (hosted->lock_fd >= 0)
		close(hosted->lock_fd);
	hosted->lock_fd = -1;
	return true;
}

static bool close_all(const ImageHost *host, QmpClient *client, GError **error)
{
	for (guint i = 0; i < host->images->len; i++) {
		HostedImage *hosted = host->images->pdata[i];

		if (!close_one(client, hosted, error)) {
			g_prefix_error(error, "disk %s: ", hosted->image->id);
			return false;
		}
	}
	return true;
}

static bool open_all(const ImageHost *host, QmpClient *client, GError **error)
{
	for (guint i = 0; i < host->images->len; i++) {
		HostedImage *hosted = host->images->pdata[i];

		if (!open_one(host, client, hosted, error)) {
			g_prefix_error(error, "disk %s: ", hosted->image->id);
			return false;
		}
	}
	return true;
}

bool image_host_open(ImageHost *host, unsigned timeout_ms, GError **error)
{
	g_autoptr(QmpClient) client = talk(host, timeout_ms, error);

	/* an earlier end may have failed */
	if (!client || !close_all(host, client, error))
		return false;
	if (open_all(host, client, error))
		return true;
	close_all(host, client, NULL);
	return false;
}

bool image_host_close(ImageHost *host, unsigned timeout_ms, GError **error)
{
	g_autoptr(QmpClient) client = talk(host, timeout_ms, error);

	return client && close_all(host, client, error);
}
