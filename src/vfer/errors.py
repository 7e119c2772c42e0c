"""The errors that a user can fix; each message is one line: what is wrong, where, and what to do."""


class VferError(Exception):
    """Base of the errors that end a command with one line and a non-zero exit."""


class DataError(VferError):
    """A dataset, a manifest or a table is missing, malformed or inconsistent."""


class ClipError(VferError):
    """One clip cannot be used; it is set aside and counted, and work continues with the others."""


class UnexpectedError(ClipError):
    """A clip's work raised an error that nobody foresaw; `trace` is its traceback."""

    trace = ""

    @classmethod
    def of(cls, clip: str, error: BaseException) -> "UnexpectedError":
        """Return the error of a clip that says the type and the message of another one."""
        text = " ".join(str(error).split())[:300]
        return cls(f"{clip}: cannot be used ({type(error).__name__}{f': {text}' if text else ''}); check the file")


class ParamsError(VferError):
    """A key of params.yaml is unknown, missing or out of range."""


class WeightsError(VferError):
    """Weights are missing, do not match their checksum, or do not fit the model."""


class TrackingError(VferError):
    """The MLflow store cannot be reached or used."""


class ClusterError(VferError):
    """A Ray cluster cannot be reached, or one of its nodes cannot do the work."""
