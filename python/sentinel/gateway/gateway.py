"""`Gateway`: the engine and everything around it, built once, closed once, in order."""

from __future__ import annotations

import asyncio
import secrets
import threading
from importlib.resources import files
from typing import TYPE_CHECKING, Self

from sentinel import _core
from sentinel.accounts import ControlServer, KeyStore, SecretCheck, load_pepper, prepare_data_dir
from sentinel.config import Settings, to_snapshot
from sentinel.errors import GatewayError
from sentinel.gateway.bridge import AsyncBridge
from sentinel.gateway.keys import Keys
from sentinel.providers import Provider
from sentinel.usage import shipped_prices

if TYPE_CHECKING:
    from sentinel.testing import ManualClock

__all__ = ["Gateway"]

_POLL_SECONDS = 0.02
_DELIVER_SECONDS = 1.0


class Gateway:
    """One gateway of this process.

    `provider` serves the upstreams of kind `python`; `clock` is the manual clock of
    `sentinel.testing` that all deadlines then go by. Use it as `async with`, or call `start` and
    `close`. GatewayError when it cannot start, ConfigError when the settings do not fit together.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        provider: Provider | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        self.settings = settings
        self._provider = provider
        self._clock = clock
        self._engine: _core.Engine | None = None
        self._keys: Keys | None = None
        self._control: ControlServer | None = None
        self._admin: SecretCheck | None = None
        self._body_seconds = settings.server.limits.body_seconds
        self._bridges: dict[int, AsyncBridge] = {}  # by the thread whose loop it is

    async def start(self) -> None:
        """Take the data directory, open stores, start the loops. A second call does nothing.

        GatewayError when the directory is in use or the engine cannot start, AccountsError when the
        directory or the key store is not fit to use.
        """
        if self._engine is not None:
            return
        settings = self.settings
        data_dir = prepare_data_dir(settings.data_dir)
        given = settings.server.pepper
        pepper = load_pepper(data_dir, given.get_secret_value() if given else None)
        engine = self._start_engine(pepper)
        try:
            store = KeyStore(data_dir / "accounts.db", pepper)
            self._keys = Keys(store, engine, settings.configured_keys())
            store.ensure_accounts(settings.configured_accounts())
            self._keys.reload()
            self._control = ControlServer(data_dir, self._keys.reload)
            await self._control.start()
        except BaseException:
            engine.close()
            raise
        if settings.admin.key is not None:
            self._admin = SecretCheck(pepper, settings.admin.key.get_secret_value())
        self._engine = engine
        if self._clock is not None:
            self._clock.attach(engine)
        engine.log_event("info", "started", [("data_dir", str(data_dir))])

    def _start_engine(self, pepper: bytes) -> _core.Engine:
        settings = self.settings
        prices = settings.usage.prices or shipped_prices()
        try:
            return _core.Engine(
                snapshot=to_snapshot(settings, prices),
                pepper=pepper,
                data_dir=str(settings.data_dir),
                usage_database=str(settings.usage_database),
                vocabulary_directory=str(files("sentinel.tokens") / "data"),
                loops=1 if settings.server.loops == "auto" else settings.server.loops,
                seed=secrets.randbits(63),
                log_level=settings.log.level,
                log_sample=settings.log.sample,
                drain_delay_seconds=settings.server.drain_delay.total_seconds(),
                drain_timeout_seconds=settings.server.drain_timeout.total_seconds(),
                clock=self._clock.core if self._clock is not None else None,
            )
        except ValueError as error:
            raise GatewayError(str(error)) from None

    @property
    def engine(self) -> _core.Engine:
        """The engine; GatewayError before start."""
        if self._engine is None:
            raise GatewayError("the gateway has not been started: its lifespan must run first")
        return self._engine

    @property
    def started(self) -> bool:
        """Whether `start` has run and `close` has not."""
        return self._engine is not None

    @property
    def keys(self) -> Keys:
        """Accounts and keys; GatewayError before start."""
        if self._keys is None:
            raise GatewayError("the gateway has not been started: its lifespan must run first")
        return self._keys

    def is_admin(self, presented: str) -> bool:
        """Whether this is the admin key, compared in constant time."""
        return self._admin is not None and self._admin.matches(presented)

    def bridge(self) -> AsyncBridge:
        """The bridge of the running asyncio loop, made on first use.

        GatewayError before start, and where no asyncio loop runs.
        """
        bridge = self._bridges.get(threading.get_ident())
        # A thread runs one loop at a time: the one that runs here is the bridge's, or it is new.
        # (asyncio.get_running_loop would tell too, at the price of a system call.)
        if bridge is not None and bridge.loop.is_running():
            return bridge
        return self._new_bridge()

    def _new_bridge(self) -> AsyncBridge:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise GatewayError(
                "Sentinel runs on asyncio (or uvloop); there is no running asyncio loop here"
            ) from None
        former = self._bridges.pop(threading.get_ident(), None)
        # In a forked child the former loop's epoll is still the parent's: it must not be touched.
        if former is not None and self.engine.alive:
            former.close()
        bridge = AsyncBridge(self.engine, loop, self._provider, self._body_seconds)
        self._bridges[threading.get_ident()] = bridge
        return bridge

    def not_ready(self) -> list[str]:
        """Why this instance should get no traffic; empty when it should."""
        if self._engine is None or not self._engine.alive:
            return ["not_started"]
        reasons = []
        if self._engine.drain_state != _core.DrainState.serving:
            reasons.append("draining")
        if self._engine.ledger()["failing"]:
            reasons.append("usage_ledger_failing")
        return reasons

    async def drain(self, *, with_delay: bool) -> None:
        """Stop in order: announce, refuse, wait for what runs, end the rest.

        Returns when nothing is in flight. `with_delay` is whether `server.drain_delay` is kept.
        """
        engine = self.engine
        engine.begin_drain(with_delay=with_delay)
        while engine.drain_state != _core.DrainState.stopped:
            await asyncio.sleep(_POLL_SECONDS)

    async def close(self) -> None:
        """Drain without delay if nobody has, then close everything. Idempotent."""
        engine, self._engine = self._engine, None
        if engine is None or not engine.alive:  # after a fork all of it is the parent's
            return
        if engine.drain_state == _core.DrainState.serving:
            self._engine = engine
            await self.drain(with_delay=False)
            self._engine = None
        await self._deliver()
        if self._control is not None:
            await self._control.close()
        for thread, bridge in self._bridges.items():
            if thread == threading.get_ident() or not bridge.loop.is_running():
                bridge.close()
            else:
                bridge.loop.call_soon_threadsafe(bridge.close)
        self._bridges.clear()
        await asyncio.to_thread(engine.close)
        if self._keys is not None:
            self._keys.close()

    async def _deliver(self) -> None:
        """Let every loop hand out the ends that the engine has just put on its bridge."""
        running = [bridge for bridge in self._bridges.values() if bridge.loop.is_running()]
        until = asyncio.get_running_loop().time() + _DELIVER_SECONDS
        while any(bridge.busy for bridge in running) and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(_POLL_SECONDS)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()
