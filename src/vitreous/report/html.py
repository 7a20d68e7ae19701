"""Pages as one HTML file: templates with autoescape, and a policy that lets nothing in from outside.

The policy (CSP) names the scripts by their SHA-256, so that no text on the page, whatever a file or a
class is called, can ever run.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, *, styles: Sequence[str], scripts: Sequence[str], values: Mapping[str, Any]) -> str:
    """A template with its style sheets and scripts inlined. Every value is escaped unless it is Markup."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    sources = [(_TEMPLATES / script).read_text("utf-8") for script in scripts]
    hashes = [b64encode(sha256(source.encode()).digest()).decode() for source in sources]
    return environment.get_template(template).render(
        **values,
        styles=Markup("".join((_TEMPLATES / style).read_text("utf-8") for style in styles)),
        scripts=[Markup(source) for source in sources],
        policy=Markup(" ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"),
    )


def json_inside(value: Any) -> Markup:
    """JSON for a ``<script>`` element: nothing in it can end the element or begin another."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def percent(part: float) -> str:
    """0.9312 -> 93.1%; what is not quite all or nothing never looks like it."""
    if 0.9995 <= part < 1:
        return ">99.9%"
    if 0 < part < 0.0005:
        return "<0.1%"
    return f"{part:.1%}"
