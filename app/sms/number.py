"""Phone numbers: read strictly, kept as E.164, shown to logs masked."""

import re

import phonenumbers

# The library drops letters, takes digits of other scripts and reads extensions: what
# is sent has to be what was written.
_WRITTEN = re.compile(r"\+[0-9][0-9 ()-]{0,39}")

# Of a number in E.164, at most these are shown: the country and a part of the network's
# digits, and the end.
_SHOWN_FIRST = 5
_SHOWN_LAST = 4
# Some islands' numbers have no more than that after the country code.
_HIDDEN = 4


def read_number(text: str) -> str:
    """Return a number in E.164, a plus and digits.

    Raises ValueError saying what is wrong with it.
    """
    if not _WRITTEN.fullmatch(text.strip(" ")):
        raise ValueError(
            "is not a plus, a country code and a number, with no more than spaces, "
            "hyphens and parentheses between the digits"
        )
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException as error:
        raise ValueError("has no country code that there is") from error
    if not phonenumbers.is_valid_number(number):
        raise ValueError("is not a number that its country has")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def country_code(number: str) -> str:
    """Return the country code of a number in E.164, with its plus."""
    return f"+{phonenumbers.parse(number).country_code}"


def national(number: str) -> str:
    """Return a number in E.164 without its country code."""
    return number.removeprefix(country_code(number))


def mask(number: str) -> str:
    """Return a number as logs may have it: +8613****0000."""
    first = max(2, min(_SHOWN_FIRST, len(number) - 2 * _SHOWN_LAST - 1))
    last = max(0, min(_SHOWN_LAST, len(number) - first - _HIDDEN))
    return f"{number[:first]}****{number[len(number) - last :]}"
