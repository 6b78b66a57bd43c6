/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nbd-fixture.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "autofd.h"

/* --- servers --- */

/* Whatever becomes of the test, the server goes with it. */
static void die_with_parent(gpointer opaque G_GNUC_UNUSED)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int nbd_fixture_socket(const NbdFixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	AUTOFD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpuint(strlen(f->socket), <, sizeof(address.sun_path));
	strcpy(address.sun_path, f->socket);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return autofd_steal(&fd);
}

static void wait_for_socket(const NbdFixture *f)
{
	int64_t end = g_get_monotonic_time() + NBD_FIXTURE_PATIENCE;

	for (;;) {
		AUTOFD int fd = nbd_fixture_socket(f);

		if (fd >= 0)
			return;
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(5000);
	}
}

/* A GSubprocess would bring GLib's own thread, in which ThreadSanitizer, which
 * does not see into GLib, finds races. */
void nbd_fixture_serve(NbdFixture *f, const char *command)
{
	g_autofree char *line = g_strconcat("exec ", command, NULL);
	const char *argv[] = {"sh", "-c", line, NULL};
	g_auto(GStrv) env = g_get_environ();
	g_autoptr(GError) error = NULL;

	env = g_environ_setenv(env, "socket", f->socket, TRUE);
	env = g_environ_setenv(env, "dir", f->dir, TRUE);
	env = g_environ_setenv(env, "script", f->script, TRUE);
	g_spawn_async(NULL, (char **)argv, env,
		G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD |
			G_SPAWN_STDERR_TO_DEV_NULL,
		die_with_parent, NULL, &f->process, &error);
	g_assert_no_error(error);
	wait_for_socket(f);
}

void nbd_fixture_serve_script(NbdFixture *f, const char *cases)
{
	g_autofree char *text = g_strconcat("case \"$1\" in\n"
					    "get_size) echo 1M;;\n"
					    "thread_model) echo parallel;;\n",
		cases,
		"*) exit 2;;\n"
		"esac\n",
		NULL);

	g_assert_true(g_file_set_contents(f->script, text, -1, NULL));
	g_assert_cmpint(g_chmod(f->script, 0755), ==, 0);
	nbd_fixture_serve(f, "nbdkit -f -U $socket sh $script");
}

void nbd_fixture_kill_server(NbdFixture *f)
{
	if (!f->process)
		return;
	kill(f->process, SIGKILL);
	g_assert_cmpint(waitpid(f->process, NULL, 0), ==, f->process);
	f->process = 0;
}

static void remove_dir(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(path, name, NULL);

		g_unlink(file);
	}
	g_rmdir(path);
}

void nbd_fixture_set_up(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	g_autoptr(GError) error = NULL;

	f->dir = g_dir_make_tmp("fleecefs-nbd-XXXXXX", &error);
	g_assert_no_error(error);
	f->socket = g_build_filename(f->dir, "socket", NULL);
	f->script = g_build_filename(f->dir, "script", NULL);
	f->loop = nbd_loop_new(&error);
	g_assert_no_error(error);
}

void nbd_fixture_tear_down(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	g_clear_pointer(&f->export, nbd_export_free);
	nbd_fixture_kill_server(f);
	nbd_loop_free(f->loop);
	remove_dir(f->dir);
	g_free(f->script);
	g_free(f->socket);
	g_free(f->dir);
}

/* --- exports and requests --- */

static void on_lost(void *opaque, const char *why)
{
	NbdFixture *f = opaque;

	g_assert_nonnull(why);
	g_atomic_int_inc(&f->lost);
}

void nbd_fixture_new_export(NbdFixture *f, uint64_t size,
	unsigned read_timeout_ms, unsigned max_in_flight)
{
	NbdExportConfig config = {.name = "",
		.size = size,
		.timeout_ms = 10000,
		.read_timeout_ms = read_timeout_ms,
		.max_in_flight = max_in_flight,
		.room = f->room,
		.lost = on_lost,
		.opaque = f};

	f->export = nbd_export_new(f->loop, &config);
}

void nbd_fixture_connect(NbdFixture *f, const char *context)
{
	g_autoptr(GError) error = NULL;

	nbd_export_connect_take(
		f->export, nbd_fixture_socket(f), context, &error);
	g_assert_no_error(error);
}

void nbd_fixture_open(NbdFixture *f, uint64_t size, unsigned connections)
{
	nbd_fixture_new_export(f, size, 10000, 0);
	for (unsigned i = 0; i < connections; i++)
		nbd_fixture_connect(f, NULL);
}

void nbd_batch_done(void *opaque, int error)
{
	NbdBatchRequest *request = opaque;
	NbdBatch *batch = request->batch;

	g_mutex_lock(&batch->lock);
	request->error = error;
	request->calls++;
	batch->done++;
	batch->pending--;
	g_cond_signal(&batch->changed);
	g_mutex_unlock(&batch->lock);
}

void nbd_batch_init(NbdBatch *batch)
{
	memset(batch, 0, sizeof(*batch));
	g_mutex_init(&batch->lock);
	g_cond_init(&batch->changed);
}

void nbd_batch_clear(NbdBatch *batch)
{
	g_cond_clear(&batch->changed);
	g_mutex_clear(&batch->lock);
}

void nbd_batch_read(NbdExport *export, NbdBatch *batch,
	NbdBatchRequest *request, uint64_t offset, size_t length)
{
	request->batch = batch;
	request->offset = offset;
	request->length = length;
	request->buffer = g_malloc(length);
	memset(request->buffer, 0xa5, length);
	g_mutex_lock(&batch->lock);
	batch->pending++;
	g_mutex_unlock(&batch->lock);
	nbd_export_read_async(export, request->buffer, length, offset,
		nbd_batch_done, request);
}

void nbd_batch_wait(NbdBatch *batch)
{
	int64_t end = g_get_monotonic_time() + NBD_FIXTURE_PATIENCE;

	g_mutex_lock(&batch->lock);
	while (batch->pending > 0)
		g_assert_true(
			g_cond_wait_until(&batch->changed, &batch->lock, end));
	g_mutex_unlock(&batch->lock);
}

void nbd_batch_wait_for_some(NbdBatch *batch, unsigned done)
{
	int64_t end = g_get_monotonic_time() + NBD_FIXTURE_PATIENCE;

	g_mutex_lock(&batch->lock);
	while (batch->done < done)
		g_assert_true(
			g_cond_wait_until(&batch->changed, &batch->lock, end));
	g_mutex_unlock(&batch->lock);
}

int nbd_fixture_read(NbdExport *export, uint64_t offset, size_t length)
{
	NbdBatch batch;
	NbdBatchRequest request = {0};

	nbd_batch_init(&batch);
	nbd_batch_read(export, &batch, &request, offset, length);
	nbd_batch_wait(&batch);
	nbd_batch_clear(&batch);
	g_free(request.buffer);
	return request.error;
}

int nbd_fixture_trim(NbdExport *export, uint64_t offset, uint64_t length)
{
	NbdBatch batch;
	NbdBatchRequest request = {.batch = &batch};

	nbd_batch_init(&batch);
	batch.pending = 1;
	nbd_export_trim_async(export, length, offset, nbd_batch_done, &request);
	nbd_batch_wait(&batch);
	nbd_batch_clear(&batch);
	return request.error;
}

void nbd_fixture_wait_until_lost(NbdFixture *f)
{
	int64_t end = g_get_monotonic_time() + NBD_FIXTURE_PATIENCE;

	while (g_atomic_int_get(&f->lost) == 0) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(1000);
	}
	g_assert_true(nbd_export_is_lost(f->export));
}
