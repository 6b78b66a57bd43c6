/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scratch-image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "autofd.h"
#include "fleece-error.h"

/* As libvirt has it: 64 KiB, which is what copy-before-write copies at once. */
#define CLUSTER_BITS 16
#define CLUSTER (UINT64_C(1) << CLUSTER_BITS)
/* What an entry of the L1 table speaks of: a cluster of entries of 8 bytes. */
#define L1_REACH (CLUSTER / 8 * CLUSTER)
/* QEMU opens no image with a larger table. */
#define L1_BYTES_MAX (UINT64_C(32) << 20)

/* The clusters of an empty image, in their order. */
enum { HEADER, REFCOUNT_TABLE, REFCOUNT_BLOCK, L1_TABLE };

/* All numbers are big endian. */
typedef struct {
	char magic[4];
	uint32_t version;
	uint64_t backing_file_offset;
	uint32_t backing_file_size;
	uint32_t cluster_bits;
	uint64_t size;
	uint32_t crypt_method;
	uint32_t l1_entries;
	uint64_t l1_offset;
	uint64_t refcount_table_offset;
	uint32_t refcount_table_clusters;
	uint32_t snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible, compatible, autoclear;
	uint32_t refcount_order;
	uint32_t header_length;
	uint64_t end_of_extensions;
} Header;

G_STATIC_ASSERT(sizeof(Header) == 112);

static uint64_t l1_entries(uint64_t size)
{
	return size / L1_REACH + (size % L1_REACH > 0);
}

static Header make_header(uint64_t size)
{
	return (Header){
		.magic = { 'Q', 'F', 'I', '\xfb' },
		.version = GUINT32_TO_BE(3),
		.cluster_bits = GUINT32_TO_BE(CLUSTER_BITS),
		.size = GUINT64_TO_BE(size),
		.l1_entries = GUINT32_TO_BE((uint32_t)l1_entries(size)),
		.l1_offset = GUINT64_TO_BE(L1_TABLE * CLUSTER),
		.refcount_table_offset = GUINT64_TO_BE(REFCOUNT_TABLE *
			CLUSTER),
		.refcount_table_clusters = GUINT32_TO_BE(1),
		.refcount_order = GUINT32_TO_BE(4), /* 16 bits */
		.header_length = GUINT32_TO_BE(offsetof(Header,
			end_of_extensions)),
	};
}

static bool write_at(int fd, uint64_t cluster, const void *bytes, size_t n)
{
	ssize_t done = pwrite(fd, bytes, n, cluster * CLUSTER);

	if (done >= 0 && (size_t)done < n)
		errno = ENOSPC;
	return done >= 0 && (size_t)done == n;
}

/* What is not written is zeros: no block but the first has any counts, and
 * nothing of the disk is in the image. */
static bool write_tables(int fd, uint64_t size)
{
	const Header header = make_header(size);
	const uint64_t block = GUINT64_TO_BE(REFCOUNT_BLOCK * CLUSTER);
	uint64_t l1_clusters = (l1_entries(size) * 8 + CLUSTER - 1) / CLUSTER;
	uint16_t counts[L1_TABLE + L1_BYTES_MAX / CLUSTER];

	for (size_t i = 0; i < G_N_ELEMENTS(counts); i++)
		counts[i] = GUINT16_TO_BE(i < L1_TABLE + l1_clusters);
	return ftruncate(fd, (L1_TABLE + l1_clusters) * CLUSTER) == 0 &&
		write_at(fd, HEADER, &header, sizeof header) &&
		write_at(fd, REFCOUNT_TABLE, &block, sizeof block) &&
		write_at(fd, REFCOUNT_BLOCK, counts, sizeof counts);
}

bool scratch_image_make(const char *path, uint64_t size, GError **error)
{
	AUTOFD int fd = -1;

	if (l1_entries(size) * 8 > L1_BYTES_MAX) {
		fleece_set_error(error, EFBIG, "scratch %s: a qcow2 image "
			"cannot be as large as the disk", path);
		return false;
	}
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
		0600);
	if (fd < 0) {
		fleece_set_error_errno(error, errno, "scratch %s", path);
		return false;
	}
	if (write_tables(fd, size))
		return true;
	fleece_set_error_errno(error, errno, "scratch %s", path);
	unlink(path);
	return false;
}
