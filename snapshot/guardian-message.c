/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guardian-message.h"

#include <errno.h>
#include <sys/socket.h>

/* Texts are paths and names, which need not be UTF-8. */
#define TYPE "(uuuuayayay)"
#define FORMAT "(uuuu^ay^ay^ay)"
#define FORMAT_BORROWED "(uuuu^&ay^&ay^&ay)"
#define PACKET_MAX 16384

static const char *text(const char *from)
{
	return from ? from : "";
}

bool message_send(int fd, const Message *m)
{
	g_autoptr(GVariant) packet = g_variant_ref_sink(g_variant_new(FORMAT,
		m->kind, m->list, m->number, m->undo, text(m->a), text(m->b),
		text(m->c)));
	gconstpointer bytes = g_variant_get_data(packet);
	gsize size = g_variant_get_size(packet);
	ssize_t sent;

	/* The rest would be cut off, and be no message any more. */
	if (size > PACKET_MAX) {
		errno = EMSGSIZE;
		return false;
	}
	do {
		sent = send(fd, bytes, size, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)size;
}

GVariant *message_receive(int fd, Message *m)
{
	g_autofree char *buffer = g_malloc(PACKET_MAX);
	g_autoptr(GVariant) packet = NULL;
	g_autoptr(GBytes) bytes = NULL;
	ssize_t size;

	do {
		size = recv(fd, buffer, PACKET_MAX, 0);
	} while (size < 0 && errno == EINTR);
	if (size <= 0)
		return NULL;
	bytes = g_bytes_new_take(g_steal_pointer(&buffer), size);
	packet = g_variant_ref_sink(g_variant_new_from_bytes(
		G_VARIANT_TYPE(TYPE), bytes, FALSE));
	if (!g_variant_is_normal_form(packet))
		return NULL;
	g_variant_get(packet, FORMAT_BORROWED, &m->kind, &m->list,
		&m->number, &m->undo, &m->a, &m->b, &m->c);
	return g_steal_pointer(&packet);
}
