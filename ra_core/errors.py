"""Errors that a user can act on: one line of what went wrong and where, one of how to mend it, a number for scripts."""

from typing import Self

__all__ = [
    "AdmissionError",
    "ArtifactError",
    "BundleError",
    "CheckError",
    "ConfigError",
    "ConnectError",
    "DataError",
    "DegradedError",
    "DriftError",
    "FlowerError",
    "LedgerError",
    "ManifestError",
    "MaskingError",
    "NonFiniteError",
    "NotScoredError",
    "PrivacyBudgetError",
    "QuorumError",
    "RAError",
    "ReleaseError",
    "ResumeError",
    "StateError",
    "StoppedError",
    "TooFewImagesError",
    "VersionError",
    "WeightsError",
]


class RAError(Exception):
    """An error with a hint; each subclass has its own exit code (`docs/exit_codes.md`).

    Args:
        message: what went wrong and where, on one line.
        hint: what the user can do about it, on one line.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[Self], tuple[str, ...]]:
        """What another process makes it again from; exceptions forget all but their message."""
        return type(self), (self.message, self.hint)


class ConfigError(RAError):
    """A configuration file is missing, is no YAML, or holds an unknown key or a bad value."""

    exit_code = 10


class DataError(RAError):
    """The data folder is missing, or an image can't be read or is unfit.

    Args:
        message: names the file and the reason; it stays at the site.
        hint: what the user can do about it.
        code: the reason in one word (`ra_core.data.readers.Reason`), which names no file; empty where there is none.
    """

    exit_code = 11

    def __init__(self, message: str, hint: str = "", code: str = "") -> None:
        super().__init__(message, hint)
        self.code = code

    def __reduce__(self) -> tuple[type[Self], tuple[str, ...]]:
        """As above."""
        return type(self), (self.message, self.hint, self.code)


class ManifestError(RAError):
    """The manifest breaks a rule: unknown column, missing file, a patient in two splits, and the like."""

    exit_code = 12


class TooFewImagesError(RAError):
    """A site has no or too few healthy images for what was asked."""

    exit_code = 13


class WeightsError(RAError):
    """No pretrained perceptual weights were found, or they are not the ones expected."""

    exit_code = 14


class ArtifactError(RAError):
    """A model file is missing, damaged, or made for another architecture."""

    exit_code = 15


class NonFiniteError(RAError):
    """A loss term or weight became NaN or infinite; the last good weights were kept."""

    exit_code = 16


class NotScoredError(RAError):
    """Some studies, or slices of them, could not be scored; the others were."""

    exit_code = 19


class CheckError(RAError):
    """A site's data have faults with which it may not join; `ra-client check` lists them."""

    exit_code = 18


class ReleaseError(RAError):
    """Something that isn't allowed to was about to leave a hospital; nothing left."""

    exit_code = 20


class QuorumError(RAError):
    """Too few sites gave a usable answer in a round; the last checkpoint holds the model before it."""

    exit_code = 21


class ResumeError(RAError):
    """The output folder holds another run, or a checkpoint that can't be read."""

    exit_code = 17


class AdmissionError(RAError):
    """A site or its key is unknown to the consortium, not admitted, or revoked."""

    exit_code = 22


class VersionError(RAError):
    """The two sides, or the packages of one side, are not of the same version."""

    exit_code = 23


class StateError(RAError):
    """A site lacks what it should have kept of an earlier round, so that it can't go on from there."""

    exit_code = 24


class ConnectError(RAError):
    """The other side can't be reached, or its certificate isn't trusted."""

    exit_code = 25


class BundleError(RAError):
    """An app bundle was sent that the site has not allowed; it was not run."""

    exit_code = 26


class FlowerError(RAError):
    """Flower itself failed, not what runs on it."""

    exit_code = 27


class DegradedError(RAError):
    """A run came to its end, but a site was missing or rejected on the way."""

    exit_code = 28


class StoppedError(RAError):
    """The operator has stopped a run before its end."""

    exit_code = 29


class LedgerError(RAError):
    """A site's ledger can't be written or is not what it was, so that nothing may leave."""

    exit_code = 30


class MaskingError(RAError):
    """Secure aggregation was refused or broken off; nothing that would open a single site's figures was told.

    Args:
        message: what went wrong.
        hint: what the user can do about it.
        culprit: site whose message is at fault, as far as that can be told: who relays it may have altered it. Empty
            where none is.
    """

    exit_code = 31

    def __init__(self, message: str, hint: str = "", culprit: str = "") -> None:
        super().__init__(message, hint)
        self.culprit = culprit

    def __reduce__(self) -> tuple[type[Self], tuple[str, ...]]:
        """As above."""
        return type(self), (self.message, self.hint, self.culprit)


class PrivacyBudgetError(RAError):
    """A round would spend more privacy than a site's policy or the study has left; nothing was computed for it."""

    exit_code = 32


class DriftError(RAError):
    """What was scored doesn't fit the calibration any more, and `ra-client drift --strict` was asked."""

    exit_code = 33
