"""What makes a note."""

from __future__ import annotations

import pytest

from ps2daemon.model.notes import MAX_TEXT, make_note


def test_the_same_note_has_the_same_id_however_it_is_given() -> None:
    assert make_note(5, (13, 10, 10), " Merge\t") == make_note(5, [10, 13], "Merge")
    others = {
        make_note(at, worlds, text).note_id
        for at, worlds, text in (
            (5, (10,), "a"),
            (6, (10,), "a"),
            (5, (), "a"),
            (5, (10,), "b"),
            (51, (0,), "a"),
        )
    }
    assert len(others) == 5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (" \n", "needs a text"),
        ("x" * (MAX_TEXT + 1), "up to 200 characters, and this one 201"),
        ("one\ntwo", "one line"),
        ("bell\a", "printable"),
    ],
)
def test_a_text_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make_note(0, (), text)


@pytest.mark.parametrize(
    ("about", "worlds", "concerned"),
    [((), (1,), True), ((), (), True), ((1, 10), (10, 40), True), ((1,), (10,), False)],
)
def test_a_note_about_all_worlds_concerns_each(
    about: tuple[int, ...], worlds: tuple[int, ...], concerned: bool
) -> None:
    assert make_note(0, about, "x").concerns(worlds) is concerned
