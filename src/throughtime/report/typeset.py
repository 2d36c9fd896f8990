"""LaTeX as MathML, which a browser typesets without a script."""

from html import unescape
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element
from markupsafe import Markup


def mathml(latex: str) -> Markup:
    """A formula as a MathML element that is safe to put into a page.

    The library's own serialisation turns `\\text{<script>}` into a script; here the characters are escaped again.
    """
    element = convert_to_element(latex, display="block")
    for part in element.iter():
        # The library writes operators as entities, "&#x0003D;", inside the text.
        part.text = unescape(part.text) if part.text else None
    return Markup(ElementTree.tostring(element, encoding="unicode"))
