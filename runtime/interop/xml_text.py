"""XML as text: indented, and without the characters that XML forbids."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(value: object) -> str:
    """A value as text that XML can hold; no escape exists for the other characters."""
    return FORBIDDEN.sub("\ufffd", str(value))


def add(parent: Xml.Element, name: str, text: object = None) -> Xml.Element:
    """Append an element, with a text where one is given."""
    child = Xml.SubElement(parent, name)
    child.text = None if text is None else clean(text)
    return child


def document(root: Xml.Element) -> str:
    """The whole text."""
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"
