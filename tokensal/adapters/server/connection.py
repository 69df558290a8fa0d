"""Requests to a server: a timeout for each, bounded retries, and every failure told in one sentence.

1. A request that is not answered in time, whose connection breaks, or that the server answers with 429 or 5xx, is sent
   again after a pause that doubles; or after as long as the server says, within bounds.
2. After the last attempt, the failure is told. What the server refuses (4xx) is not sent again: a caller may know what
   else to ask for.
3. The key of the server is read from the environment for each connection. It is sent to no other address, since
   redirections are not followed, and it is taken out of what the server says before that is quoted.
"""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tokensal.errors import LONGEST_REASON, InputError, ServerError, reason

if TYPE_CHECKING:
    import httpx2

KEYS = ("TOKENSAL_API_KEY", "OPENAI_API_KEY")  # of the environment; the first that is set counts
ATTEMPTS = 4
PAUSE = 0.5  # seconds before the second attempt
LONGEST_PAUSE = 20.0
LOCAL = ("127.0.0.1", "localhost", "::1")  # proxies cannot reach these
AGAIN = (408, 429, 500, 502, 503, 504, 529)  # the same request may be answered later

Table = dict[str, Any]


class Refused(Exception):
    """The server understood a request, and refuses it (4xx); `told` is what it says, for the end of a sentence."""

    def __init__(self, status: int, told: str) -> None:
        super().__init__(told)
        self.status, self.told = status, told


@dataclass(frozen=True, eq=False)
class Connection:
    """A server at a base address, such as http://127.0.0.1:8000/v1.

    Attributes:
        address: the base address, without a slash at its end.
        timeout: seconds to wait for an answer.
        concurrency: how many requests may be on their way at once.
        pause: seconds before the second attempt; it doubles from one to the next.

    Raises:
        InputError: an address that holds a password, a query or a fragment, or that has no host.
    """

    address: str
    timeout: float = 60.0
    concurrency: int = 8
    pause: float = field(default=PAUSE, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.address)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host:
            raise InputError(f"The address {self.address!r} has no host: give one such as http://127.0.0.1:8000/v1.")
        if parts.username or parts.password:
            raise InputError(
                "The address of the server holds a name or a password, which results would store: leave it out, and "
                f"set the environment variable {KEYS[-1]}."
            )
        if parts.query or parts.fragment:
            raise InputError(f"The address {self.address!r} should end before '?' and '#': leave the rest out.")
        object.__setattr__(self, "address", self.address.rstrip("/"))

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has a client of its own, as a process needs it."""
        return type(self), (self.address, self.timeout, self.concurrency, self.pause)

    @property
    def root(self) -> str:
        """Where the server has what is not OpenAI's: vLLM's /tokenize."""
        return self.address.removesuffix("/v1")

    @cached_property
    def _client(self) -> httpx2.Client:
        import httpx2  # here, since importing it takes a while

        key = next((os.environ[name] for name in KEYS if os.environ.get(name)), None)
        limits = httpx2.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)
        client = httpx2.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(self.timeout, pool=None),
            limits=limits,
            trust_env=urlsplit(self.address).hostname not in LOCAL,
        )
        weakref.finalize(self, client.close)
        return client

    def get(self, url: str) -> Table:
        """What the server answers; see `post`."""
        return self._answer("GET", url, None)

    def post(self, url: str, body: Mapping[str, Any]) -> Table:
        """What the server answers to a body in JSON.

        Raises:
            Refused: it refuses the request.
            ServerError: it cannot be reached, does not answer in time, fails, wants a key, or answers with no JSON.
        """
        return self._answer("POST", url, body)

    def post_all(self, url: str, bodies: Iterable[Mapping[str, Any]]) -> list[Table]:
        """What the server answers to several bodies, in their order, of which some are on their way at once.

        Raises:
            Refused, ServerError: as for `post`; what was not sent yet is not sent.
        """
        stopped = threading.Event()

        def send(body: Mapping[str, Any]) -> Table:
            if stopped.is_set():
                raise ServerError("A request was not sent, since another one failed.")
            return self._answer("POST", url, body, stopped)

        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="tokensal") as pool:
            waiting = [pool.submit(send, body) for body in bodies]
            try:
                done, _ = wait(waiting, return_when=FIRST_EXCEPTION)
                for each in done:
                    each.result()  # raises what failed first, whichever it was
                return [each.result() for each in waiting]
            except BaseException:  # also an interruption: nobody waits for the rest
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _answer(
        self, method: str, url: str, body: Mapping[str, Any] | None, stopped: threading.Event | None = None
    ) -> Table:
        """One request, sent again where that may help."""
        import httpx2

        failure, pause = "", self.pause
        for attempt in range(ATTEMPTS):
            if attempt:
                if stopped is None:
                    time.sleep(pause)
                elif stopped.wait(pause):
                    break
            pause = min(self.pause * 2 ** (attempt + 1), LONGEST_PAUSE)
            try:
                response = self._client.request(method, url, json=body)
            except httpx2.TimeoutException:
                failure = f"did not answer within {self.timeout:g} s"
            except httpx2.TransportError as error:
                failure = f"cannot be reached, or ended the connection ({reason(error)})"
            except httpx2.HTTPError as error:
                failure = f"answered with what cannot be read ({reason(error)})"
            else:
                if response.status_code not in AGAIN:
                    return self._read(response)
                failure = f"answered {response.status_code} ({self._told(response)})"
                pause = max(pause, min(_pause_of(response), LONGEST_PAUSE))
        raise ServerError(
            f"The server at {self.address} {failure}, {ATTEMPTS} times: check that it runs and is not overloaded, or "
            "raise the timeout or lower the concurrency."
        )

    def _read(self, response: httpx2.Response) -> Table:
        if response.status_code in (401, 403):
            raise ServerError(
                f"The server at {self.address} refuses the key ({self._told(response)}): set the environment variable "
                f"{KEYS[-1]}, or {KEYS[0]}, which comes first."
            )
        if response.is_redirect:
            raise ServerError(f"The server at {self.address} is elsewhere ({response.status_code}): give that address.")
        if response.status_code >= 400:
            raise Refused(response.status_code, f"{response.status_code}, {self._told(response)}")
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ServerError(
                f"The server at {self.address} answered with no JSON object, but with {self._quoted(response.text)}: "
                "give the base address of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1."
            )
        return answer

    def _told(self, response: httpx2.Response) -> str:
        """What an answer says about a failure, shortened, without the key."""
        text = response.text
        try:
            error = json.loads(text)
            while isinstance(error, dict):
                error = error.get("error") or error.get("message") or error.get("detail") or text
            text = error if isinstance(error, str) else text
        except ValueError:
            pass
        return self._quoted(text)

    def _quoted(self, text: str) -> str:
        for name in KEYS:
            if key := os.environ.get(name):
                text = text.replace(key, "…")
        text = " ".join(text.split()).rstrip(".")
        return repr(text[:LONGEST_REASON]) if text else "nothing"


def _pause_of(response: httpx2.Response) -> float:
    """The seconds that an answer asks to wait; 0 where it says nothing, or a date."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0
