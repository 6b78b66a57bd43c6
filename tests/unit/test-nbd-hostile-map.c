/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an NbdExport makes of block status that breaks the protocol. */
#include <errno.h>
#include <sys/socket.h>

#include "extent-list.h"
#include "nbd-session.h"

#define SIZE NBD_PEER_SIZE

static void map_well(int fd, const NbdAsked *asked)
{
	nbd_peer_status(
		fd, asked, NBD_CHUNK_DONE, 3, (uint32_t[]){4096, 8192, 53248});
}

static void map_beyond_the_end(int fd, const NbdAsked *asked)
{
	nbd_peer_status(
		fd, asked, NBD_CHUNK_DONE, 2, (uint32_t[]){4096, 1 << 30});
}

static void map_nothing(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_NONE, NBD_CHUNK_DONE, 0);
}

static void map_of_length_0(int fd, const NbdAsked *asked)
{
	nbd_peer_status(fd, asked, NBD_CHUNK_DONE, 3,
		(uint32_t[]){4096, 0, SIZE - 4096});
}

static void map_behind_the_end(int fd, const NbdAsked *asked)
{
	nbd_peer_status(fd, asked, NBD_CHUNK_DONE, 2, (uint32_t[]){SIZE, 4096});
}

static void map_twice(int fd, const NbdAsked *asked)
{
	nbd_peer_status(fd, asked, 0, 1, (uint32_t[]){4096});
	nbd_peer_status(fd, asked, NBD_CHUNK_DONE, 1, (uint32_t[]){4096});
}

/* An extent for each byte. */
static void map_endless(int fd, const NbdAsked *asked)
{
	uint32_t *lengths = g_new(uint32_t, SIZE);

	for (unsigned i = 0; i < SIZE; i++)
		lengths[i] = 1;
	nbd_peer_status(fd, asked, NBD_CHUNK_DONE, SIZE, lengths);
	g_free(lengths);
}

/* Of one of which nobody asked, and with none at all. */
static void map_of_another_context(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_STATUS, NBD_CHUNK_DONE, 4 + 8);
	nbd_peer_send32(fd, 2);
	nbd_peer_send32(fd, SIZE);
	nbd_peer_send32(fd, 3);
}

static void map_without_extents(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_STATUS, NBD_CHUNK_DONE, 4);
	nbd_peer_send32(fd, 1);
}

/* Each length is more than the disk. */
static void map_of_garbage_sizes(int fd, const NbdAsked *asked)
{
	nbd_peer_status(fd, asked, NBD_CHUNK_DONE, 2,
		(uint32_t[]){UINT32_MAX, UINT32_MAX});
}

static void map_as_data(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 0, SESSION_LENGTH, NBD_CHUNK_DONE);
}

static void map_then_error(int fd, const NbdAsked *asked)
{
	nbd_peer_status(fd, asked, 0, 1, (uint32_t[]){SIZE});
	nbd_peer_chunk(fd, asked, NBD_CHUNK_ERROR, NBD_CHUNK_DONE, 6);
	nbd_peer_send32(fd, EINVAL);
	nbd_peer_send16(fd, 0);
}

static void map_cut_off(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_STATUS, NBD_CHUNK_DONE, 4 + 16);
	nbd_peer_send32(fd, 1);
	nbd_peer_send32(fd, SIZE);
	shutdown(fd, SHUT_RDWR);
}

static void map_odd(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_STATUS, NBD_CHUNK_DONE, 4 + 8 + 4);
	nbd_peer_send32(fd, 1);
	nbd_peer_send32(fd, SIZE);
	nbd_peer_send32(fd, 0);
	nbd_peer_send32(fd, 0);
}

static const struct {
	const char *name;
	NbdPeerAnswer *answer;
	int error;
	bool may_be_good; /* libnbd 1.14 takes it, 1.22 does not */
} maps[] = {
	{"well", map_well, 0},
	{"beyond-the-end", map_beyond_the_end, EPROTO, .may_be_good = true},
	{"nothing", map_nothing, EPROTO},
	{"length-0", map_of_length_0, EPROTO},
	{"behind-the-end", map_behind_the_end, EPROTO},
	{"twice", map_twice, EPROTO},
	{"endless", map_endless, EPROTO},
	{"garbage-sizes", map_of_garbage_sizes, EPROTO},
	{"then-error", map_then_error, EINVAL},
	/* libnbd gives the connection up. */
	{"another-context", map_of_another_context, EPROTO},
	{"no-extents", map_without_extents, EIO},
	{"as-data", map_as_data, EIO},
	{"cut-off", map_cut_off, EIO},
	{"odd", map_odd, EIO},
};

static void test_map(gconstpointer data)
{
	unsigned i = GPOINTER_TO_UINT(data);
	g_autoptr(ExtentList) list = NULL;
	g_autoptr(GError) error = NULL;
	Session session;

	session_init(&session, SESSION_PATIENT_MS, 10000);
	session_connect(&session, maps[i].answer);
	list = nbd_export_read_allocation(session.export, NULL, &error);
	g_assert_true(!list == !!error);
	if (!maps[i].may_be_good || error)
		session_assert_error(error ? error->code : 0, maps[i].error);
	session_clear(&session);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(maps); i++) {
		g_autofree char *path =
			g_strconcat("/nbd-hostile-map/", maps[i].name, NULL);

		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_map);
	}
	return g_test_run();
}
