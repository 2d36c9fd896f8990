"""What a page carries inside itself: JSON in a script element."""

import plotly.graph_objects as go
from markupsafe import Markup


def embedded(document: str) -> Markup:
    """JSON that is safe inside a script element: nothing in it can end the element or open a comment."""
    for character in "<>&\u2028\u2029":
        document = document.replace(character, f"\\u{ord(character):04x}")
    return Markup(document)


def embedded_figure(figure: go.Figure) -> Markup:
    """A Plotly figure that is safe inside a script element."""
    return embedded(figure.to_json())
