"""The configuration: what is read, what goes before what, and that every error names the key, the value and what is accepted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ps2daemon.config import Settings, configured, load_settings, service_id_for
from ps2daemon.errors import ConfigError
from ps2daemon.settings_keys import KEYS
from tests.unit.configurations import SECRET, load, refusal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "service-id").write_text(f"s:{SECRET}\n")
    return tmp_path


def test_the_example_says_the_defaults(root: Path, folder: Path) -> None:
    example = load(folder, (root / "config.example.toml").read_text())
    bare = load(folder, '[census]\nservice_id_file = "service-id"\n')
    assert example == bare
    assert example.streams[0].worlds == (1, 10, 19, 40)
    assert example.census.service_id is not None
    assert example.census.service_id.reveal() == SECRET


def test_the_example_shows_every_key(root: Path) -> None:
    text = (root / "config.example.toml").read_text()
    others = {"brokers", "topic"}  # of a kind that is not there yet
    for section, keys in KEYS.items():
        _, _, below = text.partition(f"[{section}]")
        assert below, section
        shown = re.split(r"^\[", below, flags=re.MULTILINE)[0]
        for key in set(keys) - others:
            assert re.search(rf"\b{key} = ", shown), key


def test_every_key_is_read_from_the_file(folder: Path) -> None:
    settings = load(
        folder,
        f"""
        [census]
        service_id = "s:{SECRET}"
        rest_url = "http://127.0.0.1:1234/census"
        requests_per_minute = 7
        [[stream]]
        url = "ws://127.0.0.1:5/streaming"
        environment = "ps2ps4us"
        worlds = [1000, 1001]
        connections = 2
        verify_seconds = 0.5
        reconnect_seconds = 3
        [[stream]]
        environment = "ps2ps4eu"
        [queue]
        kind = "sqlite"
        directory = "q"
        max_bytes = 2_000_000
        retain = 5
        brokers = ["kafka:9092", "10.0.0.1:9093"]
        topic = "t"
        [store]
        kind = "sqlite"
        path = "/var/lib/x.db"
        url = "https://es:9200"
        index_prefix = "x"
        [web]
        host = "::1"
        port = 0
        metrics_port = 65535
        """,
    )
    assert settings.census.service_id is not None
    assert settings.census.service_id.reveal() == SECRET
    assert (settings.census.rest_url, settings.census.requests_per_minute) == (
        "http://127.0.0.1:1234/census",
        7,
    )
    first, second = settings.streams
    assert (first.url, first.environment, first.worlds) == (
        "ws://127.0.0.1:5/streaming",
        "ps2ps4us",
        (1000, 1001),
    )
    assert (first.connections, first.verify_seconds, first.reconnect_seconds) == (2, 0.5, 3.0)
    assert second.worlds == (2000,)
    queue = settings.queue
    assert (queue.directory, queue.max_bytes, queue.retain) == (folder / "q", 2_000_000, 5)
    assert (queue.brokers, queue.topic) == (("kafka:9092", "10.0.0.1:9093"), "t")
    assert settings.store.path == Path("/var/lib/x.db")
    assert (settings.store.elasticsearch.urls, settings.store.elasticsearch.index_prefix) == (
        ("https://es:9200",),
        "x",
    )
    assert (settings.web.host, settings.web.port, settings.web.metrics_port) == ("::1", 0, 65535)


@pytest.mark.parametrize(
    ("variable", "text", "section", "key", "value"),
    [
        ("CENSUS_REST_URL", "http://127.0.0.1:1", "census", "rest_url", "http://127.0.0.1:1"),
        ("CENSUS_REQUESTS_PER_MINUTE", "12", "census", "requests_per_minute", 12),
        ("QUEUE_MAX_BYTES", "1_073_741_824", "queue", "max_bytes", 1_073_741_824),
        ("QUEUE_DIRECTORY", "/q", "queue", "directory", Path("/q")),
        ("QUEUE_RETAIN", "9", "queue", "retain", 9),
        ("QUEUE_BROKERS", "a:1, b:2", "queue", "brokers", ("a:1", "b:2")),
        ("STORE_PATH", "/s.db", "store", "path", Path("/s.db")),
        ("STORE_KIND", "elasticsearch", "store", "kind", "elasticsearch"),
        ("WEB_HOST", "0.0.0.0", "web", "host", "0.0.0.0"),
        ("WEB_PORT", "0", "web", "port", 0),
        ("WEB_METRICS_PORT", "9000", "web", "metrics_port", 9000),
    ],
)
def test_the_environment_goes_before_the_file(
    folder: Path, variable: str, text: str, section: str, key: str, value: object
) -> None:
    settings = load(folder, "[web]\nport = 1\n[queue]\nretain = 1\n", **{f"PS2DAEMON_{variable}": text})
    assert getattr(getattr(settings, section), key) == value


def test_stream_variables_are_for_the_first_stream(folder: Path) -> None:
    text = "[[stream]]\nworlds = [1]\nconnections = 3\n[[stream]]\nworlds = [10]\n"
    settings = load(folder, text, PS2DAEMON_STREAM_WORLDS="1,10,40", PS2DAEMON_STREAM_URL="ws://localhost:8")
    assert [stream.worlds for stream in settings.streams] == [(1, 10, 40), (10,)]
    assert settings.streams[0].url == "ws://localhost:8"
    assert settings.streams[0].connections == 3
    alone = load_settings(None, {"PS2DAEMON_STREAM_VERIFY_SECONDS": "0.25"})
    assert alone.streams[0].verify_seconds == 0.25


def test_without_a_file_paths_are_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}).queue.directory == tmp_path / "state" / "queue"


def test_a_relative_config_path_gives_absolute_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "config.toml").write_text("")
    monkeypatch.chdir(folder)
    assert load_settings(Path("config.toml"), {}).store.path == folder / "state" / "ps2.db"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[queu]\n", ["queu in ", "unknown section", "did you mean queue?"]),
        ("queue = 1\n", ["queue in ", "[queue]"]),
        ("[stream]\nworlds = [1]\n", ["stream in ", "[[stream]]"]),
        ("[queue]\nmax_byte = 1\n", ["queue.max_byte in ", "unknown key", "did you mean max_bytes?"]),
        ("[queue]\nzzz = 1\n", ["queue.zzz", "accepted are kind, directory"]),
        ("[queue.directory]\nx = 1\n", ["queue.directory", "{'x': 1}", "the path of a folder"]),
        ("[queue]\nmax_bytes = '1 GB'\n", ["queue.max_bytes", "'1 GB'", "a number of bytes from 1048576"]),
        ("[queue]\nmax_bytes = -1\n", ["queue.max_bytes", "-1", "from 1048576"]),
        ("[queue]\nretain = true\n", ["queue.retain", "True", "a number of frames"]),
        ("[queue]\nretain = 1.5\n", ["queue.retain", "1.5"]),
        ("[queue]\nkind = 'redis'\n", ["queue.kind", "'redis'", "'sqlite' or 'kafka'"]),
        ("[queue]\nkind = 'kafka'\n", ["queue.kind", "'kafka'", "not in this version", "'sqlite'"]),
        ("[store]\nkind = 'redis'\n", ["store.kind", "'redis'", "'sqlite' or 'elasticsearch'"]),
        ("[queue]\nbrokers = ['nowhere']\n", ["queue.brokers", "['nowhere']", "host:port"]),
        ("[queue]\nbrokers = ['h:70000']\n", ["queue.brokers", "host:port"]),
        ("[store]\npath = ''\n", ["store.path", "''", "the path of a file"]),
        ("[store]\nindex_prefix = 'PS2'\n", ["store.index_prefix", "'PS2'", "lower-case"]),
        ("[web]\nport = 65536\n", ["web.port", "65536", "a port from 0 to 65535"]),
        ("[web]\nport = -1\n", ["web.port", "-1"]),
        ("[web]\nhost = 'a b'\n", ["web.host", "'a b'"]),
        ("[census]\nrequests_per_minute = 0\n", ["census.requests_per_minute", "0", "from 2"]),
        ("[census]\nrest_url = 'ftp://x'\n", ["census.rest_url", "'ftp://x'", "http:// or https://"]),
        ("[census]\nrest_url = 'https://'\n", ["census.rest_url", "'https://'"]),
        ("[census]\nrest_url = 'https://h:port'\n", ["census.rest_url", "'https://h:port'"]),
        ("[[stream]]\nurl = 'https://x/'\n", ["stream[1].url", "'https://x/'", "ws:// or wss://"]),
        ("[[stream]]\nenvironment = 'pc'\n", ["stream[1].environment", "'pc'", "'ps2'"]),
        ("[[stream]]\nworlds = []\n", ["stream[1].worlds", "[]", "1 to 64 world ids"]),
        ("[[stream]]\nworlds = 10\n", ["stream[1].worlds", "10", "a list"]),
        ("[[stream]]\nworlds = ['10']\n", ["stream[1].worlds", "['10']"]),
        ("[[stream]]\nworlds = [10, 10]\n", ["stream[1].worlds", "twice"]),
        ("[[stream]]\n[[stream]]\nworlds = [10, 99]\n", ["stream[2].worlds", "99", "10 (Wainwright)"]),
        ("[[stream]]\nworlds = [1000]\n", ["stream[1].worlds", "1000", "no world of environment 'ps2'"]),
        ("[[stream]]\nverify_seconds = 0\n", ["stream[1].verify_seconds", "0", "above 0"]),
        ("[[stream]]\nverify_seconds = nan\n", ["stream[1].verify_seconds", "nan"]),
        ("[[stream]]\nreconnect_seconds = '1'\n", ["stream[1].reconnect_seconds", "'1'", "seconds"]),
        ("[[stream]]\nconnections = 17\n", ["stream[1].connections", "17", "from 1 to 16"]),
        ("[queue\n", ["not TOML", "line 1"]),
        ("a = " + "[" * 2_000, ["not TOML"]),
        ("[web]\nport = 0x" + "f" * 2_000, ["web.port", "a port from 0 to 65535"]),
        ("[web]\nport = " + "9" * 1_000, ["web.port", "999..."]),
        ("[[stream]]\nverify_seconds = 0x" + "f" * 500, ["stream[1].verify_seconds", "above 0"]),
        ("[[stream]]\nverify_seconds = inf\n", ["stream[1].verify_seconds", "inf"]),
        ("[store]\npath = '~no-such-user/x'", ["store.path", "no user of this name"]),
        ('"a\\nb" = 1', ["'a\\nb'", "unknown section"]),
        ('[web]\n"p\\u001brt" = 1', ["web.'p\\x1brt'", "unknown key"]),
        ("[web]\n" + "a" * 2_000 + " = 1", ["aaa...", "unknown key"]),
        ("a" + ".a" * 1_100 + " = 1", ["line 1 is longer than"]),
        ("[[stream]]\nurl = 'ws://a..b/'", ["stream[1].url", "'ws://a..b/'"]),
        (f"[[stream]]\nurl = 'ws://{'a' * 64}.b/'", ["stream[1].url"]),
        ("[census]\nrest_url = 'http://[::1]x/'", ["census.rest_url"]),
        ("[census]\nrest_url = 'http://[v1.x]/'", ["census.rest_url"]),
        ("[census]\nrest_url = 'http://xn--a/'", ["census.rest_url"]),
        ("[census]\nrest_url = 'http://127.0.0.300/'", ["census.rest_url"]),
        ("[census]\nrest_url = 'http://a{b}/'", ["census.rest_url"]),
        (f"[census]\nrest_url = 'http://a/{'x' * 2_000}'", ["census.rest_url"]),
        (f"[census]\nrest_url = 'http://a:{'1:' * 500}'", ["census.rest_url", "Port could not be cast"]),
        (f"[web]\nhost = '{'x' * 500}!'\n", ["web.host", "..."]),
    ],
)
def test_what_is_wrong_is_named_in_one_line(folder: Path, text: str, words: list[str]) -> None:
    message = refusal(folder, text)
    assert all(word in message for word in words), message
    assert str(folder / "config.toml") in message or "not in this version" in message or "stream[" in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("PS2DAEMON_WEB_PORT", "http", ["'http'", "a port from 0 to 65535"]),
        ("PS2DAEMON_WEB_PORT", "+80", ["'+80'"]),
        ("PS2DAEMON_WEB_PORT", "", ["''"]),
        ("PS2DAEMON_STREAM_WORLDS", "1;10", ["'1;10'", "world ids"]),
        ("PS2DAEMON_STREAM_WORLDS", "1,77", ["77", "no world of environment"]),
        ("PS2DAEMON_STREAM_VERIFY_SECONDS", "often", ["'often'", "seconds"]),
        ("PS2DAEMON_QUEUE_DIRECTROY", "x", ["unknown key", "did you mean PS2DAEMON_QUEUE_DIRECTORY?"]),
        ("PS2DAEMON_QUUEUE_RETAIN", "1", ["did you mean PS2DAEMON_QUEUE_RETAIN?"]),
        ("PS2DAEMON_STORE_ZZZ", "1", ["unknown key"]),
    ],
)
def test_a_wrong_variable_is_named(folder: Path, variable: str, text: str, words: list[str]) -> None:
    message = refusal(folder, **{variable: text})
    assert message.startswith(f"{variable} in the environment: ")
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1]:80/",
        "http://127.0.0.1",
        "https://census.example.:443/a?b=c",
        "http://a_b",
        "http://xn--mnchen-3ya/",
    ],
)
def test_an_address_that_can_be_looked_up(folder: Path, url: str) -> None:
    assert load(folder, f"[census]\nrest_url = '{url}'\n").census.rest_url == url


def test_variables_of_others_are_left_alone(folder: Path) -> None:
    load(
        folder, "", PS2DAEMON_PORT_8020_TCP="tcp://10.0.0.1:8020", PS2DAEMON_TEST_ELASTICSEARCH="x", HOME="/"
    )


def test_configured_means_that_a_key_is_given() -> None:
    assert configured({"PS2DAEMON_WEB_PORT": "1"})
    assert not configured({"PS2DAEMON_TEST_ELASTICSEARCH": "x", "WEB_PORT": "1", "PS2DAEMON_CONFIG": ""})


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"can't read the configuration .*none\.toml: No such file"
    ) as caught:
        load_settings(tmp_path / "none.toml", {})
    assert "config.example.toml" in str(caught.value)
    with pytest.raises(ConfigError, match="Is a directory"):
        load_settings(tmp_path, {})


def test_a_file_that_is_no_text_or_too_large(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"[web]\nhost = '\xff'\n")
    with pytest.raises(ConfigError, match="byte 14 is not UTF-8"):
        load_settings(path, {})
    path.write_bytes(b"#\n" * 50_000)
    with pytest.raises(ConfigError, match="larger than"):
        load_settings(path, {})


def service_id(settings: Settings) -> str | None:
    secret = settings.census.service_id
    return None if secret is None else secret.reveal()


def test_where_the_service_id_comes_from(folder: Path) -> None:
    credentials = folder / "credentials"
    credentials.mkdir()
    in_file = '[census]\nservice_id_file = "service-id"\n'
    assert service_id(load(folder, "")) is None
    assert service_id(load(folder, in_file)) == SECRET
    assert service_id(load(folder, in_file, CREDENTIALS_DIRECTORY=str(credentials))) == SECRET
    (credentials / "service-id").write_text("fromsystemd")
    assert service_id(load(folder, in_file, CREDENTIALS_DIRECTORY=str(credentials))) == "fromsystemd"
    assert service_id(load(folder, "", CREDENTIALS_DIRECTORY=str(credentials))) == "fromsystemd"
    environ = {"CREDENTIALS_DIRECTORY": str(credentials), "PS2DAEMON_CENSUS_SERVICE_ID": "s:fromenvironment"}
    assert service_id(load(folder, in_file, **environ)) == "fromenvironment"
    (folder / "other").write_text("fromother")
    assert service_id(load(folder, in_file, PS2DAEMON_CENSUS_SERVICE_ID_FILE="other")) == "fromother"


def test_an_unreadable_service_id(folder: Path) -> None:
    message = refusal(folder, '[census]\nservice_id_file = "none"\n')
    assert "census.service_id_file in " in message
    assert str(folder / "none") in message
    assert "No such file" in message
    assert service_id(load(folder, "", CREDENTIALS_DIRECTORY="/x" * 5_000)) is None
    (folder / "folder" / "service-id").mkdir(parents=True)
    assert "Is a directory" in refusal(folder, CREDENTIALS_DIRECTORY=str(folder / "folder"))


@pytest.mark.parametrize(
    "content", ["", "\n", "s:", f"{SECRET} x", f"{SECRET}\n{SECRET}", f"{SECRET}é", SECRET * 50]
)
def test_a_service_id_that_is_none_is_refused_without_showing_it(folder: Path, content: str) -> None:
    (folder / "service-id").write_text(content)
    message = refusal(folder, '[census]\nservice_id_file = "service-id"\n')
    assert "holds no service id" in message
    assert str(folder / "service-id") in message


def test_the_service_id_is_in_no_message_and_in_no_repr(folder: Path) -> None:
    assert "give one of the two" in refusal(
        folder, f'[census]\nservice_id = "{SECRET}"\nservice_id_file = "service-id"\n'
    )
    assert "the value is not accepted" in refusal(folder, f'[census]\nservice_id = ["{SECRET}"]\n')
    assert "holds no service id" in refusal(folder, f'[census]\nservice_id = "{SECRET}/"\n')
    assert "unknown key" in refusal(folder, f'[census]\nservice-id = "{SECRET}"\n')
    for url in (f"wss://x:{SECRET}@h/", f"wss://h/?service-id=s:{SECRET}"):
        assert "a secret does not belong into it" in refusal(folder, f'[[stream]]\nurl = "{url}"\n')
    settings = load(folder, f'[census]\nservice_id = "{SECRET}"\n')
    assert SECRET not in repr(settings)


def test_daybreak_needs_a_service_id_and_others_do_not(folder: Path) -> None:
    without = load(folder, "")
    with pytest.raises(ConfigError, match=r"push\.planetside2\.com answers only to a registered service id"):
        service_id_for(without, "wss://push.planetside2.com/streaming")
    assert service_id_for(without, "ws://127.0.0.1:80/").reveal() == "example"
    given = load(folder, '[census]\nservice_id_file = "service-id"\n')
    assert service_id_for(given, "wss://push.planetside2.com/streaming").reveal() == SECRET
