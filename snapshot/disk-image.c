/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "autofd.h"
#include "fleece-error.h"
#include "safe-name.h"

/*
 * QEMU's image locks (qemu-block-drivers(7), "disk image file locking"): who
 * has a permission holds a read lock on byte 100 + its number, who does not
 * let others have it one on byte 200 + its number.
 */
#define LOCK_HAS 100
#define LOCK_FORBIDS 200

/* Of the permissions, those that change what is read. */
enum { PERMISSION_WRITE = 1, PERMISSION_RESIZE = 3 };

void disk_image_free(DiskImage *image)
{
	g_free(image->path);
	g_free(image->id);
	g_free(image->format);
	g_ptr_array_unref(image->backing);
	g_free(image);
}

GPtrArray *disk_image_array(void)
{
	return g_ptr_array_new_with_free_func(
		(GDestroyNotify)disk_image_free);
}

DiskImage *disk_image_new(const char *path, const char *id, const char *format)
{
	DiskImage *image = g_new0(DiskImage, 1);

	image->path = g_canonicalize_filename(path, NULL);
	image->id = g_strdup(id);
	image->format = g_strdup(format);
	image->backing = disk_image_array();
	return image;
}

static DiskImage *named_as_its_stem(const char *path)
{
	g_autofree char *id = safe_name_stem(path);

	return disk_image_new(path, id, NULL);
}

static bool is_there(const GPtrArray *images, const char *id)
{
	for (guint i = 0; i < images->len; i++) {
		const DiskImage *image = images->pdata[i];

		if (g_str_equal(image->id, id))
			return true;
	}
	return false;
}

static bool add_image(GPtrArray *images, const char *path, GError **error)
{
	g_autoptr(DiskImage) image = NULL;

	if (!path[0]) {
		fleece_set_error(error, EINVAL, "an empty path");
		return false;
	}
	image = named_as_its_stem(path);
	if (is_there(images, image->id)) {
		fleece_set_error(error, EINVAL, "two images are called '%s'",
			image->id);
		return false;
	}
	g_ptr_array_add(images, g_steal_pointer(&image));
	return true;
}

GPtrArray *disk_images_parse(const char *list, GError **error)
{
	g_auto(GStrv) paths = g_strsplit(list, ";", -1);
	g_autoptr(GPtrArray) images = disk_image_array();
	char **path = paths;

	do {
		if (!add_image(images, *path ? g_strstrip(*path) : "", error))
			return NULL;
		path++;
		/* a list may end with its separator */
	} while (*path && (path[1] || g_strstrip(*path)[0]));
	return g_steal_pointer(&images);
}

/* What the file begins with, of the formats that QEMU writes bitmaps to or
 * that are met most. */
static const struct {
	const char *driver;
	const char *magic;
	gsize length;
} magics[] = {
	{ "qcow2", "QFI\xfb", 4 },
	{ "vmdk", "KDMV", 4 },
	{ "vhdx", "vhdxfile", 8 },
	{ "qed", "QED\0", 4 },
};

static const char *looks_like(const char *start, gsize length)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(magics); i++) {
		if (length >= magics[i].length &&
		    memcmp(start, magics[i].magic, magics[i].length) == 0)
			return magics[i].driver;
	}
	return "raw";
}

static int open_image(const DiskImage *image, GError **error)
{
	int fd = open(image->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		fleece_set_error_errno(error, errno, "%s", image->path);
	return fd;
}

const char *disk_image_format(const DiskImage *image, GError **error)
{
	const char *said = g_str_has_suffix(image->path, ".qcow2") ? "qcow2" :
								     "raw";
	AUTOFD int fd = -1;
	const char *looks;
	char start[16];
	ssize_t got;

	if (image->format)
		return image->format;
	fd = open_image(image, error);
	if (fd < 0)
		return NULL;
	got = pread(fd, start, sizeof start, 0);
	if (got < 0) {
		fleece_set_error_errno(error, errno, "%s", image->path);
		return NULL;
	}
	looks = looks_like(start, (gsize)got);
	if (g_str_equal(looks, said))
		return said;
	fleece_set_error(error, EINVAL, "%s: its name says %s, and it looks "
		"like %s: say format=%s, or format=%s", image->path, said,
		looks, looks, said);
	return NULL;
}

static bool forbid(int fd, int permission)
{
	struct flock lock = {
		.l_type = F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = LOCK_FORBIDS + permission,
		.l_len = 1,
	};

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* Asks by a write lock, with which a read lock of anybody's is at odds. */
static bool somebody_has(int fd, int permission, bool *has)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = LOCK_HAS + permission,
		.l_len = 1,
	};

	if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
		return false;
	*has = lock.l_type != F_UNLCK;
	return true;
}

int disk_image_lock(const DiskImage *image, GError **error)
{
	AUTOFD int fd = open_image(image, error);
	bool has = false;

	if (fd < 0)
		return -1;
	if (!forbid(fd, PERMISSION_WRITE) || !forbid(fd, PERMISSION_RESIZE) ||
	    !somebody_has(fd, PERMISSION_WRITE, &has)) {
		fleece_set_error_errno(error, errno, "%s: locking it",
			image->path);
		return -1;
	}
	if (has) {
		fleece_set_error(error, EBUSY, "%s: it is open for writing: a "
			"VM that runs is backed up through its QMP socket or "
			"libvirt", image->path);
		return -1;
	}
	return autofd_steal(&fd);
}
