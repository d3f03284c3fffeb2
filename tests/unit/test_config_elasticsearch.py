"""The configuration of a store in Elasticsearch: its addresses, who asks, whom it trusts, and that no message tells a secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from elastic_transport import HttpxAsyncHttpNode

from ps2daemon.config import ElasticsearchSettings, load_settings
from ps2daemon.errors import ConfigError
from ps2daemon.settings_keys import KEYS
from ps2daemon.store.elasticsearch.server import _client
from tests.unit.configurations import SECRET, load, refusal

KIND = '[store]\nkind = "elasticsearch"\n'
USER = KIND + 'username = "elastic"\n'
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBNDCB56ADAgECAhR0TD+skWN07s8f0JVZyg6dj5WB0jAFBgMrZXAwDzENMAsG
A1UEAwwEdGVzdDAgFw0yNjExMjUxMzI0MjFaGA8yMTI2MTEwMTEzMjQyMVowDzEN
MAsGA1UEAwwEdGVzdDAqMAUGAytlcAMhAMORcDjLCNBL863vbx0S1TCwX5bYUw9a
KFBfsTU5RjSao1MwUTAdBgNVHQ4EFgQUufsIdN8TeEFk8jfSTF5Adwe2c6swHwYD
VR0jBBgwFoAUufsIdN8TeEFk8jfSTF5Adwe2c6swDwYDVR0TAQH/BAUwAwEB/zAF
BgMrZXADQQD439jrscy3V7zuhOZg1ZHNB9omt5MXeE4rr56wJfTdZHmFbFthMSik
lb9ZlXMOuWd5EskSIwmRKOqbHLePnE4J
-----END CERTIFICATE-----
"""
"""Of "test", by itself."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text(f"{SECRET}\n")
    (tmp_path / "api-key").write_text(f"{SECRET}==\n")
    (tmp_path / "ca.crt").write_text(CERTIFICATE)
    (tmp_path / "credentials").mkdir()
    return tmp_path


def elasticsearch(folder: Path, text: str, **environ: str) -> ElasticsearchSettings:
    return load(folder, text, **environ).store.elasticsearch


def secret(key: str, folder: Path, text: str, **environ: str) -> str | None:
    found = getattr(elasticsearch(folder, text, **environ), key)
    return None if found is None else str(found.reveal())


# Keys


def test_every_key_is_read_from_the_file(folder: Path) -> None:
    settings = load(
        folder,
        f"""
        [store]
        kind = "elasticsearch"
        url = ["https://es1:9200", "https://es2:9200/es"]
        index_prefix = "x"
        username = "Jörg, the 2nd"
        password = "{SECRET}"
        ca_file = "ca.crt"
        replicas = 2
        timeout_seconds = 7
        """,
    )
    assert settings.store.kind == "elasticsearch"
    found = settings.store.elasticsearch
    assert found.urls == ("https://es1:9200", "https://es2:9200/es")
    assert (found.index_prefix, found.replicas, found.timeout_seconds) == ("x", 2, 7.0)
    assert found.username == "Jörg, the 2nd"
    assert found.password is not None
    assert found.password.reveal() == SECRET
    assert found.api_key is None
    assert found.ca_file == folder / "ca.crt"


def test_defaults(folder: Path) -> None:
    assert elasticsearch(folder, KIND) == ElasticsearchSettings(urls=("http://127.0.0.1:9200",))


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("URL", "https://a:1", "urls", ("https://a:1",)),
        ("URL", "https://a:1, https://b:2", "urls", ("https://a:1", "https://b:2")),
        ("INDEX_PREFIX", "eu", "index_prefix", "eu"),
        ("REPLICAS", "3", "replicas", 3),
        ("TIMEOUT_SECONDS", "0.5", "timeout_seconds", 0.5),
        ("CA_FILE", "ca.crt", "ca_file", Path("ca.crt")),
    ],
)
def test_the_environment_goes_before_the_file(
    folder: Path, variable: str, text: str, key: str, value: object
) -> None:
    in_file = (
        KIND + "url = 'http://h'\nindex_prefix = 'a'\nreplicas = 1\ntimeout_seconds = 1\nca_file = 'x'\n"
    )
    found = elasticsearch(
        folder, in_file, **{"PS2DAEMON_STORE_CA_FILE": "ca.crt", f"PS2DAEMON_STORE_{variable}": text}
    )
    assert getattr(found, key) == (folder / value if isinstance(value, Path) else value)


def test_the_lines_of_the_example_that_are_commented_out_are_right(root: Path, folder: Path) -> None:
    lines = re.findall(r"^# ([a-z_]+) = (.*)$", (root / "config.example.toml").read_text(), re.MULTILINE)
    keys = dict(lines)
    assert set(keys) == set(KEYS["store"]) - {"kind", "path", "password", "api_key"}
    by_default = {key: text for key, text in keys.items() if KEYS["store"][key].default is not None}
    text = "\n".join(f"{key} = {value}" for key, value in by_default.items())
    assert elasticsearch(folder, KIND + text) == elasticsearch(folder, KIND)
    (folder / "elasticsearch-password").write_text(SECRET)
    (folder / "elasticsearch-api-key").write_text(SECRET)
    (folder / "http_ca.crt").write_text(CERTIFICATE)
    who = [f"{key} = {keys[key]}" for key in ("ca_file", "username", "password_file")]
    assert secret("password", folder, KIND + "\n".join(who)) == SECRET
    assert secret("api_key", folder, KIND + f"api_key_file = {keys['api_key_file']}") == SECRET


def test_an_address_is_taken_as_the_client_will_take_it(folder: Path) -> None:
    assert elasticsearch(folder, KIND + 'url = "HTTPS://es:9200"\n').urls == ("https://es:9200",)


@pytest.mark.parametrize("url", ["http://[::1]:9201", "http://127.0.0.1:9200", "http://es:9200/path"])
async def test_the_client_asks_at_the_address_that_is_given(folder: Path, url: str) -> None:
    client = _client(elasticsearch(folder, KIND + f'url = "{url}"\n'))
    [node] = client.transport.node_pool.all()
    assert isinstance(node, HttpxAsyncHttpNode)
    assert str(node.client.base_url).rstrip("/") == url
    await client.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("url = []\n", ["store.url", "[]", "http:// or https://", "a list of such addresses"]),
        ("url = 9200\n", ["store.url", "the value is not accepted; "]),
        ("url = ['http://a', 5]\n", ["store.url", "the value is not accepted; "]),
        ("url = ['http://a', 'es2:9200']\n", ["store.url", "'es2:9200'"]),
        ("url = 'http://a, http://b'\n", ["store.url", "'http://a, http://b'"]),
        ("url = ['http://a', 'HTTP://a']\n", ["store.url", "twice"]),
        ("url = 'http://a/?pretty'\n", ["store.url", "the value", "a query does not belong into it"]),
        ("username = ''\n", ["store.username", "''", "a user's name"]),
        ("replicas = 11\n", ["store.replicas", "11", "a number of copies from 0 to 10"]),
        ("replicas = -1\n", ["store.replicas", "-1"]),
        ("replicas = true\n", ["store.replicas", "True"]),
        ("timeout_seconds = 0\n", ["store.timeout_seconds", "0", "above 0"]),
        ("timeout_seconds = 3601\n", ["store.timeout_seconds", "3601", "up to 3600"]),
        ("ca_file = 5\n", ["store.ca_file", "5", "certificates in PEM"]),
        ("pasword_file = 'x'\n", ["store.pasword_file", "did you mean password_file?"]),
    ],
)
def test_what_is_wrong_is_named_in_one_line(folder: Path, text: str, words: list[str]) -> None:
    message = refusal(folder, KIND + text)
    assert all(word in message for word in words), message
    assert str(folder / "config.toml") in message


# Secrets


@pytest.mark.parametrize(("key", "text"), [("password", USER), ("api_key", KIND)])
def test_where_a_secret_comes_from(folder: Path, key: str, text: str) -> None:
    credentials = folder / "credentials"
    unit = {"CREDENTIALS_DIRECTORY": str(credentials)}
    in_file = text + f'{key}_file = "fromfile"\n'
    variable = f"PS2DAEMON_STORE_{key.upper()}"
    (folder / "fromfile").write_text("fromfile\n")
    (folder / "fromother").write_text("fromother")
    assert secret(key, folder, KIND) is None
    assert secret(key, folder, text + f'{key} = "fromtext"\n') == "fromtext"
    assert secret(key, folder, in_file) == "fromfile"
    assert secret(key, folder, in_file, **unit) == "fromfile"
    (credentials / f"elasticsearch-{key.replace('_', '-')}").write_text("fromsystemd\n")
    assert secret(key, folder, in_file, **unit) == "fromsystemd"
    assert secret(key, folder, text, **unit) == "fromsystemd"
    assert secret(key, folder, in_file, **unit, **{variable: "fromenvironment"}) == "fromenvironment"
    assert secret(key, folder, in_file, **unit, **{f"{variable}_FILE": "fromother"}) == "fromother"


@pytest.mark.parametrize(
    ("key", "content", "value"),
    [
        ("password", b" with blanks \n", " with blanks "),
        ("password", b"s:kept\r\n", "s:kept"),
        ("password", "gr\u00fc\u00df\U0001f511".encode(), "gr\u00fc\u00df\U0001f511"),
        ("password", ("\U0001f511" * 1024).encode() + b"\r\n", "\U0001f511" * 1024),
        ("api_key", b" VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw==\n",
         "VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw=="),
        ("api_key", b"essu_a-b_c", "essu_a-b_c"),
    ],
)  # fmt: skip
def test_what_a_file_holds_is_taken_without_its_line_end(
    folder: Path, key: str, content: bytes, value: str
) -> None:
    (folder / "secret").write_bytes(content)
    text = USER if key == "password" else KIND
    assert secret(key, folder, text + f'{key}_file = "secret"\n') == value


@pytest.mark.parametrize(
    ("key", "content", "words"),
    [
        ("password", b"", "holds no password; accepted is one line"),
        ("password", b"\n", "holds no password"),
        ("password", SECRET.encode() + b"\nsecond\n", "holds no password"),
        ("password", SECRET.encode() + b"\xff", "holds no password"),
        ("password", SECRET.encode() * 74, "holds no password"),
        ("password", SECRET.encode() * 1000, "holds no password"),
        ("password", ("\U0001f511" * 1024).encode() + b"\r\nx", "holds no password"),
        ("api_key", b"", "holds no API key; accepted is what the server calls"),
        ("api_key", b"id:" + SECRET.encode(), "holds no API key"),
        ("api_key", b"ApiKey " + SECRET.encode(), "holds no API key"),
    ],
)
def test_what_is_no_secret_is_refused_without_showing_it(
    folder: Path, key: str, content: bytes, words: str
) -> None:
    (folder / "secret").write_bytes(content)
    message = refusal(folder, USER + f'{key}_file = "secret"\n')
    assert f"store.{key}_file in " in message
    assert str(folder / "secret") in message
    assert words in message


@pytest.mark.parametrize("key", ["password", "api_key"])
def test_a_file_that_can_not_be_read(folder: Path, key: str) -> None:
    message = refusal(folder, USER + f'{key}_file = "none"\n')
    assert re.search(
        rf"store\.{key}_file in .*: can't read {re.escape(str(folder / 'none'))}: No such file", message
    )
    assert "holds the" in message
    (folder / "credentials" / "elasticsearch-password").mkdir()
    message = refusal(folder, USER, CREDENTIALS_DIRECTORY=str(folder / "credentials"))
    assert message.startswith("systemd's credential 'elasticsearch-password': can't read ")
    assert "Is a directory" in message


def test_a_secret_is_in_no_message_and_in_no_repr(folder: Path) -> None:
    for key in ("password", "api_key"):
        twice = refusal(folder, KIND + f'{key} = "{SECRET}"\n{key}_file = "password"\n')
        assert f"there is a {key}_file too; give one of the two" in twice
        assert "the value is not accepted" in refusal(folder, KIND + f'{key} = ["{SECRET}"]\n')
        assert f"PS2DAEMON_STORE_{key.upper()} in the environment: " in refusal(
            folder, KIND, **{f"PS2DAEMON_STORE_{key.upper()}": f"{SECRET}\x7f"}
        )
    assert "the value is not accepted" in refusal(folder, KIND + f'username = "elastic:{SECRET}"\n')
    url = f"https://elastic:{SECRET}@es:9200"
    for text in (f'url = "{url}"\n', f'url = ["https://es1:9200", "{url}"]\n'):
        assert "the value is not accepted (a secret does not belong into it)" in refusal(folder, KIND + text)
    message = refusal(folder, KIND, PS2DAEMON_STORE_URL=f"https://es1:9200,{url}")
    assert "the value is not accepted (a secret does not belong into it)" in message
    settings = load(folder, USER + f'password = "{SECRET}"\n')
    assert SECRET not in repr(settings)


def test_what_logs_must_not_show(folder: Path) -> None:
    assert load(folder, KIND).secrets == ()
    text = USER + 'password = "fromtext"\n[census]\nservice_id = "s:example"\n'
    assert [each.reveal() for each in load(folder, text).secrets] == ["example", "fromtext"]
    assert [each.reveal() for each in load(folder, KIND + 'api_key = "k"\n').secrets] == ["k"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("username = 'u'\n", ["store.username in ", "no password to it", "store.password_file",
                              "PS2DAEMON_STORE_PASSWORD", "'elasticsearch-password'"]),
        ("password_file = 'password'\n", ["store.password_file in ", "no username to it; give store.username"]),
        (f"password = '{SECRET}'\n", ["store.password in ", "no username to it; give store.username"]),
        ("username = 'u'\napi_key_file = 'api-key'\n",
         ["store.username in ", "an API key too (store.api_key_file in ", "or an API key"]),
        (f"username = 'u'\npassword = '{SECRET}'\napi_key = '{SECRET}'\n",
         ["store.username in ", "an API key too (store.api_key in "]),
        (f"password_file = 'password'\napi_key = '{SECRET}'\n",
         ["store.password_file in ", "an API key too (store.api_key in "]),
    ],
)  # fmt: skip
def test_a_user_has_a_password_and_an_api_key_stands_alone(folder: Path, text: str, words: list[str]) -> None:
    message = refusal(folder, KIND + text)
    assert all(word in message for word in words), message


def test_half_of_it_may_come_from_elsewhere(folder: Path) -> None:
    text = KIND + 'password_file = "password"\n'
    found = elasticsearch(folder, text, PS2DAEMON_STORE_USERNAME="u")
    assert found.username == "u"
    message = refusal(folder, KIND + "username = 'u'\n", PS2DAEMON_STORE_API_KEY=SECRET)
    assert "(PS2DAEMON_STORE_API_KEY in the environment)" in message


def test_who_only_reads_needs_the_password_and_no_service_id(folder: Path) -> None:
    path = folder / "config.toml"
    path.write_text('[census]\nservice_id_file = "none"\n' + USER + 'password_file = "password"\n')
    settings = load_settings(path, {}, secret=False)
    assert settings.census.service_id is None
    assert settings.store.elasticsearch.password is not None
    assert settings.store.elasticsearch.password.reveal() == SECRET
    (folder / "password").unlink()
    with pytest.raises(ConfigError, match=r"store\.password_file"):
        load_settings(path, {}, secret=False)


def test_another_store_reads_none_of_it(folder: Path) -> None:
    text = """
        [store]
        kind = "sqlite"
        username = "u"
        password = "p"
        password_file = "none"
        api_key_file = "none"
        ca_file = "none"
        """
    (folder / "credentials" / "elasticsearch-api-key").write_text(SECRET)
    settings = load(folder, text, CREDENTIALS_DIRECTORY=str(folder / "credentials"))
    assert settings.store.elasticsearch.password is None
    assert settings.store.elasticsearch.api_key is None


# Certificates


def test_the_certificates_are_looked_at(folder: Path) -> None:
    assert elasticsearch(folder, KIND + "ca_file = 'ca.crt'\n").ca_file == folder / "ca.crt"
    accepted = "accepted is a readable file of certificates in PEM"
    missing = refusal(folder, KIND + "ca_file = 'none'\n")
    assert "store.ca_file in " in missing
    assert f"can't read {folder / 'none'}: No such file or directory; {accepted}" in missing
    assert "Is a directory" in refusal(folder, KIND + "ca_file = 'credentials'\n")


@pytest.mark.parametrize(
    "content", ["", "no certificate\n", CERTIFICATE.replace("A", "!"), CERTIFICATE.replace("CERTIFICATE", "PRIVATE KEY")]
)  # fmt: skip
def test_a_file_without_certificates(folder: Path, content: str) -> None:
    (folder / "ca.crt").write_text(content)
    message = refusal(folder, KIND, PS2DAEMON_STORE_CA_FILE="ca.crt")
    assert message == (
        f"PS2DAEMON_STORE_CA_FILE in the environment: {folder / 'ca.crt'} holds no certificate; accepted is a readable file of"
        " certificates in PEM"
    )
