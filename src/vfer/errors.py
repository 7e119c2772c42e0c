"""Every error that a user can mend; each message is one line: what is wrong, where, and what to do."""


class VferError(Exception):
    """Base of the errors that end a command with one line and a non-zero exit."""


class DataError(VferError):
    """A dataset, a manifest or a table is missing, malformed or inconsistent."""


class ClipError(VferError):
    """One clip cannot be used; it is set aside and counted, and the rest goes on."""


class ParamsError(VferError):
    """A key of params.yaml is unknown, missing or out of range."""


class WeightsError(VferError):
    """Weights are missing, do not match their checksum, or do not fit the model."""


class TrackingError(VferError):
    """The MLflow store cannot be reached or used."""


class ClusterError(VferError):
    """A Ray cluster cannot be reached, or one of its nodes cannot do the work."""
