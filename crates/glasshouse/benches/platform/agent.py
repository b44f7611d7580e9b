"""An agent that writes lines at a given pace, each with the time at which it was written.

Its prompt is `<lines> <milliseconds between them> <file to wait for>`.
"""
import json
import os
import sys
import time


def say(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def work(params):
    lines, pause, start = params["prompt"][0]["text"].split()
    while not os.path.exists(start):
        time.sleep(0.002)
    for _ in range(int(lines)):
        text = {"type": "text", "text": f"{time.time_ns()} "}
        update = {"sessionUpdate": "agent_message_chunk", "content": text}
        say({"method": "session/update", "params": {"sessionId": "s", "update": update}})
        time.sleep(int(pause) / 1000)
    return {"stopReason": "end_turn"}


for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked or "method" not in asked:
        continue
    if asked["method"] == "initialize":
        result = {"protocolVersion": 1, "agentCapabilities": {}}
    elif asked["method"] == "session/new":
        result = {"sessionId": "s"}
    else:
        result = work(asked["params"])
    say({"id": asked["id"], "result": result})
