import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.errors import InvalidInput
from app.sms.message import Filled
from app.sms.templates import SmsTemplate, SmsTemplates
from config.config import PROJECT

CAPTCHA = '[templates.captcha]\nparams = ["code"]\ntext = "code {code}"\n'
SECRET = "s3cr3t"  # a value that no fault may show


def template(params=(), text="x", **ids):
    document = {"params": list(params), "text": text}
    if isinstance(params, dict):
        document["params"] = params
    if text is None:
        del document["text"]
    return SmsTemplate("some", {**document, **({"ids": ids} if ids else {})})


def faults_of(tmp_path, text):
    path = tmp_path / "templates.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        SmsTemplates(str(path)).check()
    return [f"{fault.path}: {fault.message}" for fault in caught.value.faults]


def test_it_is_filled_in_the_declared_order_for_the_provider_that_sends_it():
    found = template(["b", "a", "n"], "{a}-{b} {{{a}}} {n}", aliyun="SMS_1")
    params = {"a": "1", "n": 3.0, "b": 2}
    values = {"b": "2", "a": "1", "n": "3"}
    filled = found.fill(params, provider="aliyun")
    assert filled == Filled("some", "SMS_1", values, "1-2 {1} 3")
    assert list(filled.params) == ["b", "a", "n"]
    assert found.fill(params, provider="other").id is None


def test_one_without_a_text_has_ids_and_values():
    found = template(["code"], None, aliyun="SMS_1")
    assert not found.has_text
    filled = found.fill({"code": 1}, provider="aliyun")
    assert filled == Filled("some", "SMS_1", {"code": "1"}, "")


@given(value=st.text(max_size=50) | st.sampled_from(["{b}", "{{", "}", "%s", "${a}"]))
def test_a_value_is_never_expanded_again(value):
    filled = template(["a", "b"], "{a}|{b}").fill({"a": value, "b": "B"}, provider="p")
    assert filled.text == f"{value}|B"
    assert filled.params["a"] == value


def test_every_fault_of_the_params_is_named():
    found = template(["code", "name"]).faults({"more": 1, "code": True, "x": SECRET})
    assert {fault.path: fault.message for fault in found} == {
        "params.code": "does not meet type: ['string', 'number']",
        "params.name": "is required",
        "params.more": "is not known here",
        "params.x": "is not known here",
    }


@pytest.mark.parametrize("value", ["", "a\n\tb", "x" * 1000, "中😀", 0, -1.5, 10**30])
def test_a_param_takes_texts_and_numbers(value):
    assert template(["p"]).faults({"p": value}) == []


WRONG = [
    ({}, None),
    ({}, True),
    ({}, [SECRET]),
    ({}, {SECRET: SECRET}),
    ({}, float("nan")),
    ({}, SECRET * 200),
    *(({}, SECRET + c) for c in "\0\r\x1b\x7f\x85\ud800"),
    ({"type": "string"}, 1),
    ({"type": "string"}, f"{SECRET}\0"),
    ({"type": "string", "pattern": "[0-9]{4}"}, SECRET),
    ({"maxLength": 3}, SECRET),
    ({"enum": ["a"]}, SECRET),
    ({"const": 1}, SECRET),
    ({"type": "boolean"}, True),
    ({"type": "object"}, {SECRET: 1}),
    ({"allOf": [{"maxLength": 3}]}, SECRET),
    ({"anyOf": [{"const": 1}, {"maxLength": 3}]}, SECRET),
    ({"if": {"minLength": 4}, "then": {"pattern": "a"}}, SECRET),
    ({"if": {"minLength": 4}, "then": False}, SECRET),
    ({"not": {"minLength": 4}}, SECRET),
]


@pytest.mark.parametrize(("schema", "value"), WRONG)
def test_a_wrong_value_is_refused_and_never_shown(schema, value):
    found = template({"p": schema}).faults({"p": value})
    assert [fault.path for fault in found] == ["params.p"]
    assert SECRET not in found[0].message


def test_a_schema_of_its_own_may_take_longer_texts():
    assert template({"p": {"maxLength": 2000}}).faults({"p": "x" * 2000}) == []


def test_a_default_makes_a_param_optional():
    found = template({"a": {"default": 1.0}, "b": {}}, "{a}{b}")
    assert found.faults({"b": "2"}) == []
    assert found.fill({"b": "2"}, provider="p").text == "12"
    assert found.fill({"b": "2", "a": "0"}, provider="p").text == "02"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[templates", ": Expected"),
        ("[template.a]", "template: is not known here"),
        ('[templates."a b"]\ntext = "x"', "templates: 'a b' does not match"),
        ("[templates.a]", "templates.a: has neither text nor ids"),
        ("[templates.a]\nids = {}", "templates.a.ids: does not meet minProperties"),
        ("[templates.a]\nids.x = 1", "templates.a.ids.x: 1 is not of type"),
        ('[templates.a]\ntext = ""', "templates.a.text: '' should be non-empty"),
        ('[templates.a]\ntext = "{"', "templates.a.text: has a lone {"),
        (
            '[templates.a]\ntext = "{code}"',
            "templates.a.text: has a place for code, which is no parameter",
        ),
        ('[templates.a]\ntext = "x"\nmore = 1', "templates.a.more: is not known here"),
        ('[templates.a]\ntext = "x"\nparams = "a"', "templates.a.params: 'a' is not"),
        ('[templates.a]\ntext="x"\nparams = [1]', "templates.a.params.0: 1 is not of"),
        (
            '[templates.a]\ntext = "x"\nparams = ["a", "a"]',
            "templates.a.params: does not meet uniqueItems",
        ),
        (
            '[templates.a]\ntext = "x"\nparams = ["1"]',
            "templates.a.params.0: '1' does not match",
        ),
        (
            '[templates.a]\ntext = "x"\nparams.1 = {}',
            "templates.a.params: '1' does not match",
        ),
        (
            '[templates.a]\ntext = "x"\nparams.a.type = "text"',
            "templates.a.params.a.type: 'text' is not valid",
        ),
        (
            '[templates.a]\ntext = "x"\nparams.a."$ref" = "#/x"',
            "templates.a.params.a.$ref: is not taken here",
        ),
        (
            '[templates.a]\ntext = "x"\nparams.a = {maxLength = 1, default = "ab"}',
            "templates.a.params.a.default: does not meet maxLength",
        ),
    ],
)
def test_a_fault_of_the_file_is_named_with_its_place(tmp_path, text, fault):
    [found] = faults_of(tmp_path, text)
    assert found.startswith(fault)


def test_all_faults_of_all_templates_are_named(tmp_path):
    text = '[templates.a]\nx = 1\ntext = 1\n[templates.b]\n[templates.c]\ntext = "c"'
    paths = [fault.partition(":")[0] for fault in faults_of(tmp_path, text)]
    assert sorted(paths) == ["templates.a.text", "templates.a.x", "templates.b"]


def test_a_file_that_is_not_there_is_a_fault(tmp_path):
    with pytest.raises(InvalidInput, match="No such file"):
        SmsTemplates(str(tmp_path / "none.toml")).check()


def test_a_faulty_file_keeps_the_templates_and_is_logged_once(tmp_path):
    path = tmp_path / "templates.toml"
    path.write_text(CAPTCHA)
    templates = SmsTemplates(str(path))
    with capture_logs() as logged:
        assert templates.names() == ["captcha"]
        path.write_text("[")
        assert templates.names() == templates.names() == ["captcha"]
        assert templates.get("captcha").has_text
        with pytest.raises(InvalidInput):
            templates.check()
        path.write_text(CAPTCHA.replace("captcha", "other"))
        assert templates.names() == ["other"]
    assert [(line["event"], line.get("templates")) for line in logged] == [
        ("templates.read", ["captcha"]),
        ("templates.refused", None),
        ("templates.read", ["other"]),
    ]


def test_a_template_that_there_is_not_is_a_fault_that_names_those_there_are(tmp_path):
    path = tmp_path / "templates.toml"
    path.write_text(CAPTCHA + CAPTCHA.replace("captcha", "a"))
    with pytest.raises(InvalidInput) as caught:
        SmsTemplates(str(path)).get("b")
    [fault] = caught.value.faults
    assert (fault.path, fault.message) == ("template", "is not one of: a, captcha")


def test_the_templates_that_ship_are_faultless_and_take_what_they_say():
    templates = SmsTemplates(str(PROJECT / "config" / "sms_templates.toml"))
    templates.check()
    assert templates.names() == ["captcha", "notice"]
    for name, params in (("captcha", {"code": "1234"}), ("notice", {"event": "up"})):
        found = templates.get(name)
        assert found.faults(params) == []
        text = found.fill(params, provider="console").text
        assert all(value in text for value in params.values())
