from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

app = FastAPI(title="Notes")


class Note(BaseModel):
    text: str = Field(min_length=1, max_length=200)


notes: list[Note] = [Note(text="The first of many")]


@app.get("/api/health")
def health() -> dict[str, bool]:
    return {"ok": True}


@app.get("/api/notes")
def list_notes() -> list[Note]:
    return notes


@app.post("/api/notes", status_code=201)
def add_note(note: Note) -> Note:
    notes.append(note)
    return note


# Last, as it answers whatever nothing above does.
app.mount("/", StaticFiles(directory=Path(__file__).parent / "static", html=True))
