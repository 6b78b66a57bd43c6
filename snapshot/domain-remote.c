/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-remote.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

#include "fleece-error.h"

/* What QEMU says of a directory in which no certificates are. */
#define NO_CREDENTIALS "Unable to access credentials"

struct DomainRemote {
	const Settings *settings;
	char *host;
	GPtrArray *addresses; /* texts */
	guint address;        /* which of these */
	unsigned port;
	unsigned tried;       /* ports at this address before it */
	gint64 ends;          /* monotonic us: nothing is tried after that */
	char *uri;
};

static bool check_file(const Settings *settings, const char *name,
	GError **error)
{
	g_autofree char *path = g_build_filename(settings->tls_certificates,
		name, NULL);

	if (access(path, R_OK) == 0)
		return true;
	fleece_set_error(error, EINVAL, "TLS: %s: %s: the disks of a libvirt "
		"on another machine are read over TLS, and only by clients "
		"that have a certificate", path, g_strerror(errno));
	return false;
}

/* Before anything is made there. */
static bool check_certificates(const Settings *settings, GError **error)
{
	if (!settings->tls_certificates) {
		fleece_set_error(error, EINVAL, "a libvirt on another machine "
			"needs tls_certificates: its disks are read over TLS");
		return false;
	}
	return check_file(settings, "ca-cert.pem", error) &&
		check_file(settings, "client-cert.pem", error) &&
		check_file(settings, "client-key.pem", error);
}

/* Numbers: a host may know its own name as that of its loopback. */
static GPtrArray *look_up(const char *host, GError **error)
{
	const struct addrinfo wanted = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_ADDRCONFIG };
	struct addrinfo *found;
	GPtrArray *addresses;
	int failed = getaddrinfo(host, NULL, &wanted, &found);

	if (failed) {
		fleece_set_error(error, EHOSTUNREACH, "%s: %s", host,
			gai_strerror(failed));
		return NULL;
	}
	addresses = g_ptr_array_new_with_free_func(g_free);
	for (struct addrinfo *one = found; one; one = one->ai_next) {
		char text[NI_MAXHOST];

		if (getnameinfo(one->ai_addr, one->ai_addrlen, text,
			    sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
			g_ptr_array_add(addresses, g_strdup(text));
	}
	freeaddrinfo(found);
	return addresses;
}

static unsigned count_ports(const DomainRemote *remote)
{
	return remote->settings->last_port - remote->settings->first_port + 1;
}

static void set_port(DomainRemote *remote, unsigned number)
{
	remote->port = remote->settings->first_port +
		number % count_ports(remote);
	g_free(remote->uri);
	remote->uri = g_uri_join(G_URI_FLAGS_NONE, "nbds", NULL, remote->host,
		remote->port, "/", NULL, NULL);
}

/* Each snapshot of this process another; what others have taken is found out
 * by trying. */
static unsigned take_turn(void)
{
	static gsize begun;
	static guint turn;

	if (g_once_init_enter(&begun)) {
		turn = g_random_int();
		g_once_init_leave(&begun, 1);
	}
	return (guint)g_atomic_int_add(&turn, 1);
}

DomainRemote *domain_remote_new(const char *host, const Settings *settings,
	GError **error)
{
	g_autoptr(DomainRemote) remote = g_new0(DomainRemote, 1);

	remote->settings = settings;
	remote->host = g_strdup(host);
	remote->ends = g_get_monotonic_time() +
		settings->timeout_ms * G_TIME_SPAN_MILLISECOND;
	set_port(remote, take_turn());
	if (!check_certificates(settings, error))
		return NULL;
	remote->addresses = look_up(host, error);
	return remote->addresses ? g_steal_pointer(&remote) : NULL;
}

void domain_remote_free(DomainRemote *remote)
{
	if (!remote)
		return;
	g_clear_pointer(&remote->addresses, g_ptr_array_unref);
	g_free(remote->host);
	g_free(remote->uri);
	g_free(remote);
}

const char *domain_remote_address(const DomainRemote *remote)
{
	return remote->addresses->pdata[remote->address];
}

unsigned domain_remote_port(const DomainRemote *remote)
{
	return remote->port;
}

static bool next_port(DomainRemote *remote)
{
	if (++remote->tried >= count_ports(remote) ||
	    g_get_monotonic_time() > remote->ends)
		return false;
	set_port(remote, remote->port - remote->settings->first_port + 1);
	return true;
}

static bool next_address(DomainRemote *remote)
{
	if (remote->address + 1 >= remote->addresses->len)
		return false;
	remote->address++;
	remote->tried = 0;
	return true;
}

static void add_words(GError **failure, const char *words)
{
	GError *longer = g_error_new((*failure)->domain, (*failure)->code,
		"%s: %s", (*failure)->message, words);

	g_error_free(*failure);
	*failure = longer;
}

/* What to do about it. */
static void explain(const DomainRemote *remote, GError **failure)
{
	g_autofree char *words = NULL;

	if (g_error_matches(*failure, FLEECE_ERROR, EADDRINUSE))
		words = g_strdup_printf("no port from %u to %u was free there "
			"(ports=)", remote->settings->first_port,
			remote->settings->last_port);
	else if (g_error_matches(*failure, FLEECE_ERROR, EADDRNOTAVAIL))
		words = g_strdup_printf("QEMU has to listen at %s, by which "
			"this machine knows %s, and that is no address of it",
			domain_remote_address(remote), remote->host);
	else if (strstr((*failure)->message, NO_CREDENTIALS))
		words = g_strdup_printf("libvirt on %s has no certificates "
			"for backups: set backup_tls_x509_cert_dir in its "
			"qemu.conf, see mount.fleecefs(8)", remote->host);
	if (words)
		add_words(failure, words);
}

bool domain_remote_move(DomainRemote *remote, GError **failure)
{
	if ((g_error_matches(*failure, FLEECE_ERROR, EADDRINUSE) &&
		    next_port(remote)) ||
	    (g_error_matches(*failure, FLEECE_ERROR, EADDRNOTAVAIL) &&
		    next_address(remote)))
		return true;
	explain(remote, failure);
	return false;
}

NbdServer domain_remote_server(const DomainRemote *remote)
{
	return (NbdServer){
		.uri = remote->uri,
		.require_tls = true,
		.certificates = remote->settings->tls_certificates,
		.timeout_ms = remote->settings->timeout_ms,
	};
}
