from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps2daemon.census.stream import StreamSettings
from ps2daemon.secret import HIDDEN, Secret, hush, redact, service_name

HIDDEN_ID = "Xy7secretZ"


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(HIDDEN_ID)
    settings = StreamSettings(url="ws://x/", environment="ps2", service_id=secret, worlds=(1,))
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret:>20}",
        f"{[secret]}",
        repr(settings),
    ]
    assert not [text for text in shown if HIDDEN_ID in text]
    assert secret.reveal() == HIDDEN_ID


def test_a_secret_is_in_no_traceback() -> None:
    secret = Secret(HIDDEN_ID)
    try:
        assert secret.reveal() == "", secret
    except AssertionError as error:
        captured = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert "secret = Secret('***')" in "".join(captured.format())


@pytest.mark.parametrize("store", [pickle.dumps, copy.deepcopy, json.dumps, msgspec.json.encode, vars])
def test_a_secret_is_not_stored(store: object) -> None:
    assert callable(store)
    with pytest.raises(TypeError):
        store(Secret(HIDDEN_ID))


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


@pytest.mark.parametrize(
    ("given_id", "name"),
    [
        ("abc", "s:abc"),
        ("s:abc", "s:abc"),
        (" abc\n", "s:abc"),
        ("a/b?c d", "s:a%2Fb%3Fc%20d"),
        ("s:ä", "s:%C3%A4"),
    ],
)
def test_a_service_id_is_named_with_its_prefix_and_quoted(given_id: str, name: str) -> None:
    assert service_name(Secret(given_id)) == name


NO_STARS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=HIDDEN), min_size=1)


@given(value=NO_STARS, around=st.text(max_size=5))
def test_redacted_text_has_no_form_of_the_secret(value: str, around: str) -> None:
    secret = Secret(value)
    name = service_name(secret)
    for form in {value.strip(), name.removeprefix("s:")} - {"", "s:"}:
        assert form not in redact(f"GET /{form}/get{around}", secret)


def test_text_without_the_secret_stays() -> None:
    assert redact("nothing here", Secret("abc")) == "nothing here"
    assert redact("nothing here", Secret("")) == "nothing here"
    assert redact("nothing here", Secret("s:")) == "nothing here"


def test_hushed_loggers_say_nothing_below_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    hush("tests.hushed")
    hush("tests.hushed")
    logger = logging.getLogger("tests.hushed")
    caplog.set_level(logging.DEBUG, logger=logger.name)
    logger.debug("url")
    logger.info("url")
    logger.warning("trouble")
    assert caplog.messages == ["trouble"]
    assert len(logger.filters) == 1
