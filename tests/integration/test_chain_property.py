# SPDX-License-Identifier: GPL-2.0-or-later
"""Increments never miss a block, whatever happens.

Rounds of chain_rounds.py, by a seed.  What steers them:

* FLEECEFS_TEST_ROUNDS: how many in all (208)
* FLEECEFS_TEST_SEED: another one (1); a failure says which it had, and with
  it the same choices are made, though threads may meet at other moments
"""

import os
import random

import pytest

import chain
import chain_model
import chain_rounds
import chain_world

ROUNDS = int(os.environ.get("FLEECEFS_TEST_ROUNDS", "208"))
SEED = os.environ.get("FLEECEFS_TEST_SEED", "1")
# A world ages: after so many rounds there is a new one.
ROUNDS_IN_WORLD = 13
# Until chance must have met what a control is about.
ENOUGH = 100
KINDS = [(method, living) for method in ("filter", "job")
         for living in (False, True)]
WORLDS = -(-ROUNDS // (len(KINDS) * ROUNDS_IN_WORLD))


@pytest.mark.parametrize("number", range(WORLDS))
@pytest.mark.parametrize("method, living", KINDS, ids=[
    f"{method}-{'living' if living else 'idle'}" for method, living in KINDS])
def test_increments_never_miss_a_block(tmp, qemu, fleecefs, method, living,
                                       number):
    seed = f"{SEED}-{method}-{living}-{number}"
    rng = random.Random(seed)
    iothread = method == "filter" and rng.random() < 0.3
    with chain_world.World(tmp, rng, living, iothread) as world:
        with chain_rounds.Rounds(world, method) as rounds:
            play(rounds, seed)
    print(seed, rounds.done)        # seen with -s
    assert rounds.done["full"], rounds.done


def play(rounds, seed, count=ROUNDS_IN_WORLD):
    """All rounds of a world; a failure tells its story."""
    try:
        for _ in range(count):
            rounds.round()
    except BaseException as error:
        story = "\n".join(rounds.steps)
        if rounds.last:
            story += "\n" + rounds.last.mount.report()
        error.add_note(f"FLEECEFS_TEST_SEED={SEED} ({seed})\n{story}")
        raise


@pytest.fixture
def idle(tmp, qemu, fleecefs):
    """The rounds of a small world, to be disturbed."""
    with chain_world.World(tmp, random.Random("control"), False,
                           False) as world:
        with chain_rounds.Rounds(world, "filter") as rounds:
            yield rounds


def rounds_until(rounds, words):
    """Rounds until the checker says these words, which it has to."""
    with pytest.raises(AssertionError, match=words):
        play(rounds, "control", ENOUGH)


def test_the_checker_sees_a_block_that_was_missed(idle, monkeypatch):
    whole = chain.apply

    def all_but_one(ranges, source, copy, size):
        few = ranges if ranges == [(0, size)] else ranges[1:]
        whole(few, source, copy, size)

    monkeypatch.setattr(chain, "apply", all_but_one)
    rounds_until(idle, "missed")


def test_the_checker_sees_a_block_that_is_clean(idle, monkeypatch):
    monkeypatch.setattr(chain_model.Model, "touch", lambda *_: None)
    rounds_until(idle, "clean, but dirty")


def test_the_checker_sees_what_somebody_does_to_other_bitmaps(
        idle, monkeypatch):
    check = chain_rounds.Rounds.check

    def remove_and_check(rounds):
        disk = rounds.model.plugged()[0]
        rounds.world.vm.execute("block-dirty-bitmap-remove", {
            "node": disk.node, "name": "user"})
        check(rounds)

    monkeypatch.setattr(chain_rounds.Rounds, "check", remove_and_check)
    rounds_until(idle, "user")


def test_the_checker_sees_a_forgotten_commit(idle, monkeypatch):
    """A checkpoint that should be there, and another reason than foretold."""
    monkeypatch.setattr(chain_rounds.Night, "commit", lambda *_: None)
    rounds_until(idle, "DiskModel|reason")
