/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "source-words.h"

#include <errno.h>

#include "fleece-error.h"

#define NOT_BUILT "its snapshot is not made by fleecefs"
#define NO_SCRATCH "fleecefs needs no scratch space for it"
#define NO_CHAIN "fleecefs keeps no chain there"

static const struct {
	const char *word;
	const char *why_not_nbd;
} for_qemu[] = {
	{ "chain", "its bitmaps belong to others; bitmap= chooses one" },
	{ "since", NO_CHAIN },
	{ "fallback", NO_CHAIN },
	{ "keep", NO_CHAIN },
	{ "freeze", NOT_BUILT },
	{ "agent", NOT_BUILT },
	{ "method", NOT_BUILT },
	{ "cbw_timeout", NOT_BUILT },
	{ "unsafe_qemu", NOT_BUILT },
	{ "scratch", NO_SCRATCH },
	{ "scratch_limit", NO_SCRATCH },
	{ "scratch_reserve", NO_SCRATCH },
};

static const char *const for_nbd[] = { "bitmap", "tls", "tls_certificates",
	"tls_psk", "server", NULL };

static const char *why_not_nbd(const char *word)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(for_qemu); i++) {
		if (g_str_equal(word, for_qemu[i].word))
			return for_qemu[i].why_not_nbd;
	}
	return NULL;
}

static bool check_place(const char *word, const char *uri, GError **error)
{
	const char *why = uri ? why_not_nbd(word) :
		g_strv_contains(for_nbd, word) ?
		"that is a server which others have set up" : NULL;

	if (!why)
		return true;
	if (uri)
		fleece_set_error(error, EINVAL,
			"option '%s' does not go with an NBD server: %s", word,
			why);
	else
		fleece_set_error(error, EINVAL,
			"option '%s' is for an NBD source alone: %s", word,
			why);
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
	return !uri || check_tls(words, uri, tls, error);
}
