import sqlite3
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, Field

DATABASE = Path(__file__).parent / "app.db"


def connect() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(DATABASE, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        with connection:
            yield connection
    finally:
        connection.close()


Database = Annotated[sqlite3.Connection, Depends(connect)]


@asynccontextmanager
async def lifespan(_: FastAPI):
    for database in connect():
        database.execute("CREATE TABLE IF NOT EXISTS task (id INTEGER PRIMARY KEY, title TEXT NOT NULL, done INTEGER NOT NULL)")
    yield


app = FastAPI(title="To-do", lifespan=lifespan)


class NewTask(BaseModel):
    title: str = Field(min_length=1, max_length=120)


class Change(BaseModel):
    done: bool


class Task(BaseModel):
    id: int
    title: str
    done: bool


@app.get("/api/tasks")
def list_tasks(database: Database) -> list[Task]:
    rows = database.execute("SELECT id, title, done FROM task ORDER BY id")
    return [Task(**row) for row in rows]


@app.post("/api/tasks", status_code=201)
def add_task(task: NewTask, database: Database) -> Task:
    added = database.execute("INSERT INTO task (title, done) VALUES (?, 0)", (task.title,))
    return Task(id=added.lastrowid, title=task.title, done=False)


@app.patch("/api/tasks/{id}")
def change_task(id: int, change: Change, database: Database) -> Task:
    database.execute("UPDATE task SET done = ? WHERE id = ?", (change.done, id))
    row = database.execute("SELECT id, title, done FROM task WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise HTTPException(404, f"there is no task {id}")
    return Task(**row)


@app.delete("/api/tasks/{id}", status_code=204)
def delete_task(id: int, database: Database) -> None:
    database.execute("DELETE FROM task WHERE id = ?", (id,))
