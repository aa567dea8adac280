"""A call's message on its way in: behind a prefix, in pieces as the client sends them, packed or not.

Source: grpc/doc/PROTOCOL-HTTP2.md and compression.md.
"""

import zlib
from typing import Any, Final

from service.errors import InvalidRequest, NotSupported

#: A message stands behind a byte that says whether it is packed, and its length in four.
PREFIX: Final = 5
_PACKED: Final = (b"gzip", b"deflate")
#: Of a packed message, bytes that are read or made at a time.
_STEP: Final = 64 << 10
_CUT: Final = "the message is cut off"


class Incoming:
    """`take` and `end` bring the message, `piece` hands it out; what comes behind it is never looked at."""

    __slots__ = ("_encoding", "_left", "_unpacker", "arrived", "whole")

    def __init__(self, encoding: bytes) -> None:
        self._encoding = encoding
        #: What has come and was not looked at yet; and whether that is all.
        self.arrived, self.whole = bytearray(), False
        #: Bytes of the message that are still to come, once it has begun.
        self._left: int | None = None
        self._unpacker: Any = None

    def piece(self) -> tuple[bytes, bool] | None:
        """Return a piece and whether there are more, None until it has come; no message at all is an empty one.

        Raises InvalidRequest for one that is cut off or cannot be unpacked, NotSupported for one that is packed in a
        way not known here.
        """
        if self._left is None:
            if len(self.arrived) < PREFIX and not self.whole:
                return None
            self._left = self._begun()
        if self._unpacker:
            return self._unpacked()
        data = self._taken(len(self.arrived))
        if data or not self._left:
            return data, bool(self._left)
        return self._nothing()

    def _begun(self) -> int:
        """Read the prefix, and return the length."""
        if not self.arrived:
            return 0
        if len(self.arrived) < PREFIX:
            raise InvalidRequest(_CUT)
        packed, length = self.arrived[0], int.from_bytes(self.arrived[1:PREFIX], "big")
        del self.arrived[:PREFIX]
        if packed and self._encoding not in _PACKED:
            raise NotSupported(f"grpc-encoding {self._encoding.decode('latin-1')[:64]} is not supported")
        self._unpacker = zlib.decompressobj(47) if packed else None  # either form, as its first bytes say
        return length

    def _unpacked(self) -> tuple[bytes, bool] | None:
        data = self._unpacker.unconsumed_tail or self._taken(_STEP)
        try:
            piece: bytes = self._unpacker.decompress(data, _STEP)
        except zlib.error as error:
            raise InvalidRequest(f"the message cannot be unpacked: {error}") from None
        if self._unpacker.eof:
            if self._left or self._unpacker.unused_data:
                raise InvalidRequest("the message cannot be unpacked: it goes on after its end")
            return piece, False
        if piece or data:
            return piece, True
        if not self._left:
            raise InvalidRequest("the message cannot be unpacked: its end is missing")
        return self._nothing()

    def _taken(self, most: int) -> bytes:
        """Take so much of what has come of the message."""
        piece = bytes(self.arrived[: min(most, self._left or 0)])
        del self.arrived[: len(piece)]
        self._left = (self._left or 0) - len(piece)
        return piece

    def _nothing(self) -> tuple[bytes, bool] | None:
        """Wait for more, if there will be more."""
        if self.whole:
            raise InvalidRequest(_CUT)
        return None
