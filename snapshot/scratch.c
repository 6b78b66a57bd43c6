/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "autofd.h"
#include "fleece-error.h"

/* So far behind its end there is no page of a file, however large pages are. */
#define BEHIND (UINT64_C(64) << 20)

/* A server that goes away would stall the guest's writes. */
static bool check_filesystem(const char *directory, GError **error)
{
	struct statfs fs;

	if (statfs(directory, &fs) < 0) {
		fleece_set_error_errno(error, errno, "scratch=%s", directory);
		return false;
	}
	if (fs.f_type == NFS_SUPER_MAGIC) {
		fleece_set_error(error, EOPNOTSUPP,
			"scratch=%s is on NFS: the guest's writes would wait "
			"for its server; choose a local directory", directory);
		return false;
	}
	return true;
}

static int open_unnamed(const char *directory, GError **error)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if (errno == EOPNOTSUPP || errno == EISDIR)
		fleece_set_error(error, EOPNOTSUPP,
			"scratch=%s: its filesystem has no O_TMPFILE; choose "
			"a directory on ext4, XFS, btrfs or tmpfs", directory);
	else
		fleece_set_error_errno(error, errno, "scratch=%s", directory);
	return -1;
}

int scratch_open(const char *directory, uint64_t size, bool reserve,
	GError **error)
{
	AUTOFD int fd = -1;
	int failed;

	if (!check_filesystem(directory, error))
		return -1;
	fd = open_unnamed(directory, error);
	if (fd < 0)
		return -1;
	if (ftruncate(fd, size) < 0) {
		fleece_set_error_errno(error, errno,
			"scratch=%s: a file of %" G_GUINT64_FORMAT " bytes",
			directory, size);
		return -1;
	}
	failed = reserve ? posix_fallocate(fd, 0, size) : 0;
	if (failed) {
		fleece_set_error_errno(error, failed,
			"scratch=%s: method=job on this QEMU needs %"
			G_GUINT64_FORMAT " bytes reserved, or a full scratch "
			"would stop the guest; method=filter does not",
			directory, size);
		return -1;
	}
	return autofd_steal(&fd);
}

bool scratch_shares(const char *directory, const char *file)
{
	struct stat ours, theirs;

	return file[0] == '/' && stat(directory, &ours) == 0 &&
		stat(file, &theirs) == 0 && S_ISREG(theirs.st_mode) &&
		ours.st_dev == theirs.st_dev;
}

uint64_t scratch_used(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

/* With no page in its range the call waits for none, and still says what has
 * become of all others. */
int scratch_lost(int fd, uint64_t size)
{
	return sync_file_range(fd, size + BEHIND, 1,
		       SYNC_FILE_RANGE_WAIT_BEFORE) == 0 ? 0 : errno;
}

/* The next offset that is data, or is none; size where there is no other. */
static bool seek(int fd, uint64_t from, int whence, uint64_t size,
	uint64_t *found, GError **error)
{
	off_t at = lseek(fd, from, whence);

	*found = at < 0 ? size : MIN((uint64_t)at, size);
	if (at >= 0 || errno == ENXIO)
		return true;
	fleece_set_error_errno(error, errno, "scratch: lseek");
	return false;
}

ExtentList *scratch_copied(int fd, uint64_t size, GError **error)
{
	g_autoptr(ExtentList) copied = extent_list_new(size);
	uint64_t at = 0;

	while (at < size) {
		uint64_t data, end = size;

		if (!seek(fd, at, SEEK_DATA, size, &data, error) ||
		    (data < size &&
			    !seek(fd, data, SEEK_HOLE, size, &end, error)))
			return NULL;
		if ((data > at && !extent_list_append(copied, data - at, 0)) ||
		    (end > data && !extent_list_append(copied, end - data,
			    EXTENT_DIRTY))) {
			fleece_set_error(error, ENOMEM,
				"scratch: no memory for its map");
			return NULL;
		}
		at = end;
	}
	return g_steal_pointer(&copied);
}
