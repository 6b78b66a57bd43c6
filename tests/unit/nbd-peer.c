/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nbd-peer.h"

#include <endian.h>
#include <string.h>
#include <sys/socket.h>

#include "autofd.h"

/* The numbers of the protocol. */
#define OPTION_MAGIC UINT64_C(0x49484156454f5054)
#define OPTION_REPLY_MAGIC UINT64_C(0x3e889045565a9)
#define CHUNK_MAGIC 0x668e33efU

typedef struct {
	int fd;
	NbdPeerOption *option;
	NbdPeerAnswer *answer;
} Peer;

static bool receive(int fd, void *data, size_t length)
{
	return recv(fd, data, length, MSG_WAITALL) == (ssize_t)length;
}

void nbd_peer_send(int fd, const void *data, size_t length)
{
	/* The other side may well have closed. */
	(void)!send(fd, data, length, MSG_NOSIGNAL);
}

void nbd_peer_send16(int fd, uint16_t value)
{
	value = htobe16(value);
	nbd_peer_send(fd, &value, sizeof(value));
}

void nbd_peer_send32(int fd, uint32_t value)
{
	value = htobe32(value);
	nbd_peer_send(fd, &value, sizeof(value));
}

void nbd_peer_send64(int fd, uint64_t value)
{
	value = htobe64(value);
	nbd_peer_send(fd, &value, sizeof(value));
}

void nbd_peer_option_reply(int fd, uint32_t option, uint32_t type,
	uint32_t length)
{
	nbd_peer_send64(fd, OPTION_REPLY_MAGIC);
	nbd_peer_send32(fd, option);
	nbd_peer_send32(fd, type);
	nbd_peer_send32(fd, length);
}

static void answer_option(int fd, uint32_t option)
{
	switch (option) {
	case NBD_OPT_GO:
		nbd_peer_option_reply(fd, option, NBD_REP_INFO, 12);
		nbd_peer_send16(fd, 0);
		nbd_peer_send64(fd, NBD_PEER_SIZE);
		nbd_peer_send16(fd, 1);
		break;
	case NBD_OPT_SET_META_CONTEXT:
		nbd_peer_option_reply(fd, option, NBD_REP_META_CONTEXT,
			4 + strlen(NBD_PEER_CONTEXT));
		nbd_peer_send32(fd, 1);
		nbd_peer_send(fd, NBD_PEER_CONTEXT, strlen(NBD_PEER_CONTEXT));
		break;
	case NBD_OPT_STRUCTURED:
		break;
	default:
		nbd_peer_option_reply(fd, option, NBD_REP_UNSUPPORTED, 0);
		return;
	}
	nbd_peer_option_reply(fd, option, NBD_REP_ACK, 0);
}

static bool shake_hands(const Peer *peer)
{
	int fd = peer->fd;
	uint32_t client_flags;
	struct {
		uint64_t magic;
		uint32_t option;
		uint32_t length;
	} __attribute__((packed)) head;
	char data[1024];

	nbd_peer_send(fd, "NBDMAGICIHAVEOPT\0\3", 18);
	if (!receive(fd, &client_flags, sizeof(client_flags)))
		return false;
	do {
		uint32_t length;

		if (!receive(fd, &head, sizeof(head)))
			return false;
		length = be32toh(head.length);
		if (length > sizeof(data) ||
			(length > 0 && !receive(fd, data, length)))
			return false;
		if (!peer->option || !peer->option(fd, be32toh(head.option)))
			answer_option(fd, be32toh(head.option));
	} while (be32toh(head.option) != NBD_OPT_GO);
	return true;
}

/* Answers the first request as wanted, then keeps silent. */
static gpointer peer_thread(gpointer opaque)
{
	g_autofree Peer *peer = opaque;
	AUTOFD int fd = peer->fd;
	NbdAsked asked;

	if (!shake_hands(peer) || !receive(fd, &asked, sizeof(asked)))
		return NULL;
	asked.offset = be64toh(asked.offset);
	asked.length = be32toh(asked.length);
	peer->answer(fd, &asked);
	while (receive(fd, &asked, 1))
		;
	return NULL;
}

void nbd_peer_chunk(int fd, const NbdAsked *asked, uint16_t type,
	uint16_t flags, uint32_t length)
{
	nbd_peer_send32(fd, CHUNK_MAGIC);
	nbd_peer_send16(fd, flags);
	nbd_peer_send16(fd, type);
	nbd_peer_send(fd, &asked->cookie, sizeof(asked->cookie));
	nbd_peer_send32(fd, length);
}

void nbd_peer_data(int fd, const NbdAsked *asked, uint64_t offset,
	uint32_t length, uint16_t flags)
{
	g_autofree char *data = g_malloc0(length);

	nbd_peer_chunk(fd, asked, NBD_CHUNK_DATA, flags, 8 + length);
	nbd_peer_send64(fd, offset);
	nbd_peer_send(fd, data, length);
}

void nbd_peer_hole(int fd, const NbdAsked *asked, uint64_t offset,
	uint32_t length, uint16_t flags)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_HOLE, flags, 12);
	nbd_peer_send64(fd, offset);
	nbd_peer_send32(fd, length);
}

void nbd_peer_status(int fd, const NbdAsked *asked, uint16_t flags,
	unsigned count, const uint32_t *lengths)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_STATUS, flags, 4 + 8 * count);
	nbd_peer_send32(fd, 1);
	for (unsigned i = 0; i < count; i++) {
		nbd_peer_send32(fd, lengths[i]);
		nbd_peer_send32(fd, i % 2 ? 3 : 0);
	}
}

GThread *nbd_peer_start_take(int fd, NbdPeerAnswer *answer)
{
	return nbd_peer_start_with_option_take(fd, NULL, answer);
}

GThread *nbd_peer_start_with_option_take(int fd, NbdPeerOption *option,
	NbdPeerAnswer *answer)
{
	Peer *peer = g_new(Peer, 1);

	peer->fd = fd;
	peer->option = option;
	peer->answer = answer;
	return g_thread_new("nbd-peer", peer_thread, peer);
}
