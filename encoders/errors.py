"""Errors of encoders; every error says what happened and what to do about it.

EncoderError                the root: catch this one
├── LanguageError           a language that neither the stemmer nor the stop-word lists know
├── SettingsError           an option of an encoder is out of its range
├── IdentityError           a stored encoder identity cannot be read
├── UnknownEncoderError     a name that is neither a family of ours, nor a folder, nor a reachable hub name
├── CheckpointError         a model folder that is missing, incomplete, or not of the right kind
├── TrainingError           a training run cannot begin or go on
├── TrainingDataError       a training file is missing, empty or damaged, or one of its rows is wrong
└── VectorFileError         a file of vectors is malformed, in use, or of another encoder
"""

from __future__ import annotations

from lexhound.core.errors import USAGE, LexhoundError


class EncoderError(LexhoundError):
    """Root of the errors of encoders and their training."""


class LanguageError(EncoderError):
    """A language is unknown to both the stemmer and the stop-word lists."""

    exit_code = USAGE
    http_status = 400


class SettingsError(EncoderError):
    """An option of an encoder has the wrong type or lies outside its range."""

    exit_code = USAGE
    http_status = 400


class IdentityError(EncoderError):
    """A stored encoder identity is malformed or belongs to a later version."""


class UnknownEncoderError(EncoderError):
    """A name does not lead to an encoder: no family of ours, no folder, no model that the hub serves."""

    http_status = 400


class CheckpointError(EncoderError):
    """A model folder is missing, incomplete, or holds something other than a masked language model."""


class TrainingError(EncoderError):
    """A training run cannot begin or go on."""


class TrainingDataError(EncoderError):
    """A training file is missing, empty or damaged, or a row of it (whose line is named) is wrong."""


class VectorFileError(EncoderError):
    """A file of vectors cannot be read or written; `where` names the file, and the line where there is one."""
