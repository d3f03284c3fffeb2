"""Every exception this program raises on purpose, as one tree.

    Ps2Error
    ├── UsageError            the person's input is at fault: exit code 2, or HTTP 400
    │   └── ConfigError
    ├── RecordError           a record, frame or recording line can't be decoded
    │   ├── FrameError        a queue item is torn, has a bad CRC or an unknown version
    │   └── RecordingError    a line of a recording is malformed (carries the line number)
    ├── QueueError
    │   ├── QueueUnavailable  an outage: wait and try again
    │   │   ├── QueueFull         the bound in bytes, or the disk, is reached: nothing was written
    │   │   ├── QueueBusy         another program has the file locked
    │   │   └── QueueUnwritable   the folder or a file in it can't be opened, read or written
    │   ├── QueueLocked       another process holds this end of the queue (carries its pid)
    │   ├── QueueMissing      there is no queue in this folder yet
    │   ├── LettersMissing    dead letters that were asked for by number are not there
    │   ├── QueueMismatch     the file is another program's, or of a newer version
    │   ├── QueueDamaged      the file's bytes are not what was written
    │   └── QueueReplaced     the queue was damaged and is a new one: some of what was in it is lost
    ├── CensusError
    │   ├── CensusUnavailable an outage: wait and ask again
    │   ├── CensusRefused     the service id or the request is at fault: tell the operator
    │   └── StreamLost        a connection ended or fell silent (carries the cause)
    ├── StageGivenUp          a stage keeps crashing: the process ends, so that systemd acts (carries the stage)
    └── StoreError
        ├── StoreUnavailable  an outage: wait and try again
        ├── StoreConflict     another writer changed what this commit was based on
        └── StoreMismatch     not a store of ours, or of a newer version
            ├── StoreMissing  there is no store in this place yet
            └── StoreRefused  it will never take a document of this commit

What a record makes this program's own code raise is none of these: see `stages.poison`. Foreign errors are mapped into this tree at one place, where the foreign library is called. Anything that is not in this
tree is a defect of this program and propagates to the supervisor.
"""

from __future__ import annotations


class Ps2Error(Exception):
    """The root. ``str()`` is one line for a person: what happened, and what to do."""


class UsageError(Ps2Error):
    """The person's input is at fault."""


class ConfigError(UsageError):
    """A configuration file or environment variable is at fault; the message names the key, the value and what is accepted."""


class RecordError(Ps2Error):
    """Bytes that should be a record are not."""


class FrameError(RecordError):
    """A queue item can't be decoded."""


class RecordingError(RecordError):
    """A line of a recording is malformed.

    Args:
        line: its number, counted from 1.
        reason: what is wrong with it.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


class QueueError(Ps2Error):
    """The queue refuses."""


class QueueUnavailable(QueueError):
    """An outage. Nothing was written; a stage that runs waits and tries again."""


class QueueFull(QueueUnavailable):
    """The bound in bytes, or the disk, is reached. Nothing was written; try again once there is room."""


class QueueBusy(QueueUnavailable):
    """Another program has the file locked and did not let go for a while."""


class QueueUnwritable(QueueUnavailable):
    """The folder or a file in it can't be opened, read or written: permissions, a read-only or failing disk."""


class QueueLocked(QueueError):
    """Another process holds this end of the queue.

    Args:
        pid: the holder's process id, or None if it did not say.
    """

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class QueueMissing(QueueError):
    """There is no queue in this folder yet, and only a reader asked."""


class LettersMissing(QueueError):
    """Dead letters that were asked for by number are not there; nothing was done to the others."""


class QueueMismatch(QueueError):
    """The file is another program's, or one of a newer version."""


class QueueDamaged(QueueError):
    """The file's bytes are not what was written, or are not those of any database."""


class QueueReplaced(QueueError):
    """The queue was damaged and is a new one now: some of what was appended is lost, and what is claimed of that time is not true any more.
    Nothing was written; the next attempt goes into the new one."""


class CensusError(Ps2Error):
    """Daybreak's Census, by stream or REST, did not do what it should."""


class CensusUnavailable(CensusError):
    """An outage. The right answer is to wait and ask again."""


class CensusRefused(CensusError):
    """The service id or the request is at fault; asking again does not help."""


class StreamLost(CensusError):
    """A stream connection ended or fell silent.

    Args:
        cause: a short label of a bounded set, for the metric.
        message: one line for a person.
    """

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class StageGivenUp(Ps2Error):
    """A stage crashed too often; nothing that this process can do helps.

    Args:
        stage: its name.
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class StoreError(Ps2Error):
    """The store refuses."""


class StoreUnavailable(StoreError):
    """An outage. The right answer is to wait and try again; the queue holds the rest."""


class StoreConflict(StoreError):
    """Another writer changed what this commit was based on; read again and repeat."""


class StoreMismatch(StoreError):
    """Not a store of this program, or one of a newer version."""


class StoreMissing(StoreMismatch):
    """There is no store in this place yet, and only a reader asked."""


class StoreRefused(StoreMismatch):
    """The store takes a commit but for a document, whatever is tried, and it is no character's."""


def one_line(error: BaseException, most: int = 200) -> str:
    """What a foreign error says, as part of a line: it may quote what somebody sent, at any length and with control characters."""
    text = " ".join(str(error).split())[:most]
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
