/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "settings.h"

#include <errno.h>
#include <string.h>

#include "checkpoint.h"
#include "fleece-error.h"
#include "instant.h"

Settings *settings_new(void)
{
	Settings *settings = g_new0(Settings, 1);

	settings->scratch = g_strdup("/var/tmp");
	settings->scratch_limit.percent = 50;
	settings->scratch_reserve.percent = 5;
	settings->method = METHOD_AUTO;
	settings->cbw_timeout = 10;
	settings->timeout_ms = 30 * 1000;
	settings->read_timeout_ms = 60 * 1000;
	settings->connections = 2;
	settings->first_port = 10809; /* NBD's */
	settings->last_port = 11064;
	return settings;
}

Settings *settings_copy(const Settings *settings)
{
	Settings *copy = g_memdup2(settings, sizeof *settings);

	copy->disks = g_strdup(settings->disks);
	copy->scratch = g_strdup(settings->scratch);
	copy->chain = g_strdup(settings->chain);
	copy->agent = g_strdup(settings->agent);
	copy->bitmap = g_strdup(settings->bitmap);
	copy->tls_certificates = g_strdup(settings->tls_certificates);
	copy->tls_psk = g_strdup(settings->tls_psk);
	return copy;
}

void settings_free(Settings *settings)
{
	if (!settings)
		return;
	g_free(settings->disks);
	g_free(settings->scratch);
	g_free(settings->chain);
	g_free(settings->agent);
	g_free(settings->bitmap);
	g_free(settings->tls_certificates);
	g_free(settings->tls_psk);
	g_free(settings);
}

static const char *const method_names[] = {
	[METHOD_AUTO] = "auto",
	[METHOD_FILTER] = "filter",
	[METHOD_JOB] = "job",
	[METHOD_ACCESS] = "access",
};

static const char *const view_names[] = {
	[VIEW_RAW] = "raw",
	[VIEW_DELTA] = "delta",
	[VIEW_ALL] = "all",
};

static const char *const freeze_names[] = {
	[FREEZE_NO] = "no",
	[FREEZE_TRY] = "try",
	[FREEZE_REQUIRE] = "require",
};

static const char *const via_names[] = {
	[VIA_BACKUP] = "backup",
	[VIA_MONITOR] = "monitor",
};

/* The index of value in names; -1 where it is not there. */
static int index_of(const char *value, const char *const *names, int n)
{
	while (--n >= 0 && !g_str_equal(value, names[n]))
		;
	return n;
}

const char *method_to_text(enum method method)
{
	return method_names[method];
}

static bool set_scratch(Settings *settings, const char *value)
{
	g_free(settings->scratch);
	settings->scratch = g_canonicalize_filename(value, NULL);
	return value[0];
}

/* "512M": the digits and the factor of the letter; false for others. */
static bool parse_bytes(const char *value, uint64_t least, uint64_t *bytes)
{
	static const char units[] = "KMGTP";
	size_t digits = strspn(value, G_CSET_DIGITS);
	g_autofree char *number = g_strndup(value, digits);
	const char *unit = value[digits] ?
		strchr(units, g_ascii_toupper(value[digits])) : NULL;
	unsigned shift = unit ? 10 * (unit - units + 1) : 0;
	guint64 count;

	if ((value[digits] && (!unit || value[digits + 1])) ||
	    !g_ascii_string_to_unsigned(number, 10, least,
		    INT64_MAX >> shift, &count, NULL))
		return false;
	*bytes = count << shift;
	return true;
}

static bool set_amount(Amount *amount, uint64_t least, const char *value)
{
	g_autofree char *number = g_strdup(value);
	size_t length = strlen(number);
	guint64 percent;

	*amount = (Amount){ 0 };
	if (length == 0 || number[length - 1] != '%')
		return parse_bytes(value, least, &amount->bytes);
	number[length - 1] = '\0';
	if (!g_ascii_string_to_unsigned(number, 10, 1, 100, &percent, NULL))
		return false;
	amount->percent = percent;
	return true;
}

static bool set_scratch_limit(Settings *settings, const char *value)
{
	return set_amount(&settings->scratch_limit, 1, value);
}

static bool set_scratch_reserve(Settings *settings, const char *value)
{
	return set_amount(&settings->scratch_reserve, 0, value);
}

static bool set_method(Settings *settings, const char *value)
{
	int method = index_of(value, method_names,
		G_N_ELEMENTS(method_names));

	settings->method = MAX(method, 0);
	return method >= 0;
}

static bool set_chain(Settings *settings, const char *value)
{
	g_free(settings->chain);
	settings->chain = g_strdup(value);
	return checkpoint_is_chain_name(value);
}

static bool set_since(Settings *settings, const char *value)
{
	return instant_from_text(value, &settings->since_ms) &&
		settings->since_ms > 0;
}

static bool set_fallback(Settings *settings, const char *value)
{
	settings->fallback_full = g_str_equal(value, "full");
	return settings->fallback_full;
}

static bool set_keep(Settings *settings, const char *value)
{
	guint64 keep;

	if (!g_ascii_string_to_unsigned(value, 10, 1, 1000, &keep, NULL))
		return false;
	settings->keep = keep;
	return true;
}

static bool set_view(Settings *settings, const char *value)
{
	int view = index_of(value, view_names, G_N_ELEMENTS(view_names));

	settings->view = MAX(view, 0);
	return view >= 0;
}

static bool set_freeze(Settings *settings, const char *value)
{
	int freeze = index_of(value, freeze_names,
		G_N_ELEMENTS(freeze_names));

	settings->freeze = MAX(freeze, 0);
	return freeze >= 0;
}

static bool set_agent(Settings *settings, const char *value)
{
	g_free(settings->agent);
	settings->agent = g_canonicalize_filename(value, NULL);
	return value[0];
}

static bool set_via(Settings *settings, const char *value)
{
	int via = index_of(value, via_names, G_N_ELEMENTS(via_names));

	settings->via = MAX(via, 0);
	return via >= 0;
}

static bool set_bitmap(Settings *settings, const char *value)
{
	g_free(settings->bitmap);
	settings->bitmap = g_strdup(value);
	return value[0];
}

static bool set_tls(Settings *settings, const char *value)
{
	settings->tls_required = g_str_equal(value, "require");
	return settings->tls_required;
}

/* Of these two the one that is said last counts. */
static bool set_tls_certificates(Settings *settings, const char *value)
{
	g_free(settings->tls_certificates);
	g_clear_pointer(&settings->tls_psk, g_free);
	settings->tls_certificates = g_canonicalize_filename(value, NULL);
	return value[0];
}

static bool set_tls_psk(Settings *settings, const char *value)
{
	g_free(settings->tls_psk);
	g_clear_pointer(&settings->tls_certificates, g_free);
	settings->tls_psk = g_canonicalize_filename(value, NULL);
	return value[0];
}

static bool set_server(Settings *settings, const char *value)
{
	settings->server_safe = g_str_equal(value, "safe");
	return settings->server_safe || g_str_equal(value, "any");
}

/* "10809", or "10809-11064". */
static bool set_ports(Settings *settings, const char *value)
{
	g_auto(GStrv) ends = g_strsplit(value, "-", 2);
	const char *first = ends[0] ? ends[0] : "";
	const char *last = ends[0] && ends[1] ? ends[1] : first;
	guint64 low, high;

	if (!g_ascii_string_to_unsigned(first, 10, 1, 65535, &low, NULL) ||
	    !g_ascii_string_to_unsigned(last, 10, low, 65535, &high, NULL))
		return false;
	settings->first_port = low;
	settings->last_port = high;
	return true;
}

#define NOT_EMPTY "a text that is not empty"
#define AMOUNT "a size as 512M or 20G, or a part as 10%"

static const struct {
	const char *word;
	bool (*set)(Settings *settings, const char *value);
	const char *accepted;
} words[] = {
	{ "scratch", set_scratch, NOT_EMPTY },
	{ "scratch_limit", set_scratch_limit, AMOUNT },
	{ "scratch_reserve", set_scratch_reserve, AMOUNT },
	{ "method", set_method, "auto, filter, job or access" },
	{ "chain", set_chain, "a name of up to 200 letters, digits, '_' and "
		"'-'" },
	{ "since", set_since, "an instant as 20261120T234501123Z" },
	{ "fallback", set_fallback, "full" },
	{ "keep", set_keep, "a whole number from 1 to 1000" },
	{ "view", set_view, "raw, delta or all" },
	{ "freeze", set_freeze, "no, try or require" },
	{ "agent", set_agent, NOT_EMPTY },
	{ "via", set_via, "backup or monitor" },
	{ "bitmap", set_bitmap, NOT_EMPTY },
	{ "tls", set_tls, "require" },
	{ "tls_certificates", set_tls_certificates, NOT_EMPTY },
	{ "tls_psk", set_tls_psk, NOT_EMPTY },
	{ "server", set_server, "any or safe" },
	{ "ports", set_ports, "a TCP port, or a range as 10809-11064" },
};

const char *settings_set(Settings *settings, const char *word,
	const char *value)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
		if (!g_str_equal(word, words[i].word))
			continue;
		return words[i].set(settings, value) ? NULL :
						       words[i].accepted;
	}
	return "nothing";
}

bool settings_check(const Settings *settings, bool finds_agent, GError **error)
{
	const char *needs_chain = settings->since_ms ? "since" :
		settings->keep ? "keep" :
		settings->view != VIEW_RAW ? "view" : NULL;

	if (needs_chain && !settings->chain) {
		fleece_set_error(error, EINVAL, "option '%s' needs 'chain'",
			needs_chain);
		return false;
	}
	if (settings->fallback_full && !settings->since_ms) {
		fleece_set_error(error, EINVAL,
			"option 'fallback' needs 'since'");
		return false;
	}
	if (settings->freeze != FREEZE_NO && !settings->agent && !finds_agent) {
		fleece_set_error(error, EINVAL,
			"option 'freeze' needs 'agent'");
		return false;
	}
	return true;
}

void settings_keep_for_nbd(Settings *settings)
{
	g_clear_pointer(&settings->chain, g_free);
	g_clear_pointer(&settings->agent, g_free);
	settings->since_ms = 0;
	settings->fallback_full = false;
	settings->keep = 0;
	settings->freeze = FREEZE_NO;
}

bool globs_match(const char *globs, const char *name)
{
	g_auto(GStrv) list = NULL;

	if (!globs)
		return true;
	list = g_strsplit(globs, ":", -1);
	for (char **glob = list; *glob; glob++) {
		if (g_pattern_match_simple(*glob, name))
			return true;
	}
	return false;
}
