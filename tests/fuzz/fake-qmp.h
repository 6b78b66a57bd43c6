/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake-qmp.h - a QmpClient without a socket
 *
 * Takes the place of qmp/qmp-client.c when a target is linked: the replies
 * are the messages in the fuzzer's bytes, one for each command, in order.
 * Where there are none left, the connection is closed.  Its time limit is 0:
 * what waits for QEMU looks once.
 */
#pragma once

#include <json-c/json.h>

#include "fuzz.h"
#include "qmp-client.h"

/* Told of every command that is sent; arguments may be NULL. */
typedef void FakeQmpWatch(const char *command, json_object *arguments);

QmpClient *fake_qmp_new(FuzzInput in, FakeQmpWatch *watch);
