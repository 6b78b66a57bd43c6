/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "source-words.h"

#include <errno.h>

#include "domain-host.h"
#include "fleece-error.h"

#define NOT_BUILT "its snapshot is not made by fleecefs"
#define NO_SCRATCH "fleecefs needs no scratch space for it"
#define NO_CHAIN "fleecefs keeps no chain there"
#define OWN_WAY "it makes the snapshot in a way of its own"

/* Why a word does not go with a kind of source; NULL: it does. */
static const struct {
	const char *word;
	const char *why_not_nbd;
	const char *why_not_libvirt;
} for_qemu[] = {
	{ "chain", "its bitmaps belong to others; bitmap= chooses one" },
	{ "since", NO_CHAIN },
	{ "fallback", NO_CHAIN },
	{ "keep", NO_CHAIN },
	{ "freeze", NOT_BUILT },
	{ "agent", NOT_BUILT, "it knows where the guest's agent is" },
	{ "method", NOT_BUILT, OWN_WAY },
	{ "cbw_timeout", NOT_BUILT, OWN_WAY },
	{ "unsafe_qemu", NOT_BUILT },
	{ "scratch", NO_SCRATCH },
	{ "scratch_limit", NO_SCRATCH },
	{ "scratch_reserve", NO_SCRATCH },
	{ "discard", NULL, "it shows the disks read-only, so that nothing "
			   "can be freed" },
};

static const char *const for_nbd[] = { "bitmap", "tls", "tls_certificates",
	"tls_psk", "server", NULL };

enum sort { SORT_QEMU, SORT_NBD, SORT_LIBVIRT };

static enum sort sort_of(const char *uri)
{
	if (!uri)
		return SORT_QEMU;
	return domain_is_uri(uri) ? SORT_LIBVIRT : SORT_NBD;
}

static const char *why_not(const char *word, enum sort sort)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(for_qemu); i++) {
		if (g_str_equal(word, for_qemu[i].word))
			return sort == SORT_NBD ? for_qemu[i].why_not_nbd :
				sort == SORT_LIBVIRT ?
				for_qemu[i].why_not_libvirt : NULL;
	}
	return NULL;
}

static bool check_place(const char *word, const char *uri, GError **error)
{
	enum sort sort = sort_of(uri);
	const char *why = why_not(word, sort);

	if (sort != SORT_NBD && g_strv_contains(for_nbd, word)) {
		fleece_set_error(error, EINVAL,
			"option '%s' is for an NBD source alone: that is a "
			"server which others have set up", word);
		return false;
	}
	if (!why)
		return true;
	fleece_set_error(error, EINVAL, "option '%s' does not go with %s: %s",
		word, sort == SORT_NBD ? "an NBD server" : "libvirt", why);
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

bool source_words_check(const char *const *words, const char *uri, bool tls,
	GError **error)
{
	for (const char *const *word = words; *word; word++) {
		if (!check_place(*word, uri, error))
			return false;
	}
	return sort_of(uri) != SORT_NBD || check_tls(words, uri, tls, error);
}
