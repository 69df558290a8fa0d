"""A small local server that serves a model with the protocol of vLLM and others, and fails as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from tokensal.adapters import ModelAdapter

Fault = Callable[["Handler", dict[str, Any]], bool]  # does something else with a request, and says whether it did


@dataclass
class Server:
    """A served model, and what it was asked.

    Attributes:
        adapter: the model and its tokenizer.
        style: "vllm" (ids, prompt_logprobs, /tokenize), "texts" (echo, with texts of tokens; extensions are ignored),
            "strict" (the same; extensions are refused), "prompt_logprobs" (no echo) or "none" (generated tokens only).
        names: of the models that it says it serves.
        faults: of the next requests for completions; None for one that is answered rightly.
        key: what it wants to be called with.
        requests: (path, body, headers) of all.
    """

    adapter: ModelAdapter
    style: str = "vllm"
    names: Sequence[str] = ("tiny",)
    faults: list[Fault | None] = field(default_factory=list)
    key: str | None = None
    context: int | None = None
    requests: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    address: str = ""

    def writes(self, id: int) -> bool:
        """Whether it generates a token: not half a character, nor an id beyond the tokenizer's."""
        return "\ufffd" not in self.adapter.tokenizer.decode([id]) and id < len(self.adapter.tokenizer)

    @property
    def completions(self) -> list[dict[str, Any]]:
        """The bodies of the requests for completions."""
        return [body for path, body, _ in self.requests if path.endswith("/completions")]

    def table(self, ids: Sequence[int]) -> torch.Tensor:
        """(n, V) log-probabilities."""
        model = self.adapter.model
        with self.lock, torch.no_grad():
            return model(torch.tensor([list(ids)])).logits[0].float().log_softmax(-1)

    def write(self, ids: Sequence[int], count: int) -> list[int]:
        written: list[int] = []
        for _ in range(count):
            likeliest = self.table([*ids, *written])[-1].argsort(descending=True).tolist()
            written.append(next(id for id in likeliest if self.writes(id)))
            if written[-1] == self.adapter.model.generation_config.eos_token_id:
                break
        return written


@contextmanager
def serving(adapter: ModelAdapter, **options: Any) -> Iterator[Server]:
    """Inside, the model is served at the address of the server."""
    server = Server(adapter, **options)
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"served": server}))
    http.daemon_threads = True
    server.address = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    served: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.remember({})
        if not self.path.startswith("/v1/models"):
            return self.answer(404, {"detail": "Not Found"})
        entries = [{"id": name, "object": "model", "max_model_len": self.served.context} for name in self.served.names]
        return self.answer(200, {"object": "list", "data": entries})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.remember(body)
        if self.served.key and self.headers.get("Authorization") != f"Bearer {self.served.key}":
            told = f"Incorrect API key provided: {self.headers.get('Authorization')}"
            return self.answer(401, {"error": {"message": told}})
        if self.path == "/v1/completions":
            with self.served.lock:
                fault = self.served.faults.pop(0) if self.served.faults else None
                self.served.at_once += 1
                self.served.most_at_once = max(self.served.most_at_once, self.served.at_once)
            try:
                if fault is None or not fault(self, body):
                    self.complete(body)
            finally:
                with self.served.lock:
                    self.served.at_once -= 1
            return None
        if self.served.style != "vllm":
            return self.answer(404, {"detail": "Not Found"})
        if self.path == "/tokenize":
            return self.tokenize(body)
        if self.path == "/detokenize":
            return self.answer(200, {"prompt": self.served.adapter.tokenizer.decode(body["tokens"])})
        return self.answer(404, {"detail": "Not Found"})

    def remember(self, body: dict[str, Any]) -> None:
        with self.served.lock:
            self.served.requests.append((self.path, body, dict(self.headers)))

    def answer(self, status: int, table: Any, **headers: str) -> None:
        self.send(status, json.dumps(table).encode(), **headers)

    def send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def tokenize(self, body: dict[str, Any]) -> None:
        tokenizer = self.served.adapter.tokenizer
        if "messages" in body:
            ids = tokenizer.apply_chat_template(
                body["messages"],
                add_generation_prompt=body["add_generation_prompt"],
                continue_final_message=body["continue_final_message"],
                return_dict=True,
            )["input_ids"]
        else:
            ids = tokenizer(body["prompt"], add_special_tokens=body["add_special_tokens"])["input_ids"]
        self.answer(200, {"tokens": list(ids), "count": len(ids)})

    # Completions

    def complete(self, body: dict[str, Any]) -> None:
        style, ids, count = self.served.style, body["prompt"], body.get("logprobs")
        extensions = {"return_tokens_as_token_ids", "return_token_ids", "prompt_logprobs"} & body.keys()
        if style == "strict" and extensions:
            return self.answer(400, {"error": {"message": f"Unrecognized request argument: {min(extensions)}"}})
        if style == "prompt_logprobs" and body.get("echo"):
            return self.answer(400, {"error": {"message": "Only no echo is supported"}})
        if not all(type(id) is int for id in ids):
            return self.answer(400, {"error": {"message": "Prompts are token ids here."}})
        written = self.served.write(ids, body["max_tokens"])
        sequence = ids + written
        table = self.served.table(sequence)
        as_ids = style in ("vllm", "prompt_logprobs") and body.get("return_tokens_as_token_ids")
        choice: dict[str, Any] = {"index": 0, "text": self.name(written, False), "finish_reason": "length"}
        first = 0 if body.get("echo") and style != "none" else len(ids)
        if count is not None:
            choice["logprobs"] = {
                "tokens": [self.name([id], as_ids) for id in sequence[first:]],
                "token_logprobs": [
                    None if place == 0 else float(table[place - 1, sequence[place]])
                    for place in range(first, len(sequence))
                ],
                "top_logprobs": [
                    None if place == 0 else self.best(table[place - 1], sequence[place], count, as_ids)
                    for place in range(first, len(sequence))
                ],
            }
        if style in ("vllm", "prompt_logprobs") and (likeliest := body.get("prompt_logprobs")) is not None:
            choice["prompt_logprobs"] = [None]
            for place in range(1, len(ids)):
                values = self.best(table[place - 1], ids[place], likeliest, True)
                choice["prompt_logprobs"].append(
                    {name.removeprefix("token_id:"): {"logprob": value, "rank": 1} for name, value in values.items()}
                )
        if style in ("vllm", "prompt_logprobs") and body.get("return_token_ids"):
            choice["token_ids"] = written
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(written)}
        return self.answer(200, {"id": "cmpl-1", "choices": [choice], "usage": usage})

    def best(self, row: torch.Tensor, own: int, count: int, as_ids: bool) -> dict[str, float]:
        ids = [*row.topk(count).indices.tolist(), own]
        return {self.name([id], as_ids): float(row[id]) for id in ids}

    def name(self, ids: Sequence[int], as_ids: bool | None) -> str:
        return f"token_id:{ids[0]}" if as_ids else self.served.adapter.tokenizer.decode(ids)


# Faults


def status(code: int, **headers: str) -> Fault:
    def fault(handler: Handler, body: dict[str, Any]) -> bool:
        handler.answer(code, {"error": {"message": "out of order"}}, **headers)
        return True

    return fault


def late(seconds: float) -> Fault:
    def fault(handler: Handler, body: dict[str, Any]) -> bool:
        time.sleep(seconds)
        handler.close_connection = True
        return True

    return fault


def cut(handler: Handler, body: dict[str, Any]) -> bool:
    """The connection ends in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.shutdown(2)
    return True


def content(text: str) -> Fault:
    def fault(handler: Handler, body: dict[str, Any]) -> bool:
        handler.send(200, text.encode())
        return True

    return fault


def shifted(handler: Handler, body: dict[str, Any]) -> bool:
    """What is answered is about another sequence, which is longer."""
    handler.complete({**body, "prompt": [1, 5, *body["prompt"]]})
    return True


def other(handler: Handler, body: dict[str, Any]) -> bool:
    """What is answered is about another sequence, which is as long."""
    handler.complete({**body, "prompt": [9, *body["prompt"][1:]]})
    return True
