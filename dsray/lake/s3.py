"""The store on S3, any S3: endpoint and credentials come from the AWS environment, never from a recipe.

A put carries a random attempt token in the object's metadata. When an answer is lost, or botocore's own retry of a put
that had succeeded gets 412, reading the token back tells whether the object is ours.

It also carries the SHA-256 of its bytes, once for the server, which refuses others, and once for readers, who compare.
So botocore need not sum up what goes and comes, as it would do twice more.
"""

import base64
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from dsray.errors import DamagedError, LakeError
from dsray.keys import digest
from dsray.lake.store import Conflict, Data, Entry, Head, Missing, checked, intact

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
S3Client = Any
"""boto3 makes its clients' classes at run time, and their stubs lag behind its versions (DECISIONS.md)."""

_ATTEMPT, _SHA256 = "dsray-attempt", "dsray-sha256"  # our metadata, beside the caller's
_CONNECT_S, _READ_S, _ATTEMPTS = 5, 60, 7
_CONFLICT_TRIES, _READ_TRIES = 8, 3
_SMALL = 2**16  # bytes
# Codes of S3 and exceptions of botocore, what to say is wrong, what to do. The last says the rest.
_REFUSALS: tuple[tuple[set[str], str, str], ...] = (
    ({"NoSuchBucket"}, "There is no bucket '{bucket}' at {at}.", "Make it, or correct the lake's address."),
    (
        {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"},
        "There are no usable AWS credentials for {url}.",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
    ),
    (
        {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401", "403"},
        "{at} refuses our credentials for {url} ({code}).",
        "Check the AWS credentials and the rights on the bucket.",
    ),
    (
        {"RequestTimeTooSkewed", "RequestExpired"},
        "The clocks of this machine and of {at} are too far apart.",
        "Set the clock that is wrong, then run again.",
    ),
    (
        {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "507"},
        "{at} has no space left for {url}.",
        "Free some space or raise the quota, then run again.",
    ),
    (
        {
            *("EndpointConnectionError", "ConnectTimeoutError", "ConnectionClosedError", "ReadTimeoutError"),
            *("ResponseStreamingError", "IncompleteReadError", "HTTPClientError", "SSLError"),
        },
        "The lake {url} cannot be reached at {at} ({code}).",
        "Check AWS_ENDPOINT_URL, the network, and that the server runs.",
    ),
    (
        {"NotImplemented", "501"},
        "The store at {url} does not honour conditional puts.",
        "Use one that does: AWS S3, SeaweedFS 4.48 or newer, or file:///path.",
    ),
    (set(), "{at} refused a request about {url}/{name} ({code}).", "`dsray doctor` checks the lake."),
)
_REFUSED_WRITES = (
    (
        {"InternalError", "ServiceUnavailable", "SlowDown", "500", "503"},
        "{at} could not store {url}/{name} ({code}): its disk may be full.",
        "Free some space there, or read the server's log; then run again.",
    ),
)
_LOCK = threading.Lock()  # botocore sessions are made by one thread at a time


class S3Store:
    """Objects under `s3://bucket/prefix`. Pickles as its address; the client is made in the process that uses it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._bucket, prefix = parts.netloc, parts.path.strip("/")
        if not self._bucket or set(self._bucket) & set("@: ") or parts.query or parts.fragment:
            raise LakeError(
                "An S3 lake's address is s3://bucket/prefix and nothing more.",
                "Put endpoint and credentials into the AWS environment.",
            )
        self._prefix = f"{checked(prefix)}/" if prefix else ""
        self.url = f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def __reduce__(self) -> tuple[type["S3Store"], tuple[str]]:
        return S3Store, (self.url,)

    @property
    def far(self) -> bool:
        return not _is_here(self._client.meta.endpoint_url)

    def read(self, name: str, sha256: str = "") -> bytes:
        return self._got(name, sha256)[0]

    def get(self, name: str) -> tuple[bytes, str]:
        return self._got(name)

    def _got(self, name: str, sha256: str = "") -> tuple[bytes, str]:
        from botocore.exceptions import ResponseStreamingError
        from urllib3.exceptions import HTTPError

        key = self._key(name)

        def fetch() -> tuple[bytes, str]:
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key)
            except HTTPError as error:  # a refusal of a streaming request that breaks off: botocore lets it through
                raise ResponseStreamingError(error=error) from error
            data = intact(self, name, answer["Body"].read(), sha256 or answer["Metadata"].get(_SHA256, ""))
            return data, answer["ETag"]

        return self._ask(name, lambda: _again(fetch))

    def create(self, name: str, data: Data, meta: Mapping[str, str] = {}, sha256: str = "") -> str:
        sha256 = sha256 or digest(data)
        return sha256 if self._put(name, bytes(data), meta, sha256, IfNoneMatch="*") else ""

    def swap(self, name: str, data: bytes, etag: str | None, meta: Mapping[str, str] = {}) -> str:
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        new = self._put(name, data, meta, digest(data), **condition)
        if new is None:
            raise Conflict(f"{self.url}/{name} was changed by another.", "Read it again.")
        return new

    def head(self, name: str) -> Head | None:
        try:
            found = self._ask(name, lambda: self._found(name))
        except Missing:
            return None
        meta = {k: v for k, v in found["Metadata"].items() if k not in (_ATTEMPT, _SHA256)}
        return Head(found["ContentLength"], found["ETag"], found["Metadata"].get(_SHA256, ""), meta)

    def list(self, prefix: str) -> Iterator[Entry]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        found = self._ask(prefix, lambda: [item for page in pages for item in page.get("Contents", [])])
        skip = len(self._prefix)
        # Servers that keep folders list "a/b" before "a-b", so the order is made here.
        yield from sorted(
            Entry(item["Key"][skip:], item["Size"], item["ETag"], item["LastModified"])
            for item in found
            if not item["Key"].endswith("/")
        )

    def delete(self, name: str) -> None:
        key = self._key(name)
        self._ask(name, lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    def open(self, name: str) -> "pa.NativeFile":
        key, client = self._key(name), self._client
        try:
            return _arrow(os.getpid(), _settings(), client.meta.endpoint_url, client.meta.region_name).open_input_file(
                f"{self._bucket}/{key}"
            )
        except FileNotFoundError as error:
            raise Missing(f"There is no {self.url}/{name}.") from error
        except OSError as error:
            raise LakeError(
                f"The lake {self.url} could not be read at {name}.", "Run again; `dsray doctor` says more."
            ) from error

    @property
    def _client(self) -> "S3Client":
        from botocore.exceptions import BotoCoreError

        try:
            with _LOCK:
                return _connect(os.getpid(), _settings())
        except (BotoCoreError, ValueError) as error:
            wrong = f"The AWS environment makes no sense ({type(error).__name__})."
            raise LakeError(wrong, "Check AWS_PROFILE, AWS_ENDPOINT_URL and the files they name.") from None

    def _key(self, name: str) -> str:
        return self._prefix + checked(name)

    def _found(self, name: str) -> Any:
        return self._client.head_object(Bucket=self._bucket, Key=self._key(name))

    def _put(self, name: str, data: bytes, meta: Mapping[str, str], sha256: str, **condition: Any) -> str | None:
        """A conditional put → the etag, or None when the condition did not hold."""
        from botocore.exceptions import BotoCoreError, ClientError

        key, attempt = self._key(name), secrets.token_hex(8)
        said = {**meta, _ATTEMPT: attempt, _SHA256: sha256}
        summed = base64.b64encode(bytes.fromhex(sha256)).decode()
        for left in reversed(range(_CONFLICT_TRIES)):
            try:
                made = self._client.put_object(
                    Bucket=self._bucket, Key=key, Body=data, Metadata=said, ChecksumSHA256=summed, **condition
                )
                return str(made["ETag"])
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                # Another conditional put of this name is under way, or bytes were damaged on their way.
                if (status == 409 or _code(error) == "BadDigest") and left:
                    time.sleep(random.uniform(0, 0.01 * 2 ** (_CONFLICT_TRIES - left)))
                    continue
                refused = status == 412 or (status == 404 and _code(error) == "NoSuchKey")
                if not refused and status < 500:
                    raise self._clear(error, name, writing=True) from error
                return self._settle(name, attempt, error, refused or "IfNoneMatch" in condition)
            except BotoCoreError as error:
                return self._settle(name, attempt, error, "IfNoneMatch" in condition)
        raise AssertionError("unreachable")

    def _settle(self, name: str, attempt: str, error: Exception, lost: bool) -> str | None:
        """Who won, after a refusal or an unknown outcome: our etag when our bytes stand, None when others do.

        `lost`: another's object means that we lost, and is no failure.
        """
        try:
            found = self._ask(name, lambda: self._found(name))
        except LakeError as silent:
            if _code(error) not in ("PreconditionFailed", "412", "NoSuchKey"):
                raise self._clear(error, name, writing=True) from error
            if isinstance(silent, Missing):
                return None
            raise  # that the condition did not hold is no failure; that nobody says why is one
        if found["Metadata"].get(_ATTEMPT) == attempt:
            return str(found["ETag"])
        if lost:
            return None
        raise self._clear(error, name, writing=True) from error

    def _ask(self, name: str, call: Callable[[], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call()
        except (BotoCoreError, ClientError) as error:
            raise self._clear(error, name) from error

    def _clear(self, error: Exception, name: str, writing: bool = False) -> LakeError:
        """What botocore says, as one sentence, without what it may quote (keys, tokens, signed addresses)."""
        code = _code(error)
        if code in ("NoSuchKey", "404"):
            return Missing(f"There is no {self.url}/{name}.")
        known = next((s for s in (_REFUSED_WRITES if writing else ()) + _REFUSALS if code in s[0]), _REFUSALS[-1])
        fields = {"at": _place(self._client.meta.endpoint_url), "bucket": self._bucket, "url": self.url, "name": name}
        return LakeError(known[1].format(code=code, **fields), known[2])


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    return str(response["Error"].get("Code", "")) if response else type(error).__name__


def _place(endpoint: str) -> str:
    """An endpoint without a user or password in it."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _is_here(endpoint: str) -> bool:
    return urlsplit(endpoint).hostname in ("127.0.0.1", "localhost", "::1")


def _settings() -> tuple[tuple[str, str], ...]:
    """The AWS environment: a client made under another one is another client."""
    return tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_")))


@lru_cache(maxsize=4)
def _connect(pid: int, settings: tuple[tuple[str, str], ...]) -> "S3Client":
    """One client a process and environment; botocore's clients are safe to share between threads."""
    chosen = dict(settings)
    return client(chosen.get("AWS_ENDPOINT_URL_S3") or chosen.get("AWS_ENDPOINT_URL"))


def client(endpoint: str | None, attempts: int = _ATTEMPTS, **keys: str) -> "S3Client":
    """A client with bounded waits. What is not given, the AWS environment says."""
    import boto3
    import botocore.session
    from botocore.config import Config

    core = botocore.session.Session()
    core.register_component("data_loader", _loader())
    session = boto3.session.Session(botocore_session=core)
    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=32,
        s3={"addressing_style": "path" if endpoint else "auto", "payload_signing_enabled": False},
        response_checksum_validation="when_required",
        proxies={} if endpoint and _is_here(endpoint) else None,
    )
    region = session.region_name or "us-east-1"
    made: S3Client = session.client("s3", config=config, region_name=region, endpoint_url=endpoint, **keys)  # type: ignore[call-overload]  # names and keys only
    made.meta.events.register("before-send.s3.PutObject", _at_once)
    return made


def _at_once(request: Any, **_: Any) -> None:
    """Does not ask the server whether it wants a small body, which would take as long as to send it."""
    if int(request.headers.get("Content-Length", _SMALL)) < _SMALL:
        del request.headers["Expect"]


@lru_cache(maxsize=1)
def _loader() -> Any:
    """botocore's descriptions of the service, parsed once a process: 0.1 s for the first client, 0.01 s for others."""
    from botocore.loaders import create_loader

    return create_loader()


def warm() -> None:
    """Imports and parses what the first client needs, so that it can be done while a server starts."""
    with _LOCK:
        client("http://127.0.0.1:1", aws_access_key_id="none", aws_secret_access_key="none")


@lru_cache(maxsize=4)
def _arrow(pid: int, settings: tuple[tuple[str, str], ...], endpoint: str, region: str) -> Any:
    """pyarrow's file system at the endpoint that boto3 found: by itself it ignores AWS_ENDPOINT_URL."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    parts = urlsplit(endpoint)
    amazon = (parts.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
    where = {} if amazon else {"endpoint_override": parts.netloc.rpartition("@")[2], "scheme": parts.scheme}
    retry = AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS)
    return S3FileSystem(
        region=region, connect_timeout=_CONNECT_S, request_timeout=_READ_S, retry_strategy=retry, **where
    )


def _again(fetch: Callable[[], T]) -> T:
    """botocore retries requests, not bodies that break off or come damaged: those are asked for again here."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    for _ in range(_READ_TRIES - 1):
        try:
            return fetch()
        except (HTTPClientError, IncompleteReadError, DamagedError):
            time.sleep(random.uniform(0, 0.2))
    return fetch()
