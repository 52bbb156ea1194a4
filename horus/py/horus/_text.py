# SPDX-License-Identifier: Apache-2.0
"""Text of a horus.File: between the bytes of the file and str, with newlines as open() has them."""

import codecs
from typing import Any, Optional

# What can be encoded to the very bytes that it was decoded from.
_EXACT = ("strict", "surrogateescape", "surrogatepass")


class Text:
    """What was decoded and not yet given. Newlines stay as they are in the file until then."""

    def __init__(self, encoding: str, errors: str, newline: Optional[str], at_start: bool) -> None:
        self.encoding, self.errors, self._newline = encoding, errors, newline
        self._decoder: Any = codecs.getincrementaldecoder(encoding)(errors)
        self._encoder: Any = codecs.getincrementalencoder(encoding)(errors)
        if not at_start:
            self._encoder.setstate(0)  # no byte order mark inside of the file
        self._ahead, self._at = "", 0
        self._ended = False

    # --- Writing

    def encode(self, text: str) -> bytes:
        """What goes to the file."""
        if self._newline in ("\r", "\r\n"):
            text = text.replace("\n", self._newline)
        data: bytes = self._encoder.encode(text)
        return data

    # --- Reading

    def feed(self, data: bytes) -> None:
        """What comes next in the file; b"" at its end."""
        self._ended = not data
        self._ahead = self._ahead[self._at :] + self._decoder.decode(data, not data)
        self._at = 0

    @property
    def ended(self) -> bool:
        """The file has no more."""
        return self._ended

    def take_line(self) -> Optional[str]:
        """The next line, or what is left at the end; None: feed() first."""
        end = self._end_of_line()
        if end < 0:
            if not self._ended:
                return None
            end = len(self._ahead)
        return self._take(end)

    def take(self, count: int) -> Optional[str]:
        """So many characters, less at the end; None: feed() first."""
        end = self._at + count
        while True:
            if end >= len(self._ahead) and not self._ended:
                return None
            if self._newline is None and self._ahead[end - 1 : end + 1] == "\r\n" and count > 0:
                end += 1
            missing = count - len(self._translated(self._ahead[self._at : end]))
            if missing == 0 or end >= len(self._ahead):
                return self._take(end)
            end += missing

    def take_all(self, data: bytes) -> str:
        """Everything, with `data`, the rest of the file."""
        self.feed(data)
        if data:
            self.feed(b"")
        return self._take(len(self._ahead))

    def bytes_ahead(self) -> int:
        """How many bytes of the file were decoded and not given. Errors: OSError where that cannot
        be told."""
        rest = self._ahead[self._at :]
        held: int = len(self._decoder.getstate()[0])
        if not rest:
            return held
        if self.errors not in _EXACT:
            raise OSError(f'no position can be told between lines with errors="{self.errors}"')
        mark = len("".encode(self.encoding))
        return held + len(rest.encode(self.encoding, self.errors)) - mark

    def forget(self, at_start: bool) -> None:
        """The position was moved."""
        self._decoder.reset()
        self._encoder.reset()
        if not at_start:
            self._encoder.setstate(0)
        self._ahead, self._at, self._ended = "", 0, False

    def _take(self, end: int) -> str:
        text, self._at = self._ahead[self._at : end], end
        return self._translated(text)

    def _translated(self, text: str) -> str:
        if self._newline is not None or "\r" not in text:
            return text
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _end_of_line(self) -> int:
        text, start = self._ahead, self._at
        if self._newline:  # this one alone
            found = text.find(self._newline, start)
            return found + len(self._newline) if found >= 0 else -1
        end = text.find("\n", start)
        carriage = text.find("\r", start, end if end >= 0 else len(text))
        if carriage < 0:
            return end + 1 if end >= 0 else -1
        if carriage + 1 < len(text):
            return carriage + (2 if text[carriage + 1] == "\n" else 1)
        return carriage + 1 if self._ended else -1  # a newline may follow
