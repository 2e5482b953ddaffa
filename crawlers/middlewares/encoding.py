"""Content encodings, undone within limits: a bomb is too large, a broken stream is invalid."""

import zlib

from scrapy import Request
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response

from crawlers.refused import Reason, Refused


class EncodingMiddleware(HttpCompressionMiddleware):
    """Scrapy's own, saying why; what it raises on damaged input differs from codec to codec."""

    def process_response(self, request: Request, response: Response) -> Request | Response:  # type: ignore[override] # the old spider argument
        try:
            coding = (response.headers.get("Content-Encoding") or b"").strip().lower()  # super takes it away
            unpacked = super().process_response(request, response)
            if coding == b"gzip" and isinstance(unpacked, Response):
                _check(response.body, len(unpacked.body))
            return unpacked
        except IgnoreRequest as ignored:
            raise Refused(
                Reason("too_large", "unpacked size", f"more than {self._max_size} bytes", request.url)
            ) from ignored
        except (OSError, EOFError, zlib.error, ValueError, RuntimeError) as error:
            raise Refused(Reason("invalid", "content-encoding", type(error).__name__, request.url)) from error


def _check(packed: bytes, unpacked: int) -> None:
    """Scrapy takes what can be had of a damaged gzip stream; its last four bytes tell how much there should be.

    Several members in a row are right, too, though only the last tells its length. Raises EOFError or zlib.error.
    """
    rest = packed if unpacked & 0xFFFFFFFF != int.from_bytes(packed[-4:], "little") else b""
    while rest:
        member = zlib.decompressobj(wbits=31)
        member.decompress(rest)
        if not member.eof:
            raise EOFError("the gzip stream is cut off")
        rest = member.unused_data.lstrip(b"\0")
