import socket

import pytest

from app.webhooks.target import TargetRefused, Targets

PREFIXES = [
    "https://hooks.example.com/bellhop/",
    "https://exact.example.com/one",
    "http://127.0.0.1:8080",
]


def resolving(*addresses):
    """Return what finds these addresses for any name."""

    def resolve(host, port, *, type):  # noqa: A002
        return [(0, type, 0, "", (address, port)) for address in addresses]

    return resolve


@pytest.fixture
def targets():
    return Targets(PREFIXES, resolve=resolving("93.184.216.34"))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/bellhop/",
        "https://hooks.example.com/bellhop/a/b?c=d",
        "https://HOOKS.example.com:443/bellhop/x",
        "https://exact.example.com/one",
        "https://exact.example.com/one/more",
        "https://exact.example.com/one?x",
        "http://127.0.0.1:8080/",
        "http://127.0.0.1:8080/anything",
        "http://127.0.0.1:8080",
    ],
)
def test_what_is_below_a_prefix_may_be_told(targets, url):
    assert targets.find(url).addresses


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com/bellhop/",
        "http://hooks.example.com/bellhop/",
        "https://hooks.example.com:8443/bellhop/",
        "https://hooks.example.com/bellhop",
        "https://hooks.example.com/bellhops/",
        "https://hooks.example.com/other/",
        "https://hooks.example.com.evil.com/bellhop/",
        "https://hooks.example.com./bellhop/",
        "https://hooks.example.com@evil.com/bellhop/",
        "https://evil.com/https://hooks.example.com/bellhop/",
        "https://evil.com#@hooks.example.com/bellhop/",
        "https://hooks.example.com/bellhop/../admin",
        "https://hooks.example.com/bellhop/%2e%2e/admin",
        "https://hooks.example.com/bellhop/%252e%252e/admin",
        "https://hooks.example.com/bellhop/..%2fadmin",
        "https://hooks.example.com/bellhop/..%5cadmin",
        "https://hooks.example.com\\bellhop/",
        "https://hooks.example.com/bellhop/ x",
        "https://hooks.example.com/bellhop/\r\nX: y",
        "https://hooks.example.com/bellhop/ü",
        "https://exact.example.com/one2",
        "http://127.0.0.1:8081/",
        "http://127.0.0.1:80800/",
        "http://127.0.0.1:x/",
        "http://127.1:8080/",
        "http://2130706433:8080/",
        "http://0x7f.0.0.1:8080/",
        "http://[::1]:8080/",
        "http://[::ffff:127.0.0.1]:8080/",
        "file:///etc/passwd",
        "gopher://hooks.example.com/bellhop/",
        "https://hooks.example.com/bellhop/" + "x" * 2048,
    ],
)
def test_anything_else_may_not(targets, url):
    with pytest.raises(TargetRefused):
        targets.check(url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "fec0::1",
        "::7f00:1",
    ],
)
def test_a_name_may_not_lead_to_what_is_not_public(address):
    url = "https://hooks.example.com/bellhop/"
    for found in ([address], ["93.184.216.34", address]):
        with pytest.raises(TargetRefused, match="is not public"):
            Targets(PREFIXES, resolve=resolving(*found)).find(url)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"]
)
def test_it_may_lead_to_what_is(address):
    url = "https://hooks.example.com/bellhop/"
    found = Targets(PREFIXES, resolve=resolving(address)).find(url)
    assert (found.host, found.port) == ("hooks.example.com", 443)
    assert found.addresses == [address]


def test_an_address_that_the_operator_has_named_is_not_looked_up():
    def resolve(*_, **__):
        raise AssertionError("it was looked up")

    found = Targets(PREFIXES, resolve=resolve).find("http://127.0.0.1:8080/x")
    assert found.addresses == ["127.0.0.1"]


def test_a_name_that_is_not_found_is_an_error_of_the_moment():
    def resolve(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    with pytest.raises(socket.gaierror):
        Targets(PREFIXES, resolve=resolve).find(PREFIXES[0])


def test_without_prefixes_nothing_may_be_told():
    with pytest.raises(TargetRefused, match="NOTIFY_URL_PREFIXES"):
        Targets([]).check("https://hooks.example.com/")


def test_a_faulty_prefix_is_told():
    with pytest.raises(TargetRefused):
        Targets(["hooks.example.com"])


def test_a_name_that_nobody_can_have_is_refused():
    prefix = f"https://{'a' * 64}.example/"
    with pytest.raises(TargetRefused, match="nobody can have"):
        Targets([prefix]).find(prefix)
