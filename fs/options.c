/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fleece-error.h"
#include "source-words.h"
#include "source.h"

/* Texts as they were given, checked afterwards, all at one place. */
typedef struct {
	char *name, *vm, *disk, *snapshot, *scratch, *method;
	char *cbw_timeout, *timeout, *read_timeout, *connections;
	char *scratch_limit, *scratch_reserve;
	char *chain, *since, *fallback, *keep, *view, *freeze, *agent, *via;
	char *bitmap, *tls, *tls_certificates, *tls_psk, *server, *ports;
	char *uid, *gid, *umask, *max_read, *fsname;
	int discard, read_once, strict, unsafe_qemu, allow_other, ro;
	int foreground, debug, help, version, fake, remount;
	bool helper; /* called by mount(8) */
	GPtrArray *words; /* SOURCE and MOUNTPOINT */
	char *unknown;
} Raw;

/* The kernel would take that for less, and libfuse's end would not know. */
#define MAX_READ_MIN 4096

#define OPTION(text, member) { text, offsetof(Raw, member), 1 }
enum { KEY_FSNAME };

static const struct fuse_opt table[] = {
	OPTION("name=%s", name),
	OPTION("vm=%s", vm),
	OPTION("disk=%s", disk),
	OPTION("snapshot=%s", snapshot),
	OPTION("scratch=%s", scratch),
	OPTION("method=%s", method),
	OPTION("cbw_timeout=%s", cbw_timeout),
	OPTION("timeout=%s", timeout),
	OPTION("read_timeout=%s", read_timeout),
	OPTION("connections=%s", connections),
	OPTION("scratch_limit=%s", scratch_limit),
	OPTION("scratch_reserve=%s", scratch_reserve),
	OPTION("chain=%s", chain),
	OPTION("since=%s", since),
	OPTION("fallback=%s", fallback),
	OPTION("keep=%s", keep),
	OPTION("view=%s", view),
	OPTION("freeze=%s", freeze),
	OPTION("agent=%s", agent),
	OPTION("via=%s", via),
	OPTION("bitmap=%s", bitmap),
	OPTION("tls=%s", tls),
	OPTION("tls_certificates=%s", tls_certificates),
	OPTION("tls_psk=%s", tls_psk),
	OPTION("server=%s", server),
	OPTION("ports=%s", ports),
	OPTION("uid=%s", uid),
	OPTION("gid=%s", gid),
	OPTION("umask=%s", umask),
	OPTION("max_read=%s", max_read),
	OPTION("discard", discard),
	OPTION("read_once", read_once),
	OPTION("strict", strict),
	OPTION("unsafe_qemu", unsafe_qemu),
	OPTION("allow_other", allow_other),
	OPTION("ro", ro),
	OPTION("remount", remount),
	OPTION("-d", debug),
	OPTION("debug", debug),
	OPTION("-h", help),
	OPTION("--help", help),
	OPTION("-V", version),
	OPTION("--version", version),
	FUSE_OPT_KEY("fsname=", KEY_FSNAME),
	/* libfuse's */
	FUSE_OPT_KEY("allow_root", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("default_permissions", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("auto_unmount", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("rw", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("suid", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("nosuid", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("dev", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("nodev", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("exec", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("noexec", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("async", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("sync", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("dirsync", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("atime", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("noatime", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("context=", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("fscontext=", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("defcontext=", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("rootcontext=", FUSE_OPT_KEY_KEEP),
	/* fstab's, for mount(8) and systemd alone */
	FUSE_OPT_KEY("defaults", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("auto", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("noauto", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("user", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("user=", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("nouser", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("users", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("owner", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("group", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("nofail", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("_netdev", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("relatime", FUSE_OPT_KEY_DISCARD),
	/* libfuse's library knows none of these, and here none makes any
	 * difference: no time changes, and there are no links */
	FUSE_OPT_KEY("nodiratime", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("strictatime", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("lazytime", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("nosymfollow", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("silent", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("comment=", FUSE_OPT_KEY_DISCARD),
	/* mount(8) tells its helper the type */
	FUSE_OPT_KEY("-t ", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_END,
};

static const char usage[] =
	"usage: fleecefs [-f] [-d] [-o OPT[,OPT...]] SOURCE MOUNTPOINT\n"
	"\n"
	"Mounts one directory per VM, its disks as they are at this instant.\n"
	"SOURCE: a QMP socket, a directory of *.qmp sockets, a .conf file, or\n"
	"the URI of an NBD server or of a libvirt (qemu:///system).\n"
	"\n"
	"  -f  stay in the foreground, log to stderr\n"
	"  -d  log what is done as well\n"
	"  -V  print the version\n"
	"  -o  name= vm= disk= snapshot=mount|mkdir discard read_once strict\n"
	"      scratch= scratch_limit= scratch_reserve=\n"
	"      method=auto|filter|job|access cbw_timeout= timeout=\n"
	"      read_timeout= connections= chain= since= fallback=full keep=\n"
	"      unsafe_qemu view=raw|delta|all freeze=no|try|require agent=\n"
	"      uid= gid= umask= via=backup|monitor bitmap= server=any|safe\n"
	"      tls=require tls_certificates= tls_psk= ports= ro allow_other\n"
	"      and FUSE's own: see mount.fleecefs(8)\n";

/* -f, -n, -s and -v mean other things where mount(8) calls us. */
static bool take_flag(Raw *raw, const char *arg)
{
	if (g_str_equal(arg, "-f")) {
		if (raw->helper)
			raw->fake = 1;
		else
			raw->foreground = 1;
		return true;
	}
	return raw->helper && (g_str_equal(arg, "-n") ||
		g_str_equal(arg, "-s") || g_str_equal(arg, "-v"));
}

/* Returns what fuse_opt_parse() wants: 1 keeps the option for libfuse. */
static int take_option(void *data, const char *arg, int key,
	struct fuse_args *out)
{
	Raw *raw = data;

	if (key == FUSE_OPT_KEY_NONOPT) {
		g_ptr_array_add(raw->words, g_strdup(arg));
		return 0;
	}
	if (key == KEY_FSNAME) {
		g_free(raw->fsname);
		raw->fsname = g_strdup(arg + strlen("fsname="));
		return 1;
	}
	if (take_flag(raw, arg) || g_str_has_prefix(arg, "x-") ||
	    g_str_has_prefix(arg, "X-"))
		return 0;
	if (!raw->unknown)
		raw->unknown = g_strdup(arg);
	return 0;
}

static bool bad_value(GError **error, const char *option, const char *value,
	const char *accepted)
{
	fleece_set_error(error, EINVAL, "bad option '%s=%s': %s is accepted",
		option, value, accepted);
	return false;
}

/* A number of [min, max]; *out stays as it is where text is NULL. */
static bool take_number(const char *option, const char *text, guint64 min,
	guint64 max, unsigned factor, unsigned *out, GError **error)
{
	g_autofree char *accepted = NULL;
	guint64 number;

	if (!text)
		return true;
	if (g_ascii_string_to_unsigned(text, 10, min, max, &number, NULL)) {
		*out = number * factor;
		return true;
	}
	accepted = g_strdup_printf("a whole number from %" G_GUINT64_FORMAT
		" to %" G_GUINT64_FORMAT, min, max);
	return bad_value(error, option, text, accepted);
}

static bool take_ids(Options *options, const Raw *raw, GError **error)
{
	unsigned uid = getuid(), gid = getgid();
	guint64 mask = 022;

	if (!take_number("uid", raw->uid, 0, G_MAXUINT32 - 1, 1, &uid,
		    error) ||
	    !take_number("gid", raw->gid, 0, G_MAXUINT32 - 1, 1, &gid, error))
		return false;
	if (raw->umask && !g_ascii_string_to_unsigned(raw->umask, 8, 0, 0777,
		    &mask, NULL))
		return bad_value(error, "umask", raw->umask,
			"an octal number from 0 to 777");
	options->uid = uid;
	options->gid = gid;
	options->umask = mask;
	return true;
}

static bool set(Settings *settings, const char *word, const char *value,
	GError **error)
{
	const char *accepted = value ?
		settings_set(settings, word, value) : NULL;

	return !accepted || bad_value(error, word, value, accepted);
}

static bool check_not_empty(const char *option, const char *text,
	GError **error)
{
	return !text || text[0] || bad_value(error, option, text,
		"a text that is not empty");
}

static bool take_words(Options *options, const Raw *raw, GError **error)
{
	Settings *settings = options->settings;

	if (!check_not_empty("name", raw->name, error) ||
	    !check_not_empty("vm", raw->vm, error) ||
	    !check_not_empty("disk", raw->disk, error) ||
	    !set(settings, "scratch", raw->scratch, error) ||
	    !set(settings, "scratch_limit", raw->scratch_limit, error) ||
	    !set(settings, "scratch_reserve", raw->scratch_reserve, error) ||
	    !set(settings, "method", raw->method, error) ||
	    !set(settings, "chain", raw->chain, error) ||
	    !set(settings, "since", raw->since, error) ||
	    !set(settings, "fallback", raw->fallback, error) ||
	    !set(settings, "keep", raw->keep, error) ||
	    !set(settings, "view", raw->view, error) ||
	    !set(settings, "freeze", raw->freeze, error) ||
	    !set(settings, "agent", raw->agent, error) ||
	    !set(settings, "via", raw->via, error) ||
	    !set(settings, "bitmap", raw->bitmap, error) ||
	    !set(settings, "tls", raw->tls, error) ||
	    !set(settings, "tls_certificates", raw->tls_certificates, error) ||
	    !set(settings, "tls_psk", raw->tls_psk, error) ||
	    !set(settings, "server", raw->server, error) ||
	    !set(settings, "ports", raw->ports, error))
		return false;
	if (raw->snapshot && !g_str_equal(raw->snapshot, "mount") &&
	    !g_str_equal(raw->snapshot, "mkdir"))
		return bad_value(error, "snapshot", raw->snapshot,
			"mount or mkdir");
	options->snapshot_on_mkdir = g_strcmp0(raw->snapshot, "mkdir") == 0;
	return true;
}

static bool take_settings(Options *options, const Raw *raw, GError **error)
{
	Settings *settings = options->settings;

	settings->disks = g_strdup(raw->disk);
	settings->discard = raw->discard;
	settings->read_once = raw->read_once;
	settings->unsafe_qemu = raw->unsafe_qemu;
	return take_words(options, raw, error) &&
		take_number("cbw_timeout", raw->cbw_timeout, 1, 3600, 1,
			&settings->cbw_timeout, error) &&
		take_number("timeout", raw->timeout, 1, 3600, 1000,
			&settings->timeout_ms, error) &&
		take_number("read_timeout", raw->read_timeout, 1, 3600, 1000,
			&settings->read_timeout_ms, error) &&
		take_number("connections", raw->connections, 1, 16, 1,
			&settings->connections, error);
}

/* A .conf file may say for each VM what is missing here. */
static bool has_settings(const char *source)
{
	struct stat st;

	return stat(source, &st) == 0 && S_ISREG(st.st_mode);
}

/* Whether what was given goes with the source, if that is one VM or of one
 * kind. */
static bool check_words(const Options *options, const Raw *raw, GError **error)
{
	const struct {
		const char *word;
		bool given;
	} all[] = {
		{ "chain", raw->chain }, { "since", raw->since },
		{ "fallback", raw->fallback }, { "keep", raw->keep },
		{ "freeze", raw->freeze }, { "agent", raw->agent },
		{ "method", raw->method }, { "discard", raw->discard },
		{ "read_once", raw->read_once },
		{ "cbw_timeout", raw->cbw_timeout },
		{ "unsafe_qemu", raw->unsafe_qemu },
		{ "scratch", raw->scratch },
		{ "scratch_limit", raw->scratch_limit },
		{ "scratch_reserve", raw->scratch_reserve },
		{ "via", raw->via },
		{ "bitmap", raw->bitmap }, { "tls", raw->tls },
		{ "tls_certificates", raw->tls_certificates },
		{ "tls_psk", raw->tls_psk }, { "server", raw->server },
		{ "ports", raw->ports },
	};
	const char *words[G_N_ELEMENTS(all) + 1] = { NULL };
	unsigned n = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
		if (all[i].given)
			words[n++] = all[i].word;
	}
	return source_words_check(words, source_is_nbd(options->source) ||
		domain_is_uri(options->source) ? options->source : NULL,
		options->settings, error);
}

static bool check_combination(const Options *options, const Raw *raw,
	GError **error)
{
	const char *option = raw->discard ? "discard" :
		raw->chain ? "chain" : "snapshot=mkdir";

	if (raw->ro && (raw->discard || raw->chain ||
		    options->snapshot_on_mkdir)) {
		fleece_set_error(error, EINVAL,
			"option 'ro' does not go with '%s': the kernel would "
			"refuse the %s before fleecefs is asked", option,
			raw->discard ? "punch" : raw->chain ? "commit" :
			"mkdir");
		return false;
	}
	if (has_settings(options->source))
		return true;
	return check_words(options, raw, error) &&
		(source_is_nbd(options->source) ||
			settings_check(options->settings,
				domain_is_uri(options->source), error));
}

/* Without symbolic links: that is the name in the kernel's list. */
static bool take_mountpoint(Options *options, const char *word, GError **error)
{
	char *real = realpath(word, NULL);
	struct stat st;

	if (!real || stat(real, &st) < 0) {
		fleece_set_error_errno(error, errno, "mountpoint %s", word);
		free(real);
		return false;
	}
	options->mountpoint = real;
	if (!S_ISDIR(st.st_mode)) {
		fleece_set_error_errno(error, ENOTDIR, "mountpoint %s", word);
		return false;
	}
	return true;
}

static bool is_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	/* the root's name ends with a '/' as it is */
	if (directory[length - 1] == '/')
		return true;
	return strncmp(path, directory, length) == 0 &&
		(path[length] == '/' || path[length] == '\0');
}

/* By its name, or where that leads. */
static bool is_hidden(const char *path, const char *mountpoint)
{
	g_autofree char *name = g_canonicalize_filename(path, NULL);
	char *real = realpath(path, NULL);
	bool hidden = is_below(name, mountpoint) ||
		(real && is_below(real, mountpoint));

	free(real);
	return hidden;
}

/* Whoever looks for something below his own mount waits for himself.  A .conf
 * file is not looked for again. */
static bool check_hidden(const Options *options, GError **error)
{
	const char *source = options->source;
	bool nbd = source_is_nbd(source), uri = domain_is_uri(source);
	bool path = !nbd && !uri && !has_settings(source);
	bool scratch = !nbd && !(uri && domain_is_remote(source));
	const char *needed[] = { path ? source : NULL,
		scratch ? options->settings->scratch : NULL,
		options->settings->agent };

	for (unsigned i = 0; i < G_N_ELEMENTS(needed); i++) {
		if (!needed[i] || !is_hidden(needed[i], options->mountpoint))
			continue;
		fleece_set_error(error, EINVAL, "mountpoint %s would hide %s, "
			"which is needed meanwhile", options->mountpoint,
			needed[i]);
		return false;
	}
	return true;
}

static bool take_raw(Options *options, Raw *raw, GError **error)
{
	if (raw->remount) {
		fleece_set_error(error, EINVAL, "bad option 'remount': a mount "
			"keeps its options, umount it and mount it again");
		return false;
	}
	if (raw->unknown) {
		fleece_set_error(error, EINVAL,
			"unknown option '%s': see mount.fleecefs(8)",
			raw->unknown);
		return false;
	}
	if (raw->words->len != 2) {
		fleece_set_error(error, EINVAL,
			"SOURCE and MOUNTPOINT are needed, and nothing else: "
			"see fleecefs --help");
		return false;
	}
	options->source = g_strdup(raw->words->pdata[0]);
	options->fsname = g_strdup(raw->fsname ? raw->fsname : options->source);
	options->name = g_strdup(raw->name);
	options->vms = g_strdup(raw->vm);
	options->strict = raw->strict;
	options->foreground = raw->foreground;
	options->debug = raw->debug;
	options->fake = raw->fake;
	options->allow_other = raw->allow_other;
	return take_settings(options, raw, error) &&
		check_combination(options, raw, error) &&
		take_ids(options, raw, error) &&
		take_number("max_read", raw->max_read, MAX_READ_MIN,
			G_MAXUINT32, 1, &options->max_read, error) &&
		take_mountpoint(options, raw->words->pdata[1], error) &&
		check_hidden(options, error);
}

/* What libfuse has to know beyond what the user said. */
static void add_fuse_options(Options *options, const Raw *raw)
{
	char *list = NULL;
	g_autofree char *fsname = g_strconcat("fsname=", options->source,
		NULL);

	fuse_opt_add_opt(&list, "subtype=fleecefs");
	if (!raw->fsname)
		fuse_opt_add_opt_escaped(&list, fsname);
	/* let the kernel keep everybody to the modes that we show */
	if (raw->allow_other)
		fuse_opt_add_opt(&list, "allow_other,default_permissions");
	if (raw->ro)
		fuse_opt_add_opt(&list, "ro");
	if (options->max_read) {
		g_autofree char *max_read = g_strdup_printf("max_read=%u",
			options->max_read);

		fuse_opt_add_opt(&list, max_read);
	}
	fuse_opt_add_arg(&options->fuse, "-o");
	fuse_opt_add_arg(&options->fuse, list);
	free(list);
}

static void raw_clear(Raw *raw)
{
	char *texts[] = { raw->name, raw->vm, raw->disk, raw->snapshot,
		raw->scratch, raw->method, raw->cbw_timeout, raw->timeout,
		raw->read_timeout, raw->connections, raw->uid, raw->gid,
		raw->umask, raw->max_read, raw->chain, raw->since,
		raw->fallback, raw->keep, raw->view, raw->scratch_limit,
		raw->scratch_reserve,
		raw->freeze, raw->agent, raw->via, raw->bitmap, raw->tls,
		raw->tls_certificates, raw->tls_psk, raw->server,
		raw->ports };

	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		free(texts[i]);
	g_free(raw->fsname);
	g_free(raw->unknown);
	g_ptr_array_unref(raw->words);
}

static void print_and_exit(const Raw *raw)
{
	if (raw->help)
		fputs(usage, stdout);
	else
		puts("fleecefs " FLEECEFS_VERSION);
	exit(0);
}

bool options_parse(Options *options, int argc, char **argv, GError **error)
{
	g_autofree char *program = g_path_get_basename(argv[0]);
	Raw raw = { .words = g_ptr_array_new_with_free_func(g_free) };
	bool parsed;

	*options = (Options){ .settings = settings_new() };
	raw.helper = g_str_has_prefix(program, "mount.");
	options->fuse = (struct fuse_args)FUSE_ARGS_INIT(argc, argv);
	parsed = fuse_opt_parse(&options->fuse, &raw, table, take_option) == 0;
	if (raw.help || raw.version)
		print_and_exit(&raw);
	if (!parsed)
		fleece_set_error(error, EINVAL, "the command line is broken: "
			"see fleecefs --help");
	parsed = parsed && take_raw(options, &raw, error);
	if (parsed)
		add_fuse_options(options, &raw);
	raw_clear(&raw);
	return parsed;
}

void options_clear(Options *options)
{
	g_free(options->source);
	g_free(options->fsname);
	free(options->mountpoint);
	g_free(options->name);
	g_free(options->vms);
	settings_free(options->settings);
	fuse_opt_free_args(&options->fuse);
}
