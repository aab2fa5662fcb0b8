"""What a text must be, beside what it looks like, to be taken out.

Invariant: a check looks at the text alone, in time that follows its length, and says how many of
its characters, from the first one on, are what was looked for: a pattern takes in a word too many
where a number is followed by one.
Sources: ISO/IEC 7812-1 (payment cards), ISO 13616-1 and the IBAN registry
(https://www.swift.com/standards/data-standards/iban-international-bank-account-number).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

# First digits and lengths of the schemes in use. What has another length is some other number.
_CARDS = re.compile(
    r"""(?x)
      4\d{15} | (?:5[1-5]|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12,14}
    | 3[47]\d{13} | 3(?:0[0-5]|[689]\d)\d{11} | 35(?:2[89]|[3-8]\d)\d{12}
    | (?:6011|64[4-9]\d|65\d\d|62\d\d|60[68]\d|50\d\d|5[678]\d\d)\d{12}
    """
)
_CARD_LENGTHS = (19, 16, 15, 14)
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ DZ ES MD PK RO SA SE SK TN VG",
        25: "AO CV LY MZ PT ST",
        26: "IR IS TR",
        27: "BF BI CF CG CM DJ FR GA GQ GR IT KM MC MG MR SM",
        28: "AL AZ BY CI CY DO GT HN HU LB ML NE NI PL SN SV TD TG BJ",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
_HUMP = re.compile("[a-z][A-Z]")
# Parameters of a statement, as drivers write them, and what hides a value already.
_PLACEHOLDER = re.compile(
    r"(?:\?\d*|\$\d+|:\w+|@\w+|%s|%\(\w+\)s|\$?\{.*|\*+|(?i:null|none|true|false|\[redacted\]))"
    r"[])}]*"
)


def payment_card(text: str) -> int:
    """A card number of a scheme's length and beginning, whose check digit is right."""
    for length in _CARD_LENGTHS:
        size = _spread(text, length, str.isdigit)
        digits = [int(sign) for sign in text[:size] if sign.isdigit()]
        if size and _CARDS.fullmatch("".join(map(str, digits))) and _luhn(digits):
            return size
    return 0


def iban(text: str) -> int:
    """An account number as long as its country's are, whose check digits are right."""
    length = _IBAN_LENGTHS.get(text[:2].upper())
    size = _spread(text, length, str.isalnum) if length else 0
    if not size:
        return 0
    number = text[:size].replace(" ", "").replace("+", "")
    # A digest in hexadecimal may begin like one too; nobody writes the letters inside small.
    if not number.isascii() or not (number.isupper() or number[2:].isdigit()):
        return 0
    moved = number[4:] + number[:4]
    return size if int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1 else 0


def secret(text: str) -> int:
    """What no word looks like: with a digit, or a capital inside."""
    return len(text) if _HUMP.search(text) or any(map(str.isdigit, text)) else 0


def literal(text: str) -> int:
    """A value that is written out, and no placeholder for one."""
    return 0 if _PLACEHOLDER.fullmatch(text) else len(text)


CHECKS: Final[Mapping[str, Callable[[str], int]]] = {
    "payment-card": payment_card,
    "iban": iban,
    "secret": secret,
    "literal": literal,
}
"""The checks by the names that rules call them (``fo:checkedBy``)."""


def _spread(text: str, count: int, counts: Callable[[str], bool]) -> int:
    """Where the first ``count`` signs that count end, if nothing that counts follows at once."""
    found = 0
    for place, sign in enumerate(text):
        if counts(sign):
            found += 1
            if found == count:
                following = text[place + 1 : place + 2]
                return 0 if following and counts(following) else place + 1
    return 0


def _luhn(digits: list[int]) -> bool:
    """https://patents.google.com/patent/US2950048A/en"""
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
