"""What can go wrong in this room; every error says what happened and what to do about it.

EncoderError                the root: catch this one
├── LanguageError           a language that neither the stemmer nor the stop-word lists know
├── SettingsError           an option of an encoder is out of its range
├── IdentityError           a stored encoder identity cannot be read
├── UnknownEncoderError     a name that is neither a family of ours, nor a folder, nor a reachable hub name
├── CheckpointError         a model folder that is missing, incomplete, or not of the right kind
├── TrainingError           a training run cannot begin or go on
├── TrainingDataError       a training file is missing, empty or damaged, or one of its rows is wrong
├── VectorFileError         a file of vectors is malformed, in use, or of another encoder
└── MissingExtraError       a package that comes with an optional extra is not installed
"""

from __future__ import annotations


class EncoderError(Exception):
    """Root of the room's errors: `message` says what is wrong, `hint` (may be empty) what to do.

    `str(error)` is the two in one line, so printing the error alone loses nothing.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class LanguageError(EncoderError):
    """A language is unknown to both the stemmer and the stop-word lists."""


class SettingsError(EncoderError):
    """An option of an encoder has the wrong type or lies outside its range."""


class IdentityError(EncoderError):
    """A stored encoder identity is malformed or belongs to a later version."""


class UnknownEncoderError(EncoderError):
    """A name does not lead to an encoder: no family of ours, no folder, no model that the hub serves."""


class CheckpointError(EncoderError):
    """A model folder is missing, incomplete, or holds something other than a masked language model."""


class MissingExtraError(EncoderError):
    """A package that an optional extra brings is not installed; the hint names the `pip install`."""


class TrainingError(EncoderError):
    """A training run cannot begin or go on."""


class TrainingDataError(EncoderError):
    """A training file is missing, empty or damaged, or a row of it (whose line is named) is wrong."""


class VectorFileError(EncoderError):
    """A file of vectors cannot be read or written; `where` names the file, and the line where there is one."""

    def __init__(self, message: str, hint: str = "", *, where: str | None = None) -> None:
        super().__init__(message, hint)
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}: {super().__str__()}" if self.where else super().__str__()
