"""The templates of a page."""

from importlib.resources import files

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs


def environment_of(package: str) -> jinja2.Environment:
    """The templates of a package: everything a user wrote is escaped, and a name that is missing is an error.

    They know `plotly_js()`, Plotly's own script, and `source(room, name)`, a style sheet or script of ours.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"plotly_js": lambda: Markup(get_plotlyjs()), "source": _source}
    return environment


def _source(room: str, name: str) -> Markup:
    return Markup((files(f"throughtime.{room}") / "templates" / name).read_text(encoding="utf-8"))
