/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-peer.h - an NBD server that lies
 *
 * A thread that does a proper handshake on a socket, or one that a function
 * of the test spoils, lets another answer the first request, and keeps silent
 * from then on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define NBD_PEER_SIZE 65536
#define NBD_PEER_CONTEXT "base:allocation"

/* Options, and replies to them. */
#define NBD_OPT_GO 7
#define NBD_OPT_STRUCTURED 8
#define NBD_OPT_SET_META_CONTEXT 10
#define NBD_REP_ACK 1
#define NBD_REP_INFO 3
#define NBD_REP_META_CONTEXT 4
#define NBD_REP_UNSUPPORTED 0x80000001U

/* Types of chunks, and their one flag. */
#define NBD_CHUNK_NONE 0
#define NBD_CHUNK_DATA 1
#define NBD_CHUNK_HOLE 2
#define NBD_CHUNK_STATUS 5
#define NBD_CHUNK_ERROR 32769
#define NBD_CHUNK_DONE 1

typedef struct {
	uint32_t magic;
	uint16_t flags;
	uint16_t type;
	uint64_t cookie; /* as it came */
	uint64_t offset;
	uint32_t length;
} __attribute__((packed)) NbdAsked;

typedef void NbdPeerAnswer(int fd, const NbdAsked *asked);

/* Starts the thread, which takes fd and ends when the other side closes. */
GThread *nbd_peer_start_take(int fd, NbdPeerAnswer *answer);

/* Answers one option of the handshake; false where it does not: that is then
 * done properly. */
typedef bool NbdPeerOption(int fd, uint32_t option);

/* The same, with option, which may be NULL, in between. */
GThread *nbd_peer_start_with_option_take(int fd, NbdPeerOption *option,
	NbdPeerAnswer *answer);

/* The head of a reply to an option, with length bytes to follow. */
void nbd_peer_option_reply(int fd, uint32_t option, uint32_t type,
	uint32_t length);

/* For answers: bytes as they are, numbers as the protocol has them. */
void nbd_peer_send(int fd, const void *data, size_t length);
void nbd_peer_send16(int fd, uint16_t value);
void nbd_peer_send32(int fd, uint32_t value);
void nbd_peer_send64(int fd, uint64_t value);

/* The head of a chunk with length bytes to follow. */
void nbd_peer_chunk(int fd, const NbdAsked *asked, uint16_t type,
	uint16_t flags, uint32_t length);

/* Whole chunks: zeros as data, a hole, extents of these lengths (data and
 * hole by turns). */
void nbd_peer_data(int fd, const NbdAsked *asked, uint64_t offset,
	uint32_t length, uint16_t flags);
void nbd_peer_hole(int fd, const NbdAsked *asked, uint64_t offset,
	uint32_t length, uint16_t flags);
void nbd_peer_status(int fd, const NbdAsked *asked, uint16_t flags,
	unsigned count, const uint32_t *lengths);
