"""The recipe's `collect`: where raw data comes from. One model a kind of source, each strict, with its defaults."""

from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from dsray.schema import RAW, SAMPLES

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


def _as_text(classes: Any) -> Any:
    """YAML reads 7 as a number; a label is text."""
    return {str(name): said for name, said in classes.items()} if isinstance(classes, dict) else classes


Said = TypeVar("Said")
ByLabel = Annotated[dict[str, Said], BeforeValidator(_as_text)]

RESERVED = {*RAW.names, *SAMPLES.names}
"""Column names that a source's fields may not take."""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def free(names: dict[str, str]) -> dict[str, str]:
    """Refuses the names of dsray's own columns."""
    for name in names.keys() & RESERVED:
        raise ValueError(f"a field cannot be named '{name}': dsray has a column of that name")
    return names


class HostBudget(Model):
    """What one host may give, over all rounds of a crawl."""

    pages: int | None = Field(None, ge=1, description="Pages fetched from one host.")
    mb: float | None = Field(None, gt=0, description="Megabytes of payload from one host.")
    minutes: float | None = Field(None, gt=0, description="Minutes from a round's first request to a host to its last.")


class Budget(Model):
    """When a crawl ends, whatever is left."""

    pages: int = Field(10_000, ge=1, description="Pages fetched.")
    depth: int = Field(100, ge=0, description="Links from a start page.")
    mb: float = Field(10_000, gt=0, description="Megabytes of payload.")
    minutes: float = Field(60, gt=0, description="Wall-clock minutes: the deadline of the last page.")
    rounds: int = Field(1000, ge=1, description="Rounds of choose, fetch, update.")
    host: HostBudget = Field(HostBudget(), description="The same for every single host.")


class Retry(Model):
    """What follows no answer, 429 and 5xx: each try waits four times as long as the one before."""

    times: int = Field(3, ge=1, le=20, description="Tries in all; then the URL is given up.")
    wait_s: float = Field(10, ge=0, description="Seconds before the second try; Retry-After can make them more.")


class Revisit(Model):
    """When `dsray run --recrawl due` asks a URL again: sooner after a change, later when nothing changed."""

    first_hours: float = Field(24, ge=0, description="After the first visit.")
    min_hours: float = Field(1, ge=0, description="At the soonest; a change halves the wait.")
    max_hours: float = Field(2160, gt=0, description="At the latest; no change makes the wait 1.5 times as long.")


class UrlList(Model):
    """A list of media URLs with their texts: Parquet, CSV (with a header), or text (a URL a line)."""

    path: str = Field(min_length=1, description="File or folder of files: a path, file:///... or s3://...")
    url: str = Field("url", description="Column of the media's URL.")
    texts: dict[Name, str] = Field({}, description="Field → column.")

    _free = field_validator("texts")(free)


class Api(Model):
    """A JSON API, page after page. Expressions are JMESPath."""

    start: list[str] = Field(min_length=1, description="First pages.")
    items: str = Field("@", description="Expression: the list of items in an answer.")
    url: str = Field("url", description="Expression on an item: its media's URL.")
    texts: dict[Name, str] = Field({}, description="Field → expression on an item.")
    next: str = Field("", description="Expression on an answer: the next page's URL; empty: the Link header's `next`.")

    _free = field_validator("texts")(free)


class Crawl(Model):
    """Fetch media from the web: along links, from sitemaps, a list of URLs, a JSON API, or by an own spider."""

    start: list[str] = Field([], description="Start pages, http or https.")
    sitemaps: list[str] = Field([], description="Sitemap URLs; `discover` takes those that robots.txt names.")
    urls: UrlList | None = Field(None, description="A list of media URLs.")
    api: Api | None = Field(None, description="A paginated JSON API.")
    item: dict[Name, str] = Field({}, description="Field → CSS selector; the first field is the media's URL.")
    follow: str = Field("a::attr(href)", description="CSS selector of the links to follow.")
    scope: Literal["host", "domain", "any"] = Field(
        "host", description="Links stay on the start pages' hosts, or registered domains, or go anywhere; items may be."
    )
    spider: str | None = Field(None, description="Own spider, `module:Class`; its `parse` yields items and links.")
    texts: list[Name] = Field([], description="Text fields of an own spider's items.")
    javascript: bool = Field(False, description="Render pages in a browser; needs dsray[playwright].")
    warc: bool = Field(False, description="Also write every answer as WARC.")
    allow_private: bool = Field(False, description="Allow private and loopback addresses.")
    user_agent: str = Field("", description="Own user agent; required for public hosts: a name and a contact.")
    concurrency: int = Field(8, ge=1, le=64, description="Requests at once to a host.")
    delay_s: float | None = Field(
        None,
        ge=0,
        description="Seconds between two requests to a host; by default 1, or 0 with allow_private.",
    )
    timeout_s: float = Field(60, gt=0, description="Seconds for one answer, first byte to last.")
    max_mb: float = Field(20, gt=0, description="Megabytes of one response.")
    round_minutes: float = Field(10, gt=0, description="How long a round fetches before its news are shared.")
    commit_s: float = Field(60, gt=0, description="Seconds between commits: what a crash loses at most.")
    retry: Retry = Field(Retry(), description="What follows a failure that may pass.")
    revisit: Revisit = Field(Revisit(), description="When a URL is due again.")
    budget: Budget = Field(Budget(), description="When it ends.")

    _free = field_validator("item")(free)

    @field_validator("start")
    @classmethod
    def _http(cls, start: list[str]) -> list[str]:
        for url in start:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"'{url}' is not an http or https URL")
        return start

    @model_validator(mode="after")
    def _whole(self) -> "Crawl":
        if not (self.start or self.sitemaps or self.urls or self.api):
            raise ValueError("a crawl needs `start`, `sitemaps`, `urls` or `api`")
        if "discover" in self.sitemaps and not self.start:
            raise ValueError("`sitemaps: [discover]` needs `start`: the sites whose robots.txt is read")
        if (self.start or self.sitemaps) and not (self.item or self.spider):
            raise ValueError("pages need `item` (field → CSS selector) or an own `spider`")
        if self.spider and ":" not in self.spider:
            raise ValueError(f"'{self.spider}' is not `module:Class`")
        if not self.allow_private and "@" not in self.user_agent and "http" not in self.user_agent:
            raise ValueError(
                "a crawl of public hosts needs `user_agent` with a contact: 'name (+https://... or mail@...)'"
            )
        return self

    def fields(self) -> set[str]:
        """Names of the text fields that its rows have."""
        return {*list(self.item)[1:], *self.texts, *(self.urls.texts if self.urls else ()),
                *(self.api.texts if self.api else ())}  # fmt: skip


class Files(Model):
    """Files and archives: one row a media file, or one row a record of a table or archive."""

    path: str = Field(min_length=1, description="File or folder: a path, file:///... or s3://...")
    include: list[str] = Field(["**"], min_length=1, description="Globs of the names to take, below `path`.")
    media: str = Field("", description="Tables: the column of the payload (bytes, text, or {bytes, path}).")
    texts: dict[Name, str] = Field({}, description="Field → column, sidecar extension (txt, json.caption), or one of "
                                   "`folder`, `name`, `path`.")  # fmt: skip

    _free = field_validator("texts")(free)


class Warc(Model):
    """WARC files, Common Crawl's for one: a row each response that the filters let pass."""

    path: str = Field(min_length=1, description="File or folder: a path, file:///... or s3://...")
    types: list[str] = Field(["image/*"], min_length=1, description="Content types to take.")
    urls: str = Field("", description="Regular expression that a response's URL must match.")


class Sql(Model):
    """A query on a database, in parallel by ranges of a key."""

    database: str = Field(min_length=1, description="postgresql://user@host/name or sqlite:///absolute/path; a "
                          "password comes from PGPASSWORD or ~/.pgpass.")  # fmt: skip
    query: str = Field(min_length=1, description="A SELECT; `params` fill its placeholders.")
    params: list[str | int | float | bool] = Field([], description="Values of the placeholders, in order.")
    key: str = Field(min_length=1, description="An integer column that is unique in the answer: ranges go by it.")
    media: str = Field(min_length=1, description="Column of the payload: bytes, or text.")
    texts: dict[Name, str] = Field({}, description="Field → column.")
    rows: int = Field(10_000, ge=1, description="Key values in one range: a range is one raw shard.")

    _free = field_validator("texts")(free)

    @field_validator("database")
    @classmethod
    def _no_password(cls, database: str) -> str:
        parts = urlsplit(database)
        if parts.password is not None or "password" in parts.query.lower():
            raise PydanticCustomError("password", "a recipe holds no passwords: use PGPASSWORD or ~/.pgpass")
        return database


class Hub(Model):
    """A Hugging Face dataset, from a local path or the hub."""

    path: str = Field(min_length=1, description="A local folder, or the dataset's name on the hub.")
    name: str | None = Field(None, description="Configuration.")
    split: str = Field("train", description="Split.")
    revision: str | None = Field(None, description="Revision on the hub; pin it to make the same dataset again.")
    media: str = Field(min_length=1, description="Column of the payload.")
    texts: dict[Name, str] = Field({}, description="Field → column; class labels become their names.")

    _free = field_validator("texts")(free)


class Source(Model):
    """One source of raw rows: exactly one of these."""

    crawl: Crawl | None = Field(None, description="The web.")
    files: Files | None = Field(None, description="Files and archives.")
    warc: Warc | None = Field(None, description="Web archives.")
    sql: Sql | None = Field(None, description="A database.")
    hub: Hub | None = Field(None, description="A Hugging Face dataset.")

    @model_validator(mode="after")
    def _one(self) -> "Source":
        said = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(said) != 1:
            raise ValueError(f"a source is exactly one of {', '.join(type(self).model_fields)}")
        return self

    def fields(self) -> set[str]:
        """Names of the text fields that its rows have."""
        if self.crawl:
            return self.crawl.fields()
        found = self.files or self.sql or self.hub
        return set(found.texts) if found else set()
