"""A loopback HTTP server that speaks what the ClearML SDK asks of an API and a file server.

It answers every endpoint with what the SDK needs to go on and keeps what it was sent. It proves what is sent, not
what a real server would accept.
"""

import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Stub(ThreadingHTTPServer):
    """`mode`: "well", "wrong" (refuses credentials), "hangs" (never answers), "dies" (after the first events)."""

    daemon_threads = True

    def __init__(self, mode: str = "well"):
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode, self.asked, self.calls, self.tasks, self.files = mode, [], [], {}, []
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def conf(self) -> str:
        """The clearml.conf that leads here."""
        servers = "".join(f'  {name}_server: "{self.url}"\n' for name in ("api", "web", "files"))
        return f'api {{\n{servers}  credentials {{ "access_key": "KEY", "secret_key": "SECRET" }}\n}}\n'

    def events(self) -> list[dict]:
        return [event for name, sent in self.calls if name == "events.add_batch" for event in sent]

    def answer(self, name: str, sent) -> dict:
        with self.lock:
            self.calls.append((name, sent))
            return self._answer(name, sent if isinstance(sent, dict) else {})

    def _answer(self, name: str, sent: dict) -> dict:
        if name == "auth.login":
            return {"token": _token()}
        if name == "tasks.create":
            task = uuid.uuid4().hex
            self.tasks[task] = sent | {"id": task, "status": "created"}
            return {"id": task}
        task = self.tasks.get(sent.get("task"), {})
        states = {"started": "in_progress", "completed": "completed", "failed": "failed", "stopped": "stopped"}
        if name.startswith("tasks.") and name.partition(".")[2] in states:
            task["status"] = states[name.partition(".")[2]]
            task["reason"] = sent.get("status_message")
        elif name in ("tasks.edit", "tasks.update"):
            task.update({key: value for key, value in sent.items() if key != "task"})
        elif name == "tasks.edit_hyper_params":
            for one in sent["hyperparams"]:
                task.setdefault("hyperparams", {}).setdefault(one["section"], {})[one["name"]] = one
        elif name == "tasks.add_or_update_artifacts":
            artifacts = task.setdefault("execution", {}).setdefault("artifacts", [])
            artifacts += sent["artifacts"]
        elif name in ("tasks.get_by_id", "tasks.get_all", "tasks.get_by_id_ex", "tasks.get_all_ex"):
            wanted = [sent["task"]] if "task" in sent else sent.get("id", [])
            found = [_whole(self.tasks[one]) for one in wanted if one in self.tasks]
            return {"task": found[0]} if name.endswith("by_id") and found else {"tasks": found}
        elif name in ("projects.create", "projects.get_all"):
            return {"id": "project", "projects": [{"id": "project", "name": "SoftTargets"}]}
        return {"updated": 1, "fields": {}, "started": 1, "added": 1, "completed": 1, "failed": 1}


def _whole(task: dict) -> dict:
    usual = {
        "script": {},
        "execution": {},
        "hyperparams": {},
        "output": {},
        "project": "project",
        "type": "training",
    }
    return usual | {"user": "user", "company": "company", "created": "2026-01-01T00:00:00+00:00"} | task


def _token() -> str:
    """A token without a signature; the SDK reads only when it ends."""
    import jwt

    return jwt.encode({"exp": int(time.time()) + 3600, "env": "stub", "server_version": "1"}, "x" * 32)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def respond(self, code: int, body: dict) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        name = self.path.strip("/").partition("?")[0].rpartition("/")[2]
        self.server.asked.append(name)
        if self.server.mode == "hangs":
            time.sleep(3600)
        if self.server.mode == "dies" and name == "events.add_batch":
            self.server.mode = "dead"
        if self.server.mode == "dead":
            self.connection.close()
            return
        if self.server.mode == "wrong" and name == "auth.login":
            meta = {"result_code": 401, "result_msg": "Unauthorized (invalid credentials)", "result_subcode": 20}
            self.respond(401, {"meta": meta, "data": {}})
            return
        if "." not in name or "multipart" in self.headers.get("Content-Type", ""):
            with self.server.lock:
                self.server.files.append(body)
            self.respond(200, {})
            return
        self.respond(200, {"meta": META, "data": self.server.answer(name, _sent(body, self.headers))})

    do_GET = do_POST = do_PUT = do_HEAD = handle_any  # noqa: N815


META = {"id": "1", "trx": "1", "endpoint": {"name": "", "requested_version": "2.1", "actual_version": "2.1"}}
META |= {"result_code": 200, "result_subcode": 0, "result_msg": "OK", "error_stack": "", "error_data": {}}


def _sent(body: bytes, headers) -> dict | list:
    if "json-lines" in headers.get("Content-Type", ""):
        return [event for event in map(json.loads, body.splitlines()) if "type" in event]
    return json.loads(body) if body else {}
