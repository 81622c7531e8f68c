"""Exactly-once handlers as type checkers see them."""

import json
import sqlite3
from typing import Any, assert_type

import aiosqlite
import psycopg
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, sessionmaker

from ferromqtt import Client, Router, TypedMessage, once

router = Router()


def number(message: TypedMessage[Any]) -> int:
    assert_type(message.payload, bytes)
    return int(message.payload)


def over_sqlite(connection: sqlite3.Connection) -> None:
    store = once.sqlite(connection, table="seen", dead_letters="failed")
    assert_type(store, once.SyncStore[sqlite3.Connection])
    assert_type(store.sql, str)
    store.create()
    assert_type(once.sqlite(lambda: connection), once.SyncStore[sqlite3.Connection])

    @router.exactly_once(
        "orders/#",
        ("bills", 2),
        store=store,
        key=number,
        batch=10,
        retries=0,
        on_failure="dead_letter",
        keep_keys_for=3600,
        name="orders",
        qos=2,
        codec=json,
        maxsize=10,
    )
    def order(message: TypedMessage[Any], db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO orders VALUES (?)", (message.value,))

    router.exactly_once("a", store=store, key=number)(over_psycopg)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    router.exactly_once("a", store=store, key=number, ack="auto")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    router.exactly_once("a", key=number)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def over_aiosqlite(connection: aiosqlite.Connection) -> None:
    store = once.aiosqlite(connection)
    assert_type(store, once.AsyncStore[aiosqlite.Connection])
    await store.create()

    @router.exactly_once("orders", store=store, key=number)
    async def order(_: TypedMessage[Any], db: aiosqlite.Connection) -> None:
        await db.execute("SELECT 1")


def over_psycopg(connection: psycopg.Connection[Any], other: psycopg.AsyncConnection[Any]) -> None:
    assert_type(once.psycopg(connection), once.SyncStore[psycopg.Connection[Any]])
    assert_type(once.psycopg(other), once.AsyncStore[psycopg.AsyncConnection[Any]])
    once.psycopg(lambda: psycopg.connect("")).create()


def over_sqlalchemy(
    connection: Connection, session: AsyncSession, maker: sessionmaker[Session]
) -> None:
    assert_type(once.sqlalchemy(connection), once.SyncStore[Connection])
    assert_type(once.sqlalchemy(session), once.AsyncStore[AsyncSession])
    assert_type(once.sqlalchemy(maker), once.SyncStore[Session])


async def serve(client: Client) -> None:
    await router.serve(client)
    try:
        await router.serve(client)
    except once.HandlerFailedError as error:
        assert_type(error.__cause__, BaseException | None)
    except once.OnceError:
        pass
