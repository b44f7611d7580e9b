from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

app = FastAPI(title="App")
static = Path(__file__).parent / "static"


class Item(BaseModel):
    name: str = Field(min_length=1, max_length=80)
    done: bool = False


items: list[Item] = [Item(name="Say what this app should become"), Item(name="Look at /docs", done=True)]


@app.get("/api/health")
def health() -> dict[str, bool]:
    return {"ok": True}


@app.get("/api/items")
def list_items() -> list[Item]:
    return items


@app.post("/api/items", status_code=201)
def add_item(item: Item) -> Item:
    items.append(item)
    return item


@app.get("/", include_in_schema=False)
def index() -> FileResponse:
    return FileResponse(static / "index.html")


app.mount("/static", StaticFiles(directory=static))
