"""An app of somebody else under uvicorn, without a gateway."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn
from fastapi import FastAPI

from support.serving import eventually


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The app over a socket; its origin."""
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            eventually(lambda: server.started, "it listens")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(15)


@pytest.fixture
def serve_app() -> Iterator[Callable[[FastAPI], str]]:
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(serving(app))
