"""What a person sees: the terminal, the HTML report, the JSON. Reads an examination, computes nothing."""

from throughtime.report.files import written_whole as written_whole
