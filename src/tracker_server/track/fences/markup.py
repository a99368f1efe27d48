"""Files of fences that are XML."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from tracker_server.track.fences.errors import FenceError


def root_of(text: str | bytes, form: str) -> Element:
    """The outermost element; ``form`` is what errors call the file. Raises FenceError. Document types and entities are
    refused: no map needs them, and they are how small files become large ones.
    """
    try:
        return fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        raise FenceError(
            "", f"this {form} declares a document type or entities; remove the DOCTYPE"
        ) from None
    except (ParseError, ValueError) as error:
        raise FenceError("", f"this is no XML: {error}") from None


def tag_of(element: Element) -> str:
    """Its name without its namespace."""
    return element.tag.rpartition("}")[2]
