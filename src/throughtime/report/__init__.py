"""What a person sees: the terminal, the HTML report, the JSON. Reads an examination, computes nothing."""

from throughtime.report.files import written_whole as written_whole
from throughtime.report.json import json_schema as json_schema
from throughtime.report.json import to_json as to_json
from throughtime.report.page import to_html as to_html
from throughtime.report.page import write_html as write_html
from throughtime.report.plots import Plots as Plots
from throughtime.report.terminal import verdicts as verdicts
