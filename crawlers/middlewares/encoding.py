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
            return super().process_response(request, response)
        except IgnoreRequest as ignored:
            raise Refused(
                Reason("too_large", "unpacked size", f"more than {self._max_size} bytes", request.url)
            ) from ignored
        except (OSError, EOFError, zlib.error, ValueError, RuntimeError) as error:
            raise Refused(Reason("invalid", "content-encoding", type(error).__name__, request.url)) from error
