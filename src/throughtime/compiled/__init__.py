"""Loops that no library has as one operation, compiled by Numba; what they compute is said in PyTorch beside each use.

They stand in a room of their own because the checks of shapes that the tests install in the other rooms would keep
Numba from finding its compiled code on the disk.
"""

from throughtime.compiled.cell_products import add_cell_products as add_cell_products
from throughtime.compiled.path_products import path_products as path_products
from throughtime.compiled.row_norms import row_norms as row_norms
from throughtime.compiled.rows import Forms as Forms
from throughtime.compiled.rows import read_rows as read_rows
from throughtime.compiled.slope_products import add_by_band as add_by_band
from throughtime.compiled.slope_products import add_by_sample as add_by_sample
from throughtime.compiled.step_product import StepProducts as StepProducts
