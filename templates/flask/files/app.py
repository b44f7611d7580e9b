from flask import Flask, redirect, render_template, request, url_for

app = Flask(__name__)
guests: list[str] = []


@app.get("/")
def index():
    return render_template("index.html", guests=guests)


@app.post("/guests")
def add_guest():
    name = request.form.get("name", "").strip()[:60]
    if name:
        guests.append(name)
    return redirect(url_for("index"))
