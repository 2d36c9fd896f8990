"""What an examination says when it cannot go on."""


class ExaminationError(ValueError):
    """The model, its data or its loss cannot be examined as they are; the message says why and what to do."""
