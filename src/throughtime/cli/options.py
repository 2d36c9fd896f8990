"""What the options of both commands have in common."""

# Both torch and NumPy take seeds of 32 bits without a sign.
LARGEST_SEED = 2**32 - 1
