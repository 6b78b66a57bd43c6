/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "source-words.h"

#include <errno.h>

#include "domain-host.h"
#include "fleece-error.h"

#define NOT_BUILT "its snapshot is not made by fleecefs"
#define NO_SCRATCH "fleecefs needs no scratch space for it"
#define NO_CHAIN "fleecefs keeps no chain there"
#define NOT_WRITTEN "nothing is written into them; bitmap= chooses what " \
	".dirty shows"
#define SWITCHED_OFF "no QEMU has them open"
#define FOR_NBD "an NBD server that others have set up"
#define OWN_WAY "it makes the snapshot in a way of its own"
#define UNLESS_LENT ", but with via=monitor"
#define KNOWS_AGENT "it knows where the guest's agent is"
#define NO_LIBVIRT "it says how libvirt is used, and there is none"
#define READ_ONLY "it shows the disks read-only, so that nothing can be freed"
#define ONLY_READ "they are only read"

enum sort {
	SORT_QEMU,
	SORT_NBD,
	SORT_LIBVIRT,
	SORT_MONITOR, /* of libvirt's */
	SORT_REMOTE,
	SORT_IMAGES,
	N_SORTS
};

static const char *const sort_names[N_SORTS] = { "a QMP socket",
	"an NBD server", "libvirt", "via=monitor",
	"a libvirt on another machine", "images" };

/* What a domain's own QEMU can do, and libvirt cannot. */
#define LIBVIRT(reason) \
	[SORT_LIBVIRT] = reason UNLESS_LENT, [SORT_REMOTE] = reason

/* Why a word does not go with a kind of source; NULL: it does. */
static const struct {
	const char *word;
	const char *why_not[N_SORTS];
} for_qemu[] = {
	{ "chain", { [SORT_NBD] = "its bitmaps belong to others; bitmap= "
				  "chooses one",
		[SORT_IMAGES] = NOT_WRITTEN } },
	{ "since", { [SORT_NBD] = NO_CHAIN, [SORT_IMAGES] = NOT_WRITTEN } },
	{ "fallback", { [SORT_NBD] = NO_CHAIN, [SORT_IMAGES] = NOT_WRITTEN } },
	{ "keep", { [SORT_NBD] = NO_CHAIN, [SORT_IMAGES] = NOT_WRITTEN } },
	{ "freeze", { [SORT_NBD] = NOT_BUILT, [SORT_IMAGES] = SWITCHED_OFF } },
	{ "agent", { [SORT_NBD] = NOT_BUILT,
		[SORT_LIBVIRT] = KNOWS_AGENT, [SORT_MONITOR] = KNOWS_AGENT,
		[SORT_REMOTE] = KNOWS_AGENT,
		[SORT_IMAGES] = SWITCHED_OFF } },
	{ "method", { [SORT_NBD] = NOT_BUILT, LIBVIRT(OWN_WAY),
		[SORT_IMAGES] = SWITCHED_OFF } },
	{ "cbw_timeout", { [SORT_NBD] = NOT_BUILT, LIBVIRT(OWN_WAY),
		[SORT_IMAGES] = SWITCHED_OFF } },
	{ "unsafe_qemu", { [SORT_NBD] = NOT_BUILT,
		[SORT_IMAGES] = SWITCHED_OFF } },
	{ "scratch", { [SORT_NBD] = NO_SCRATCH, [SORT_IMAGES] = NO_SCRATCH } },
	{ "scratch_limit", { [SORT_NBD] = NO_SCRATCH,
		[SORT_IMAGES] = NO_SCRATCH } },
	{ "scratch_reserve", { [SORT_NBD] = NO_SCRATCH,
		[SORT_REMOTE] = "how full its filesystems are cannot be seen",
		[SORT_IMAGES] = NO_SCRATCH } },
	{ "via", { [SORT_QEMU] = NO_LIBVIRT, [SORT_NBD] = NO_LIBVIRT,
		[SORT_IMAGES] = NO_LIBVIRT } },
	{ "discard", { LIBVIRT(READ_ONLY),
		[SORT_IMAGES] = ONLY_READ } },
	{ "read_once", { LIBVIRT(READ_ONLY),
		[SORT_IMAGES] = ONLY_READ } },
};

#define BIT(sort) (1u << (sort))

/* Words that go with no other kinds of source than these. */
static const struct {
	const char *word;
	unsigned sorts;
	const char *what; /* it is for */
} for_few[] = {
	/* among the bitmaps of images as among those of a server */
	{ "bitmap", BIT(SORT_NBD) | BIT(SORT_IMAGES), FOR_NBD },
	{ "server", BIT(SORT_NBD), FOR_NBD },
	{ "tls_psk", BIT(SORT_NBD), FOR_NBD },
	{ "tls", BIT(SORT_NBD), FOR_NBD },
	{ "tls_certificates", BIT(SORT_NBD) | BIT(SORT_REMOTE),
		FOR_NBD " or a libvirt on another machine" },
	{ "ports", BIT(SORT_REMOTE), "a libvirt on another machine" },
};

static enum sort sort_of(const char *uri, const Settings *settings)
{
	if (!uri)
		return SORT_QEMU;
	if (!domain_is_uri(uri))
		return SORT_NBD;
	if (settings->via == VIA_MONITOR)
		return SORT_MONITOR;
	return domain_is_remote(uri) ? SORT_REMOTE : SORT_LIBVIRT;
}

static const char *why_not(const char *word, enum sort sort)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(for_qemu); i++) {
		if (g_str_equal(word, for_qemu[i].word))
			return for_qemu[i].why_not[sort];
	}
	return NULL;
}

static bool check_few(const char *word, enum sort sort, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(for_few); i++) {
		if (!g_str_equal(word, for_few[i].word) ||
		    (for_few[i].sorts & BIT(sort)))
			continue;
		fleece_set_error(error, EINVAL, "option '%s' is for %s alone",
			word, for_few[i].what);
		return false;
	}
	return true;
}

static bool check_place(const char *word, enum sort sort, GError **error)
{
	const char *why = why_not(word, sort);

	if (!why)
		return check_few(word, sort, error);
	fleece_set_error(error, EINVAL, "option '%s' does not go with %s: %s",
		word, sort_names[sort], why);
	return false;
}

/* Keys that would not be used are not ignored: somebody relies on them. */
static bool check_tls(const char *const *words, const char *uri, bool tls,
	GError **error)
{
	bool certificates = g_strv_contains(words, "tls_certificates");
	bool psk = g_strv_contains(words, "tls_psk");

	if (certificates && psk) {
		fleece_set_error(error, EINVAL, "option 'tls_psk' does not go "
			"with 'tls_certificates': choose one");
		return false;
	}
	if ((certificates || psk) && !tls && !g_str_has_prefix(uri, "nbds")) {
		fleece_set_error(error, EINVAL, "option '%s' needs an nbds:// "
			"or nbds+unix:// source, or 'tls=require'",
			psk ? "tls_psk" : "tls_certificates");
		return false;
	}
	return true;
}

static bool check_places(const char *const *words, enum sort sort,
	GError **error)
{
	for (const char *const *word = words; *word; word++) {
		if (!check_place(*word, sort, error))
			return false;
	}
	return true;
}

/* QEMU gets its files and sockets from us. */
static bool check_near(const char *uri, GError **error)
{
	if (!domain_is_remote(uri))
		return true;
	fleece_set_error(error, EINVAL, "option 'via=monitor' does not go with "
		"a libvirt of another machine (%s): open files cannot be "
		"handed over to its QEMU", uri);
	return false;
}

bool source_words_check(const char *const *words, const char *uri,
	const Settings *settings, GError **error)
{
	enum sort sort = sort_of(uri, settings);

	return check_places(words, sort, error) &&
		(sort != SORT_MONITOR || check_near(uri, error)) &&
		(sort != SORT_NBD || check_tls(words, uri,
			settings->tls_required, error));
}

bool source_words_check_images(const char *const *words, GError **error)
{
	return check_places(words, SORT_IMAGES, error);
}
