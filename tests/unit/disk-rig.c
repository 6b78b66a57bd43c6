/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk-rig.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "autofd.h"

#define CONNECTIONS 2

/* Each script at work has a lock on the disk. */
#define AT_WORK "exec 9<$dir/disk; flock -s 9\n"

static const char server[] =
	"can_write|can_trim) ;;\n"
	"pread) " AT_WORK
	"  echo \"read $4 $3\" >>$dir/log\n"
	"  while [ -e $dir/hold-$4 ]; do sleep 0.01; done\n"
	"  for error in $dir/error $dir/error-$4; do\n"
	"    if [ -e $error ]; then cat $error >&2; exit 1; fi\n"
	"  done\n"
	"  dd if=$dir/disk bs=64k skip=$4 count=$3 status=none"
	"    iflag=skip_bytes,count_bytes\n"
	"  echo \"sent $4 $3\" >>$dir/log;;\n"
	"trim) " AT_WORK
	"  echo \"trim $4 $3\" >>$dir/log\n"
	"  error=$dir/trim-error\n"
	"  if [ -e $error ]; then cat $error >&2; exit 1; fi\n"
	"  dd if=/dev/zero of=$dir/disk bs=$3 seek=$4 count=1 status=none"
	"    oflag=seek_bytes conv=notrunc;;\n";

unsigned char rig_byte(uint64_t offset)
{
	return 1 + (offset + offset / 251) % 255; /* never 0 */
}

/* --- the server's folder --- */

static char *path_of(const DiskRig *rig, const char *name)
{
	return g_build_filename(rig->nbd.dir, name, NULL);
}

void rig_put(const DiskRig *rig, const char *name, const char *text)
{
	g_autofree char *path = path_of(rig, name);

	g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

void rig_remove(const DiskRig *rig, const char *name)
{
	g_autofree char *path = path_of(rig, name);

	g_assert_cmpint(unlink(path), ==, 0);
}

static char *hold_name(uint64_t offset)
{
	return g_strdup_printf("hold-%" G_GUINT64_FORMAT, offset);
}

void rig_hold(const DiskRig *rig, uint64_t offset)
{
	g_autofree char *name = hold_name(offset);

	rig_put(rig, name, "");
}

void rig_let_go(const DiskRig *rig, uint64_t offset)
{
	g_autofree char *name = hold_name(offset);

	rig_remove(rig, name);
}

char *rig_log(const DiskRig *rig)
{
	g_autofree char *path = path_of(rig, "log");
	g_autofree char *text = NULL;
	GString *log;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return g_strdup("");
	log = g_string_new(text);
	g_string_replace(log, "\n", "; ", 0);
	return g_string_free(log, FALSE);
}

void rig_assert_log(const DiskRig *rig, const char *expected)
{
	g_autofree char *log = rig_log(rig);

	g_assert_cmpstr(log, ==, expected);
}

void rig_wait_for_log(const DiskRig *rig, const char *words)
{
	int64_t end = g_get_monotonic_time() + NBD_FIXTURE_PATIENCE;

	for (;;) {
		g_autofree char *log = rig_log(rig);

		if (strstr(log, words))
			return;
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(1000);
	}
}

static void fill_disk(const DiskRig *rig)
{
	g_autofree char *path = path_of(rig, "disk");
	g_autofree char *bytes = g_malloc(DISK_SIZE);

	for (uint64_t i = 0; i < DISK_SIZE; i++)
		bytes[i] = rig_byte(i);
	g_assert_true(g_file_set_contents(path, bytes, DISK_SIZE, NULL));
}

/* --- the view --- */

static int new_scratch(void)
{
	static const char bytes[SCRATCH_USED] = { 1 };
	int fd = memfd_create("scratch", MFD_CLOEXEC);

	g_assert_cmpint(ftruncate(fd, DISK_SIZE), ==, 0);
	g_assert_cmpint(write(fd, bytes, sizeof(bytes)), ==, sizeof(bytes));
	return fd;
}

static ExtentList *new_map(void)
{
	ExtentList *map = extent_list_new(DISK_SIZE);

	extent_list_append(map, HOLE_START, 0);
	extent_list_append(map, HOLE_END - HOLE_START, EXTENT_ZERO);
	extent_list_append(map, DISK_SIZE - HOLE_END, 0);
	g_assert_true(extent_list_is_complete(map));
	return map;
}

static void attach(DiskRig *rig)
{
	NbdExportConfig config = { .name = "", .size = DISK_SIZE,
		.timeout_ms = 10000, .read_timeout_ms = 10000,
		.lost = disk_view_lost, .opaque = rig->view };
	NbdExport *export = nbd_export_new(rig->nbd.loop, &config);
	g_autoptr(ExtentList) map = new_map();
	g_autoptr(GError) error = NULL;

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		nbd_export_connect_take(export, nbd_fixture_socket(&rig->nbd),
			NULL, &error);
		g_assert_no_error(error);
	}
	disk_view_attach_take(rig->view, export, map, NULL, &error);
	g_assert_no_error(error);
}

void rig_failed(void *opaque, int errnum, const char *why)
{
	DiskRig *rig = opaque;

	g_assert_nonnull(why);
	g_atomic_int_set(&rig->failed_errnum, errnum);
	g_atomic_int_inc(&rig->failed);
}

static void open_view(DiskRig *rig, int scratch_fd)
{
	nbd_fixture_set_up(&rig->nbd, NULL);
	nbd_batch_init(&rig->batch);
	fill_disk(rig);
	nbd_fixture_serve_script(&rig->nbd, server);
	rig->view = disk_view_new_take("va", "id of va", DISK_SIZE,
		scratch_fd);
	attach(rig);
	disk_view_set_failed(rig->view, rig_failed, rig);
}

void rig_set_up(DiskRig *rig, gconstpointer unused)
{
	open_view(rig, new_scratch());
}

void rig_set_up_read_only(DiskRig *rig, gconstpointer unused)
{
	open_view(rig, -1);
}

static void let_all_go(const DiskRig *rig)
{
	g_autoptr(GDir) dir = g_dir_open(rig->nbd.dir, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(dir))) {
		if (g_str_has_prefix(name, "hold-"))
			rig_remove(rig, name);
	}
}

/* No script is at work as long as the result is not closed. */
static int wait_for_scripts(const DiskRig *rig)
{
	g_autofree char *path = path_of(rig, "disk");
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	g_assert_cmpint(flock(fd, LOCK_EX), ==, 0);
	return fd;
}

void rig_tear_down(DiskRig *rig, gconstpointer unused)
{
	AUTOFD int lock = -1;

	disk_view_close(rig->view);
	disk_view_free(rig->view);
	nbd_batch_clear(&rig->batch);
	let_all_go(rig);
	nbd_fixture_kill_server(&rig->nbd);
	lock = wait_for_scripts(rig);
	nbd_fixture_tear_down(&rig->nbd, NULL);
}

/* --- requests --- */

void rig_begin(DiskRig *rig, NbdBatchRequest *request, uint64_t offset,
	size_t length)
{
	*request = (NbdBatchRequest){ .batch = &rig->batch, .offset = offset,
		.length = length };
	g_mutex_lock(&rig->batch.lock);
	rig->batch.pending++;
	g_mutex_unlock(&rig->batch.lock);
}

void rig_start_read(DiskRig *rig, NbdBatchRequest *request, uint64_t offset,
	size_t length)
{
	rig_begin(rig, request, offset, length);
	request->buffer = g_malloc(length);
	memset(request->buffer, 0, length);
	disk_view_read(rig->view, request->buffer, length, offset,
		nbd_batch_done, request);
}

void rig_start_punch(DiskRig *rig, NbdBatchRequest *request, uint64_t offset,
	uint64_t length)
{
	rig_begin(rig, request, offset, length);
	disk_view_punch(rig->view, offset, length, nbd_batch_done, request);
}

/* As it was at the instant: zeros in the hole, the pattern elsewhere. */
static void assert_bytes(const NbdBatchRequest *request)
{
	g_assert_cmpint(request->error, ==, 0);
	for (size_t i = 0; i < request->length; i++) {
		if (request->buffer[i] != rig_byte(request->offset + i))
			g_error("wrong byte at %" G_GUINT64_FORMAT,
				request->offset + i);
	}
}

unsigned rig_calls(DiskRig *rig, const NbdBatchRequest *request)
{
	unsigned calls;

	g_mutex_lock(&rig->batch.lock);
	calls = request->calls;
	g_mutex_unlock(&rig->batch.lock);
	return calls;
}

void rig_finish_read(DiskRig *rig, NbdBatchRequest *request, int error)
{
	nbd_batch_wait(&rig->batch);
	g_assert_cmpuint(request->calls, ==, 1);
	g_assert_cmpint(request->error, ==, error);
	if (!error)
		assert_bytes(request);
	g_clear_pointer(&request->buffer, g_free);
}

void rig_read(DiskRig *rig, uint64_t offset, size_t length, int error)
{
	NbdBatchRequest request;

	rig_start_read(rig, &request, offset, length);
	rig_finish_read(rig, &request, error);
}

void rig_punch(DiskRig *rig, uint64_t offset, uint64_t length,
	int error)
{
	NbdBatchRequest request;

	rig_start_punch(rig, &request, offset, length);
	nbd_batch_wait(&rig->batch);
	g_assert_cmpuint(request.calls, ==, 1);
	g_assert_cmpint(request.error, ==, error);
}

void rig_assert_failed(DiskRig *rig, int errnum)
{
	g_assert_cmpint(g_atomic_int_get(&rig->failed), ==, errnum ? 1 : 0);
	g_assert_cmpint(g_atomic_int_get(&rig->failed_errnum), ==, errnum);
}

DiskStats rig_stats(const DiskRig *rig)
{
	DiskStats stats;

	disk_view_stats(rig->view, &stats);
	return stats;
}

void rig_read_zeros(DiskRig *rig, uint64_t offset, size_t length)
{
	NbdBatchRequest request;

	rig_begin(rig, &request, offset, length);
	request.buffer = g_malloc(length);
	memset(request.buffer, 0xa5, length);
	disk_view_read(rig->view, request.buffer, length, offset,
		nbd_batch_done, &request);
	/* it has not even begun to wait */
	g_assert_cmpuint(request.calls, ==, 1);
	g_assert_cmpint(request.error, ==, 0);
	for (size_t i = 0; i < length; i++)
		g_assert_cmpint(request.buffer[i], ==, 0);
	g_free(request.buffer);
}

