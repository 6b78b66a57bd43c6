/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * undo-script.h - the commands of an undo list and QEMU's answers to them
 *
 * Steps for scripted-qmp.h, under short names.
 */
#pragma once

#include "scripted-qmp.h"

#define DONE RETURN("{}")
#define NONE RETURN("[]")
#define NO(desc) REFUSE("GenericError", desc)

/* --- commands and what they are answered with --- */

#define CONT { "cont", NULL, DONE }
#define DEL(node, reply)                                                       \
	{ "blockdev-del", "{\"node-name\": \"" node "\"}", reply }
#define NODES(reply) { "query-named-block-nodes", "{\"flat\": true}", reply }
#define NODE(name)                                                             \
	"{\"node-name\": \"" name "\", \"drv\": \"raw\", \"ro\": false}"
#define FILE_NODE(driver, name)                                                \
	"{\"node-name\": \"" name "\", \"drv\": \"" driver "\", "              \
	"\"ro\": false, \"file\": \"/dev/fdset/3\"}"
#define TEAR_DOWN(reply)                                                       \
	{ "backup-access-teardown", "{\"target-id\": \"fleecefs-me\", "        \
	  "\"success\": false}", reply }
#define EXPORT_DEL(id, reply)                                                  \
	{ "block-export-del",                                                  \
	  "{\"id\": \"" id "\", \"mode\": \"hard\"}", reply }
#define EXPORTS(reply) { "query-block-exports", NULL, reply }
#define EXPORT(id)                                                             \
	"{\"id\": \"" id "\", \"type\": \"nbd\", \"node-name\": \"n\", "       \
	"\"shutting-down\": false}"
#define CLOSEFD(name, reply) { "closefd", "{\"fdname\": \"" name "\"}", reply }
#define SERVER_STOP(reply) { "nbd-server-stop", NULL, reply }
#define CANCEL(job, reply)                                                     \
	{ "block-job-cancel", "{\"device\": \"" job "\", \"force\": true}",    \
	  reply }
#define JOBS(reply) { "query-jobs", NULL, reply }
#define FDSETS(reply) { "query-fdsets", NULL, reply }
#define OBJECTS(reply) { "qom-list", "{\"path\": \"/objects\"}", reply }
#define OWNER_LISTED                                                           \
	RETURN("[{\"name\": \"fleecefs-owner\", \"type\": \"child<x>\"}]")
#define IDENTITY(session)                                                      \
	{ "qom-get", NULL, RETURN("\"boot=b;pid=1;session=" session            \
	  ";state=live\"") }
#define OBJECT_DEL { "object-del", "{\"id\": \"fleecefs-owner\"}", DONE }
#define OWNER_STAYS OBJECTS(OWNER_LISTED), IDENTITY("me")
#define OWNER_GOES OBJECTS(OWNER_LISTED), IDENTITY("me"), OBJECT_DEL

/* The device vd0 has node as its root. */
#define BLOCKS(node)                                                           \
	{ "query-block", NULL, RETURN("[{\"device\": \"\", "                   \
	  "\"removable\": false, \"qdev\": \"/machine/peripheral/vd0/x\", "    \
	  "\"inserted\": {\"node-name\": \"" node "\", \"drv\": \"raw\", "     \
	  "\"ro\": false, \"image\": {\"virtual-size\": 512}}}]") }
#define GRAPH(reply) { "x-debug-query-block-graph", NULL, reply }
#define VERTEX(id, name)                                                       \
	"{\"id\": " id ", \"type\": \"block-driver\", \"name\": \"" name "\"}"
#define CHILD_IS(child)                                                        \
	GRAPH(RETURN("{\"nodes\": [" VERTEX("1", "filter") ", "                \
	  VERTEX("2", child) "], \"edges\": [{\"parent\": 1, \"child\": 2, "   \
	  "\"name\": \"file\", \"perm\": [], \"shared-perm\": []}]}"))
#define NO_CHILD GRAPH(RETURN("{\"nodes\": [], \"edges\": []}"))
#define SET_DRIVE(node, reply)                                                 \
	{ "qom-set", "{\"path\": \"/machine/peripheral/vd0/x\", "              \
	  "\"property\": \"drive\", \"value\": \"" node "\"}", reply }
