from xml.etree import ElementTree

from throughtime.report.typeset import mathml

SPACE = "{http://www.w3.org/1998/Math/MathML}"


def test_a_formula_is_mathml():
    root = ElementTree.fromstring(mathml(r"h_t = \tanh\left(W h_{t-1}\right)"))
    assert root.tag == f"{SPACE}math"
    assert "=" in [part.text for part in root.iter(f"{SPACE}mo")]


def test_markup_in_a_formula_stays_text():
    formula = mathml(r"\text{<script>alert(1)</script>} < 3")
    assert "<script" not in formula
    assert "&lt;script&gt;" in formula
