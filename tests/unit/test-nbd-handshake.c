/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NbdExport and a server that spoils the handshake: an error in time. */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "fleece-error.h"
#include "nbd-export.h"
#include "nbd-peer.h"

#define PATIENT_MS 20000
#define SHORT_MS 300
#define LONGEST_NAME 4096

static void send_export(int fd, uint64_t size, uint16_t flags)
{
	nbd_peer_option_reply(fd, NBD_OPT_GO, NBD_REP_INFO, 12);
	nbd_peer_send16(fd, 0);
	nbd_peer_send64(fd, size);
	nbd_peer_send16(fd, flags);
}

static void acknowledge(int fd, uint32_t option)
{
	nbd_peer_option_reply(fd, option, NBD_REP_ACK, 0);
}

static bool go_with_size(int fd, uint32_t option, uint64_t size)
{
	if (option != NBD_OPT_GO)
		return false;
	send_export(fd, size, 1);
	acknowledge(fd, option);
	return true;
}

static bool of_size_0(int fd, uint32_t option)
{
	return go_with_size(fd, option, 0);
}

static bool of_another_size(int fd, uint32_t option)
{
	return go_with_size(fd, option, NBD_PEER_SIZE + 512);
}

static bool of_negative_size(int fd, uint32_t option)
{
	return go_with_size(fd, option, UINT64_MAX);
}

static bool of_two_sizes(int fd, uint32_t option)
{
	if (option == NBD_OPT_GO)
		send_export(fd, NBD_PEER_SIZE / 2, 1);
	return false;
}

static bool without_info(int fd, uint32_t option)
{
	if (option == NBD_OPT_GO)
		acknowledge(fd, option);
	return option == NBD_OPT_GO;
}

static bool with_long_info(int fd, uint32_t option)
{
	if (option != NBD_OPT_GO)
		return false;
	nbd_peer_option_reply(fd, option, NBD_REP_INFO, UINT32_MAX);
	return true;
}

/* For ever, as far as anybody reads. */
static bool with_endless_info(int fd, uint32_t option)
{
	char sink[16];

	while (option == NBD_OPT_GO &&
		recv(fd, sink, sizeof(sink), MSG_DONTWAIT) < 0)
		send_export(fd, NBD_PEER_SIZE, 1);
	return option == NBD_OPT_GO;
}

static bool refusing_to_go(int fd, uint32_t option)
{
	if (option == NBD_OPT_GO)
		nbd_peer_option_reply(fd, option, 0x80000006U, 0);
	return option == NBD_OPT_GO;
}

static bool with_another_magic(int fd, uint32_t option)
{
	for (unsigned i = 0; i < 4; i++)
		nbd_peer_send64(fd, UINT64_C(0x0123456789abcdef));
	return true;
}

static bool answering_another_option(int fd, uint32_t option)
{
	acknowledge(fd, option + 1);
	return true;
}

static bool without_structured(int fd, uint32_t option)
{
	if (option == NBD_OPT_STRUCTURED)
		nbd_peer_option_reply(fd, option, NBD_REP_UNSUPPORTED, 0);
	return option == NBD_OPT_STRUCTURED;
}

static bool without_context(int fd, uint32_t option)
{
	if (option == NBD_OPT_SET_META_CONTEXT)
		acknowledge(fd, option);
	return option == NBD_OPT_SET_META_CONTEXT;
}

static void send_context(int fd, const char *name)
{
	nbd_peer_option_reply(fd, NBD_OPT_SET_META_CONTEXT,
		NBD_REP_META_CONTEXT, 4 + strlen(name));
	nbd_peer_send32(fd, 1);
	nbd_peer_send(fd, name, strlen(name));
}

static bool with_another_context(int fd, uint32_t option)
{
	if (option != NBD_OPT_SET_META_CONTEXT)
		return false;
	send_context(fd, "base:elsewhere");
	acknowledge(fd, option);
	return true;
}

static bool with_long_context(int fd, uint32_t option)
{
	g_autofree char *name = g_strnfill(LONGEST_NAME + 1, 'x');

	if (option != NBD_OPT_SET_META_CONTEXT)
		return false;
	send_context(fd, name);
	acknowledge(fd, option);
	return true;
}

static bool hanging_up(int fd, uint32_t option)
{
	shutdown(fd, SHUT_RDWR);
	return true;
}

static bool silent(int fd, uint32_t option)
{
	return true;
}

static const struct {
	const char *name;
	NbdPeerOption *option;
	unsigned timeout_ms;
	int error; /* 0: any */
} spoilt[] = {
	{ "size-0", of_size_0, PATIENT_MS, EIO },
	{ "another-size", of_another_size, PATIENT_MS, EIO },
	{ "negative-size", of_negative_size, PATIENT_MS, 0 },
	{ "no-info", without_info, PATIENT_MS, 0 },
	{ "long-info", with_long_info, SHORT_MS, 0 },
	{ "endless-info", with_endless_info, SHORT_MS, ETIMEDOUT },
	{ "refuses", refusing_to_go, PATIENT_MS, 0 },
	{ "another-magic", with_another_magic, PATIENT_MS, 0 },
	{ "another-option", answering_another_option, PATIENT_MS, 0 },
	{ "no-structured", without_structured, PATIENT_MS, ENOTSUP },
	{ "no-context", without_context, PATIENT_MS, ENOTSUP },
	{ "another-context", with_another_context, PATIENT_MS, ENOTSUP },
	{ "long-context", with_long_context, PATIENT_MS, 0 },
	{ "hang-up", hanging_up, PATIENT_MS, 0 },
	{ "silence", silent, SHORT_MS, ETIMEDOUT },
};

static void answer_nothing(int fd, const NbdAsked *asked)
{
}

static NbdExport *new_export(NbdLoop *loop, unsigned timeout_ms)
{
	NbdExportConfig config = {
		.name = "disk",
		.size = NBD_PEER_SIZE,
		.timeout_ms = timeout_ms,
		.read_timeout_ms = PATIENT_MS,
	};

	return nbd_export_new(loop, &config);
}

static bool connect_to(NbdExport *export, NbdPeerOption *option,
	GThread **peer, GError **error)
{
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
		pair), ==, 0);
	*peer = nbd_peer_start_with_option_take(pair[1], option,
		answer_nothing);
	return nbd_export_connect_take(export, pair[0], NBD_PEER_CONTEXT,
		error);
}

static long memory_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

/* No connection comes of it, and the export is not lost for others. */
static void test_spoilt(gconstpointer data)
{
	unsigned i = GPOINTER_TO_UINT(data);
	g_autoptr(GError) error = NULL;
	g_autoptr(NbdLoop) loop = nbd_loop_new(&error);
	NbdExport *export = new_export(loop, spoilt[i].timeout_ms);
	long before = memory_kib();
	GThread *peer;

	g_assert_false(connect_to(export, spoilt[i].option, &peer, &error));
	g_assert_nonnull(error);
	g_test_message("%s", error->message);
	if (spoilt[i].error)
		g_assert_error(error, FLEECE_ERROR, spoilt[i].error);
	g_assert_true(g_str_has_prefix(error->message,
		"NBD export \"disk\": "));
	g_assert_cmpint(memory_kib() - before, <, 64 * 1024);
	g_assert_false(nbd_export_is_lost(export));
	nbd_export_free(export);
	g_thread_join(peer);
}

/* What is said last counts, and that is the right size. */
static void test_two_sizes(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(NbdLoop) loop = nbd_loop_new(&error);
	NbdExport *export = new_export(loop, PATIENT_MS);
	GThread *peer;
	bool connected = connect_to(export, of_two_sizes, &peer, &error);

	g_assert_true(connected == !error);
	nbd_export_free(export);
	g_thread_join(peer);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(spoilt); i++) {
		g_autofree char *path = g_strconcat("/nbd-handshake/",
			spoilt[i].name, NULL);

		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_spoilt);
	}
	g_test_add_func("/nbd-handshake/two-sizes", test_two_sizes);
	return g_test_run();
}
