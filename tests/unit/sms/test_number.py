import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sms.number import country_code, mask, national, read_number

# A number of every region that the library has an example of.
EXAMPLES = sorted(
    phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    for region in phonenumbers.SUPPORTED_REGIONS
    if (number := phonenumbers.example_number_for_type(region, 1)) is not None
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+8613800000000", "+8613800000000"),
        ("+86 138-0000-0000", "+8613800000000"),
        (" +1 (202) 555-0123 ", "+12025550123"),
        ("+44 (0)20 7946 0018", "+442079460018"),
    ],
)
def test_a_number_is_read_as_it_is_written(text, number):
    assert read_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "10086",
        "13800000000",
        "008613800000000",
        "++8613800000000",
        "+86138000000",
        "+861380000000000",
        "+86138CALLNOW",
        "+8613800000000a",
        "+8613800000000 ext. 5",
        "+8613800000000;ext=5",
        "+8613800000000,+8613900000000",
        "+8613800000000\n",
        "\t+8613800000000",
        "+86138" + "\u0660" * 8,
        "+86138" + "\uff10" * 8,
        "\uff0b8613800000000",
        "+9999999999999",
        "+86 138 0000 0000" + " " * 40 + "1",
        "tel:+8613800000000",
    ],
)
def test_what_is_not_exactly_a_number_is_refused_without_showing_it(text):
    with pytest.raises(ValueError, match=r"\A(is|has) ") as caught:
        read_number(text)
    assert "138" not in str(caught.value)


@given(number=st.sampled_from(EXAMPLES))
def test_a_number_in_e164_is_read_as_itself(number):
    assert read_number(number) == number
    assert country_code(number) + national(number) == number


@given(number=st.sampled_from(EXAMPLES))
def test_a_mask_hides_the_middle(number):
    shown = mask(number)
    first, last = shown.split("****")
    assert number.startswith(first)
    assert number.endswith(last)
    assert len(number) - len(first) - len(last) >= 4


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+8613800000000", "+8613****0000"),
        ("+12025550123", "+12****0123"),
        ("+29051234", "+2****234"),
    ],
)
def test_a_mask_is_the_same_for_the_same_number(number, shown):
    assert mask(number) == shown
