/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image-starter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "autofd.h"
#include "fleece-error.h"

#define PROGRAM "qemu-storage-daemon"
/* As the program finds its listening sockets. */
#define QMP_FD 3
#define NBD_FD 4
/* What is sent: both of them, and where the answer goes to. */
enum { SENT_QMP, SENT_NBD, SENT_ANSWER, N_SENT };
/* A pidfd comes with an empty text, or none and why not. */
#define TEXT_MAX 512

struct ImageStarter {
	int socket; /* sendmsg(2) on it is atomic: needs no lock */
};

/* --- descriptors over a socket --- */

typedef struct {
	struct iovec text;
	struct msghdr header;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(N_SENT *
		sizeof(int))];
} Packet;

static void packet_init(Packet *packet, char *text, size_t length)
{
	memset(packet, 0, sizeof *packet);
	packet->text = (struct iovec){ text, length };
	packet->header.msg_iov = &packet->text;
	packet->header.msg_iovlen = 1;
	packet->header.msg_control = packet->control;
	packet->header.msg_controllen = sizeof packet->control;
}

/* The text goes with the 0 at its end, so that no packet is empty. */
static bool send_packet(int socket, const char *text, const int *fds, int n)
{
	g_autofree char *copy = g_strndup(text, TEXT_MAX - 1);
	size_t length = n * sizeof(int);
	struct cmsghdr *control;
	Packet packet;

	packet_init(&packet, copy, strlen(copy) + 1);
	control = CMSG_FIRSTHDR(&packet.header);
	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN(length);
	memcpy(CMSG_DATA(control), fds, length);
	packet.header.msg_controllen = n ? CMSG_SPACE(length) : 0;
	return sendmsg(socket, &packet.header, MSG_NOSIGNAL) > 0;
}

/* Takes up to n descriptors; how many, or -1 at the end of the stream. */
static int receive_packet(int socket, char text[TEXT_MAX], int *fds, int n)
{
	struct cmsghdr *control;
	ssize_t got;
	Packet packet;

	packet_init(&packet, text, TEXT_MAX - 1);
	packet.header.msg_controllen = CMSG_SPACE(n * sizeof(int));
	do {
		got = recvmsg(socket, &packet.header, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got <= 0)
		return -1;
	text[got] = '\0';
	control = CMSG_FIRSTHDR(&packet.header);
	if (!control || control->cmsg_type != SCM_RIGHTS)
		return 0;
	n = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(control), n * sizeof(int));
	return n;
}

/* --- the process --- */

static void in_child(gpointer parent)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != GPOINTER_TO_INT(parent))
		_exit(1);
}

static int spawn(int qmp, int nbd, GError **error)
{
	const char *const argv[] = { PROGRAM, "--chardev",
		"socket,id=qmp,fd=" G_STRINGIFY(QMP_FD) ",server=on,wait=off",
		"--monitor", "chardev=qmp", "--nbd-server",
		"addr.type=fd,addr.str=" G_STRINGIFY(NBD_FD)
		",max-connections=0", NULL };
	const int from[] = { qmp, nbd };
	const int to[] = { QMP_FD, NBD_FD };
	GPid pid;

	if (!g_spawn_async_with_pipes_and_fds("/", argv, NULL,
		    G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD |
		    G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
		    in_child, GINT_TO_POINTER(getpid()), -1, -1, -1, from, to,
		    G_N_ELEMENTS(from), &pid, NULL, NULL, NULL, error))
		return -1;
	return pidfd_open(pid, 0);
}

/* Nobody waits for them, but until there is a pidfd the number has to stay
 * that of this one. */
static int spawn_unwaited(int qmp, int nbd, GError **error)
{
	int pidfd;

	signal(SIGCHLD, SIG_DFL);
	pidfd = spawn(qmp, nbd, error);
	signal(SIGCHLD, SIG_IGN);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		continue;
	return pidfd;
}

static void answer(const int *sent)
{
	g_autoptr(GError) error = NULL;
	AUTOFD int pidfd = spawn_unwaited(sent[SENT_QMP], sent[SENT_NBD],
		&error);

	if (pidfd >= 0)
		send_packet(sent[SENT_ANSWER], "", &pidfd, 1);
	else
		send_packet(sent[SENT_ANSWER], error ? error->message :
			"it ended at once", NULL, 0);
}

static _Noreturn void serve(int socket)
{
	char text[TEXT_MAX];
	int sent[N_SENT];
	int n;

	while ((n = receive_packet(socket, text, sent, N_SENT)) >= 0) {
		if (n == N_SENT)
			answer(sent);
		while (--n >= 0)
			close(sent[n]);
	}
	_exit(0);
}

/* It has nothing to say, and no socket of anybody else's may live on in it. */
static void become_starter(int socket)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	prctl(PR_SET_NAME, "fleecefs-images");
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (socket > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, socket - 1, 0);
	close_range(socket + 1, ~0u, 0);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
}

/* --- who asks it --- */

ImageStarter *image_starter_new(GError **error)
{
	int pair[2];
	ImageStarter *starter;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		fleece_set_error_errno(error, errno, "images: socketpair");
		return NULL;
	}
	pid = fork();
	if (pid == 0) {
		become_starter(pair[1]);
		serve(pair[1]);
	}
	close(pair[1]);
	if (pid < 0) {
		fleece_set_error_errno(error, errno, "images: fork");
		close(pair[0]);
		return NULL;
	}
	starter = g_new0(ImageStarter, 1);
	starter->socket = pair[0];
	return starter;
}

void image_starter_free(ImageStarter *starter)
{
	if (!starter)
		return;
	close(starter->socket);
	g_free(starter);
}

/* -1: there is no answer. */
static int ask(const ImageStarter *starter, int qmp, int nbd,
	char text[TEXT_MAX])
{
	int pair[2];
	int pidfd = -1;
	int n = -1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	if (send_packet(starter->socket, "", (int[]){ qmp, nbd, pair[1] },
		    N_SENT)) {
		close(pair[1]);
		pair[1] = -1;
		n = receive_packet(pair[0], text, &pidfd, 1);
	}
	close(pair[0]);
	if (pair[1] >= 0)
		close(pair[1]);
	return n == 1 ? pidfd : -1;
}

int image_starter_run(const ImageStarter *starter, int qmp, int nbd,
	GError **error)
{
	char text[TEXT_MAX] = "nobody is there to start it";
	int pidfd = ask(starter, qmp, nbd, text);

	if (pidfd < 0)
		fleece_set_error(error, ENOENT, PROGRAM ", which reads the "
			"images: %s (Debian: qemu-system-common)", text);
	return pidfd;
}
