"""How one setting is read: strictly, with every fault told, and no secret."""

import traceback
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.webhooks.target import Targets
from config.settings import (
    Setting,
    Settings,
    SettingsError,
    as_host_name,
    boolean,
    choice,
    host_name,
    integer,
    names,
    optional_text,
    pairs,
    quotas,
    seconds,
    text,
    url,
    url_prefixes,
    word,
)

DATABASES = url("sqlite", "postgresql+psycopg")


class Example(Settings):
    COUNT = Setting(integer(1, 9), 3, "a count")
    FLAG = Setting(boolean, False, "a flag")
    LEVEL = Setting(choice("INFO", "ERROR"), "INFO", "a level")
    NAME = Setting(optional_text, None, "a name")
    KEY = Setting(integer(1, 9), 3, "a secret", secret=True)
    PLACE = Setting(url("sqlite"), "", "a secret URL", secret=True)


class Checked(Settings):
    LOW = Setting(integer(0, 9), 1, "the lower one")
    HIGH = Setting(integer(0, 9), 2, "the higher one")

    def cross_check(self) -> list[str]:
        return [] if self.LOW <= self.HIGH else ["LOW is above HIGH"]


def faults_of(settings: type[Settings]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        settings()
    return raised.value.faults


@pytest.mark.parametrize("given", ["1", "true", "yes", "on", "TRUE", "Yes", "oN"])
def test_a_boolean_is_true(given: str) -> None:
    assert boolean(given) is True


@pytest.mark.parametrize("given", ["0", "false", "no", "off", "FALSE", "No", "oFF"])
def test_a_boolean_is_false(given: str) -> None:
    assert boolean(given) is False


@pytest.mark.parametrize(
    "given", ["nonsense", "2", "-1", "01", "t", "y", "ok", " 1", "1 ", "true\n", "None"]
)
def test_what_is_no_boolean_is_refused_with_the_words_that_are(given: str) -> None:
    with pytest.raises(ValueError, match="is not one of 1, true, yes, on, 0, false"):
        boolean(given)


@pytest.mark.parametrize(
    ("given", "number"), [("1", 1), ("65535", 65535), ("08080", 8080)]
)
def test_an_integer_is_read(given: str, number: int) -> None:
    assert integer(1, 65535)(given) == number


@pytest.mark.parametrize(
    "given",
    [
        "nonsense",
        " 5",
        "5 ",
        "5\n",
        "\t5",
        "5 000",
        "5_000",
        "5,000",
        "+5",
        "--5",
        "- 5",
        "-",
        "5.0",
        "5.",
        ".5",
        "5e3",
        "0x50",
        "0b1",
        "\u0665",
        "\uff15",
        "5²",
        "\u2164",
        "5\u200b",
        "\u22125",
        "inf",
        "nan",
        "True",
        "9" * 19,
        "9" * 5000,
    ],
)
def test_what_is_no_integer_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="is not an integer"):
        integer(-(10**30), 10**30)(given)


@pytest.mark.parametrize("given", ["0", "65536", "-1", "-65535", "9" * 18])
def test_an_integer_out_of_its_range_is_refused_with_the_range(given: str) -> None:
    with pytest.raises(ValueError, match="is not from 1 to 65535"):
        integer(1, 65535)(given)


@given(st.integers(-20, 120))
def test_every_integer_in_the_range_is_taken_and_no_other(number: int) -> None:
    cast = integer(-10, 100)
    if -10 <= number <= 100:
        assert cast(str(number)) == number
    else:
        with pytest.raises(ValueError, match="from -10 to 100"):
            cast(str(number))


@pytest.mark.parametrize(
    ("given", "number"), [("5", 5.0), ("0.25", 0.25), ("100", 100.0), ("007.50", 7.5)]
)
def test_seconds_are_read(given: str, number: float) -> None:
    read = seconds(0.1, 100)(given)
    assert read == number
    assert isinstance(read, float)


@pytest.mark.parametrize(
    "given",
    [
        "nonsense",
        "5s",
        "5 s",
        " 5",
        "5\n",
        "-5",
        "+5",
        "1e2",
        "1_0",
        "1,5",
        ".5",
        "5.",
        "1.2.3",
        "inf",
        "Infinity",
        "nan",
        "0x5",
        "\u0665",
        "1:30",
    ],
)
def test_what_is_no_number_of_seconds_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="is not a number of seconds"):
        seconds(0, 10**9)(given)


@pytest.mark.parametrize("given", ["0", "0.0999", "100.001", "9" * 400])
def test_seconds_out_of_their_range_are_refused_with_the_range(given: str) -> None:
    with pytest.raises(ValueError, match=r"is not from 0\.1 to 100 seconds"):
        seconds(0.1, 100)(given)


@pytest.mark.parametrize("given", ["INFO", "info", "Info"])
def test_a_choice_is_read_in_any_case(given: str) -> None:
    assert choice("DEBUG", "INFO")(given) == "INFO"


@pytest.mark.parametrize("given", ["loud", "INF", "INFO ", " INFO", "INFO\n", "20"])
def test_what_is_no_choice_is_refused_with_the_choices(given: str) -> None:
    with pytest.raises(ValueError, match="is not one of DEBUG, INFO"):
        choice("DEBUG", "INFO")(given)


@pytest.mark.parametrize(
    "given",
    [
        "sqlite:////var/lib/bellhop/a%20b.db",
        "postgresql+psycopg://bob:p%40ss%2Fword@db.example:5432/bellhop?sslmode=require",
        "postgresql+psycopg://bob@[::1]:5432/bellhop",
        "postgresql+psycopg:///bellhop?host=/run/postgresql",
    ],
)
def test_a_url_is_taken_as_it_is(given: str) -> None:
    assert DATABASES(given) == given


@pytest.mark.parametrize(
    "given",
    [
        "nonsense",
        "/var/lib/bellhop.db",
        "mysql://db.example/bellhop",
        "postgresql://db.example/bellhop",
        "postgres://db.example/bellhop",
        "postgresql+psycopg2://db.example/bellhop",
        "SQLITE:///bellhop.db",
        " sqlite:///bellhop.db",
        "sqlite:bellhop.db",
        "sqlite:/bellhop.db",
        "://bellhop",
    ],
)
def test_a_url_of_another_scheme_is_refused_with_the_schemes(given: str) -> None:
    with pytest.raises(
        ValueError, match=r"with one of sqlite, postgresql\+psycopg and"
    ):
        DATABASES(given)


@pytest.mark.parametrize(
    "host",
    [
        "db.example:port",
        "db.example:65536",
        "[::1",
        "db\u2100.example",
        "hunter2@db.example:hunter2",
    ],
)
def test_what_is_no_url_is_refused_without_a_word_of_it(host: str) -> None:
    given = f"postgresql+psycopg://bob:hunter2@{host}/bellhop"
    with pytest.raises(ValueError, match="is not a URL") as raised:
        DATABASES(given)
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


def test_a_password_that_would_be_cut_short_is_refused() -> None:
    with pytest.raises(ValueError, match="are written as %XX"):
        DATABASES("postgresql+psycopg://bob:hunter#2@db.example/bellhop")


@pytest.mark.parametrize("given", ["a", "A-b_c.d~9", "x" * 500])
def test_a_word_is_taken_as_it_is(given: str) -> None:
    assert word(given) == given


@pytest.mark.parametrize("given", ["a b", "a/b", "a%2F", "a?", "a\n", "é", "a#", " a"])
def test_what_cannot_stand_in_a_path_is_no_word(given: str) -> None:
    with pytest.raises(ValueError, match="is not made of letters, digits and"):
        word(given)


HOST_NAMES = ["pelican", "a", "web-1.example.org", "3f2b_1", "_dmz", "x" * 253]


@pytest.mark.parametrize("given", HOST_NAMES)
def test_a_host_is_called_as_hosts_are(given: str) -> None:
    assert host_name(given) == as_host_name(given) == given


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        *(("rack/7", "rack-7"), ("a b", "a-b"), ("a\n", "a-"), ("büro", "b-ro")),
        *((".", "localhost"), ("..", "localhost"), ("-a", "a"), ("", "localhost")),
        *(("中文", "localhost"), ("x" * 254, "x" * 253), ("%2F", "2F")),
    ],
)
def test_no_host_is_called_what_cannot_stand_in_a_path(
    given: str, cleaned: str
) -> None:
    with pytest.raises(ValueError, match="is not made of up to 253 letters"):
        host_name(given)
    assert host_name(as_host_name(given)) == cleaned


@pytest.mark.parametrize(
    ("given", "prefixes"),
    [
        ("https://hooks.example.com", ("https://hooks.example.com",)),
        ("http://127.0.0.1:9000/", ("http://127.0.0.1:9000/",)),
        ("https://[::1]:8443/a/b", ("https://[::1]:8443/a/b",)),
        ("https://a.test/x, http://b.test", ("https://a.test/x", "http://b.test")),
        (" https://a.test/ https://b.test/ ", ("https://a.test/", "https://b.test/")),
    ],
)
def test_prefixes_of_urls_are_between_commas_or_spaces(
    given: str, prefixes: tuple[str, ...]
) -> None:
    assert url_prefixes(given) == prefixes
    Targets(prefixes)  # takes them as well


@pytest.mark.parametrize(
    "given",
    [
        " , ",
        "hooks.example.com",
        "ftp://x.test/",
        "https://",
        "https:///x",
        "https://u:p@x.test/",
        "https://x.test/?a=b",
        "https://x.test/#a",
        "https://x.test/%2e%2e/",
        "https://x.test/a/../b",
        "https://x.test/a/..",
        "https://x.test/./",
        "https://x.test:0/",
        "https://x.test:99999/",
        "https://[::g]/",
        "https://[1.2.3]/",
        "https://x.test\\a",
        "https://x.test/,nonsense",
    ],
)
def test_a_prefix_that_is_no_url_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="is no http"):
        url_prefixes(given)


@given(st.from_regex(r"https?://[-a-z0-9.:/\[\]]{1,20}", fullmatch=True))
def test_a_prefix_that_is_taken_is_one_that_can_be_told(given: str) -> None:
    try:
        [taken] = url_prefixes(given)
    except ValueError:
        return
    Targets([taken]).check(f"{taken}/x")


def test_names_are_between_commas() -> None:
    assert names("aliyun") == ("aliyun",)
    assert names(" aliyun, huawei ,x") == ("aliyun", "huawei", "x")


@pytest.mark.parametrize("given", [",", "a,", ",a", "a,,b", " ", "a,b,a", "a, a"])
def test_names_that_are_none_or_come_twice_are_refused(given: str) -> None:
    with pytest.raises(ValueError, match="is not names between commas, each once"):
        names(given)


def test_pairs_are_between_commas_and_a_value_may_have_an_equals_sign() -> None:
    assert pairs("a=b") == {"a": "b"}
    assert pairs("a=b, c=d==") == {"a": "b", "c": "d=="}


@pytest.mark.parametrize("given", ["a", "a=", "=b", "a=b,", "a=b,,c=d", ",", "a b"])
def test_what_is_no_pairs_is_refused_without_a_word_of_it(given: str) -> None:
    with pytest.raises(ValueError, match=r"^is not NAME=VALUE between commas$"):
        pairs(given)


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ("5/3600", ((5, 3600.0),)),
        ("5/3600, 20/86400", ((5, 3600.0), (20, 86400.0))),
        ("off", ()),
        ("OFF", ()),
    ],
)
def test_quotas_are_numbers_for_so_many_seconds(
    given: str, limits: tuple[tuple[int, float], ...]
) -> None:
    assert quotas(given) == limits


@pytest.mark.parametrize(
    "given",
    [
        "5",
        "0/60",
        "5/0",
        "-5/60",
        "5/60,",
        ",",
        "5/60;6/70",
        "5/1h",
        "5/0.5",
        "5/60/7",
        "off,5/60",
        "\u0665/60",
        "9999999999/60",
        "none",
    ],
)
def test_what_is_no_quota_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="is not N/SECONDS between commas, nor off"):
        quotas(given)


@given(st.text())
@example("{{NAME}}")
def test_text_is_taken_as_it_is(given: str) -> None:
    assert text(given) == given
    assert optional_text(given) == given


def test_what_is_unset_has_its_default() -> None:
    settings = Example()
    assert (settings.COUNT, settings.FLAG, settings.LEVEL) == (3, False, "INFO")
    assert (settings.NAME, settings.KEY, settings.PLACE) == (None, 3, "")


def test_what_is_empty_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COUNT", "FLAG", "LEVEL", "NAME", "KEY", "PLACE"):
        monkeypatch.setenv(name, "")
    assert vars(Example()) == {
        "COUNT": 3,
        "FLAG": False,
        "LEVEL": "INFO",
        "NAME": None,
        "KEY": 3,
        "PLACE": "",
    }


def test_what_is_set_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNT", "9")
    monkeypatch.setenv("FLAG", "on")
    monkeypatch.setenv("NAME", " bob ")
    settings = Example()
    assert (settings.COUNT, settings.FLAG, settings.NAME) == (9, True, " bob ")


@pytest.mark.parametrize("value", ["{{", "{{NAME}}", "{{OTHER}}", "{{{{x}}hunter2"])
def test_a_value_in_double_braces_is_no_other_variables_name(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER", "of another")
    monkeypatch.setenv("NAME", value)
    assert value == Example().NAME


def test_a_value_equal_to_the_default_is_read_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COUNT", "3")
    assert Example().COUNT == 3


def test_all_faults_are_told_at_once_with_name_and_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COUNT", "a few")
    monkeypatch.setenv("FLAG", "maybe")
    monkeypatch.setenv("LEVEL", "loud")

    faults = faults_of(Example)

    assert [fault.split(" is not")[0] for fault in faults] == [
        "COUNT='a few'",
        "FLAG='maybe'",
        "LEVEL='loud'",
    ]


def test_the_error_itself_has_a_line_for_every_fault() -> None:
    error = SettingsError(["COUNT='a few' is not an integer", "FLAG='maybe' is …"])
    assert str(error).splitlines() == [
        "Bellhop does not start, its settings are faulty:",
        "  COUNT='a few' is not an integer",
        "  FLAG='maybe' is …",
        "Set them right and start it again; docs/settings.md has all of them.",
    ]


def test_a_value_with_control_characters_cannot_forge_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COUNT", "1\n  FLAG='x' is fine\x1b[2J\u2028\x9b")
    (fault,) = faults_of(Example)
    assert len(fault.splitlines()) == 1
    assert fault.isprintable()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEY", "hunter2"),
        ("PLACE", "mysql://bob:hunter2@db.example/bellhop"),
        ("PLACE", "sqlite://bob:hunter2@db.example:hunter2/bellhop"),
        ("PLACE", "sqlite://bob:hunter2@db\u2100.example/bellhop"),
    ],
)
def test_a_secret_is_named_and_its_value_is_not(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        Example()
    (fault,) = raised.value.faults
    assert fault.startswith((f"{name} is not ", f"{name} does not "))
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


def test_settings_are_checked_against_each_other_when_each_is_fine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOW", "5")
    assert faults_of(Checked) == ["LOW is above HIGH"]
    monkeypatch.setenv("HIGH", "x")
    assert faults_of(Checked) == ["HIGH='x' is not an integer"]
    monkeypatch.setenv("HIGH", "6")
    assert Checked().LOW == 5


def test_a_subclass_may_have_another_default_and_keeps_all_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Careful(Example):
        COUNT = Example.COUNT.with_default(1)
        KEY = Example.KEY.with_default(2)

    assert (Careful().COUNT, Example().COUNT) == (1, 3)
    assert (Careful.COUNT.doc, Careful.COUNT.name) == ("a count", "COUNT")
    monkeypatch.setenv("KEY", "hunter2")
    assert faults_of(Careful) == ["KEY is not an integer"]


def test_two_settings_objects_do_not_share_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = Example()
    monkeypatch.setenv("COUNT", "9")
    assert (before.COUNT, Example().COUNT) == (3, 9)


@pytest.mark.parametrize(
    "cast",
    [
        *(integer(1, 9), seconds(1, 9), boolean, choice("a")),
        *(word, host_name, names, pairs, quotas, url_prefixes),
    ],
)
def test_no_cast_takes_nothing(cast: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"is no"):
        cast("")
