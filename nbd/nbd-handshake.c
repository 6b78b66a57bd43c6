/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nbd-handshake.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "fleece-error.h"

/* What libnbd has no errno for is bad protocol; and so is the end of the
 * connection, as it calls now and then also one that there never was. */
bool nbd_handshake_error(GError **error)
{
	const char *words = nbd_get_error();
	int errnum = nbd_get_errno();

	if (errnum <= 0 || errnum == ENOTCONN)
		errnum = EPROTO;
	fleece_set_error(error, errnum, "%s",
		words ? words : "the NBD server closed the connection");
	return false;
}

/* nbd_poll() gives up what it is doing for a signal. */
static bool poll_once(struct nbd_handle *handle, int timeout_ms,
	GError **error)
{
	return nbd_poll(handle, timeout_ms) >= 0 || nbd_get_errno() == EINTR ||
		nbd_handshake_error(error);
}

bool nbd_handshake_wait(struct nbd_handle *handle, unsigned timeout_ms,
	GError **error)
{
	int64_t end = g_get_monotonic_time() + (int64_t)timeout_ms * 1000;

	while (nbd_aio_is_connecting(handle) == 1) {
		int64_t left = (end - g_get_monotonic_time() + 999) / 1000;

		if (left <= 0) {
			fleece_set_error(error, ETIMEDOUT,
				"no NBD handshake within %u ms", timeout_ms);
			return false;
		}
		if (!poll_once(handle, (int)MIN(left, INT_MAX), error))
			return false;
	}
	if (nbd_aio_is_ready(handle) == 1 ||
	    nbd_aio_is_negotiating(handle) == 1)
		return true;
	fleece_set_error(error, EPROTO,
		"the NBD server closed the connection in the handshake");
	return false;
}

/* One that is refused TLS hangs up by itself, without a word. */
static bool wait_for_options(struct nbd_handle *handle, unsigned timeout_ms,
	GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (nbd_handshake_wait(handle, timeout_ms, &failure))
		return true;
	if (nbd_aio_is_closed(handle) == 1 &&
	    nbd_get_tls(handle) == LIBNBD_TLS_REQUIRE &&
	    nbd_get_tls_negotiated(handle) != 1)
		fleece_set_error(error, ENOTSUP, "the NBD server has no TLS, "
			"which is required, or closed the connection");
	else
		g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

static bool wants_tls(const NbdServer *server)
{
	return server->require_tls || g_str_has_prefix(server->uri, "nbds");
}

/*
 * libnbd (1.14) looks at the server's certificate only where it knows the
 * authorities and the name of the host.  Without a readable ca-cert.pem, and
 * over a unix socket, it takes any certificate: that is no TLS to rely on.
 */
static bool check_certificates(const NbdServer *server, GError **error)
{
	g_autofree char *file = g_build_filename(server->certificates,
		"ca-cert.pem", NULL);
	size_t scheme = strcspn(server->uri, ":");

	if (g_strstr_len(server->uri, scheme, "+unix")) {
		fleece_set_error(error, EINVAL, "TLS: the certificate of a "
			"server on a unix socket cannot be checked, for it "
			"has no host name: use tls_psk");
		return false;
	}
	if (access(file, R_OK) == 0)
		return true;
	fleece_set_error_errno(error, errno, "TLS: %s", file);
	return false;
}

/* Whether there is anything to know the server by. */
static bool check_trust(const NbdServer *server, GError **error)
{
	if (!wants_tls(server) || server->psk)
		return true;
	if (server->certificates)
		return check_certificates(server, error);
	fleece_set_error(error, EINVAL, "TLS needs tls_certificates or "
		"tls_psk, to know the server by");
	return false;
}

static bool configure(struct nbd_handle *handle, const NbdServer *server)
{
	int tls = wants_tls(server) ? LIBNBD_TLS_REQUIRE : LIBNBD_TLS_DISABLE;

	return nbd_set_opt_mode(handle, true) == 0 &&
		nbd_set_tls(handle, tls) == 0 &&
		nbd_set_tls_verify_peer(handle, true) == 0 &&
		(!server->certificates || nbd_set_tls_certificates(handle,
			server->certificates) == 0) &&
		(!server->psk ||
			nbd_set_tls_psk_file(handle, server->psk) == 0);
}

/* Only the fixed newstyle protocol has options; whoever lacks it also lacks
 * TLS, so it is no way around that. */
bool nbd_handshake_dial(struct nbd_handle *handle, const NbdServer *server,
	GError **error)
{
	if (!check_trust(server, error))
		return false;
	if (!configure(handle, server) ||
	    nbd_aio_connect_uri(handle, server->uri) < 0)
		return nbd_handshake_error(error);
	if (!wait_for_options(handle, server->timeout_ms, error))
		return false;
	if (nbd_aio_is_negotiating(handle) == 1)
		return true;
	fleece_set_error(error, ENOTSUP,
		"the NBD server is too old: it does not speak the fixed "
		"newstyle protocol");
	return false;
}

int nbd_handshake_answered(void *opaque, int *error)
{
	int *answer = opaque;

	*answer = *error;
	return 1;
}

bool nbd_handshake_check(int answer, GError **error)
{
	const char *words = nbd_get_error();

	if (answer == 0)
		return true;
	fleece_set_error(error, answer, "%s",
		words ? words : g_strerror(answer));
	return false;
}

bool nbd_handshake_go(struct nbd_handle *handle, const char *name,
	const char *const *contexts, unsigned timeout_ms, GError **error)
{
	int answer = 0;
	nbd_completion_callback done = { .callback = nbd_handshake_answered,
		.user_data = &answer };

	if (nbd_set_export_name(handle, name) < 0)
		return nbd_handshake_error(error);
	for (; *contexts; contexts++) {
		if (nbd_add_meta_context(handle, *contexts) < 0)
			return nbd_handshake_error(error);
	}
	if (nbd_aio_opt_go(handle, done) < 0)
		return nbd_handshake_error(error);
	return nbd_handshake_wait(handle, timeout_ms, error) &&
		nbd_handshake_check(answer, error);
}
