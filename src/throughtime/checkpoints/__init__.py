"""Checkpoints without their code: the recurrences in a file of weights, rebuilt and examined without a loss.

`tensors` reads the file, `recognition` finds the recurrences among its tensors (`onnx_graph` those of an ONNX graph),
`layers` rebuilds them, `inputs` is what they run on, `probe` what stands in for a loss, `examination` the one call.
"""

from throughtime.checkpoints.examination import examine_checkpoint as examine_checkpoint
