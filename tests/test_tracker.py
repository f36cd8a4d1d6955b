"""Tracking by the unmodified ClearML SDK: offline sessions read back, and a loopback stub of several minds."""

import copy
import json
import math
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from clearml_stub import Stub
from conftest import HANGS, ROOT, SMALL
from omegaconf import OmegaConf

from softtargets import colours
from softtargets.config.settings import TrackerSettings
from softtargets.console import Console
from softtargets.errors import BadInput
from softtargets.report import palette
from softtargets.tracker import EVENTS, SESSION, TASK, clone, player, tracked
from softtargets.tracker import __main__ as tracker_command

BROKEN = ("~mu_algo.alpha", "mu_algo._target_=own_parts.broken", "plugins=[own_parts]")
EPOCHS = ("loss of an epoch", "original")
CLEARML = ("tracker=clearml",)


@pytest.fixture(autouse=True)
def nobodys(monkeypatch, tmp_path):
    """No configuration, unless a test makes one."""
    for name in [name for name in os.environ if name.startswith(("CLEARML_", "TRAINS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CLEARML_CONFIG_FILE", str(tmp_path / "clearml.conf"))


@pytest.fixture
def stub(tmp_path):
    """`stub(mode)`: a server that the configuration leads to."""
    made = []

    def start(mode: str = "well") -> Stub:
        made.append(Stub(mode))
        (tmp_path / "clearml.conf").write_text(made[-1].conf())
        return made[-1]

    yield start
    for server in made:
        server.shutdown()
        server.server_close()


def python(*words: str, limit: float = HANGS) -> tuple[int, str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit, env=environment)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.long
def test_an_offline_session_holds_the_run(run):
    result, folder = run(
        *SMALL, *CLEARML, "tracker.offline=true", "seed=77"
    )  # whose models no other test has made
    assert not (folder / EVENTS).exists()
    with zipfile.ZipFile(folder / SESSION) as files:
        task = json.loads(files.read("task.json"))
        scalars = [json.loads(line) for line in files.read("metrics.jsonl").splitlines()]
        names = files.namelist()
    assert task["name"] == "mnist_5k-mlp-graddiff-hard-77"
    assert {"dataset:mnist_5k", "targets:hard", "mu_algo:graddiff"} <= set(task["tags"])
    config = {name: one["value"] for name, one in task["hyperparams"]["Config"].items()}
    assert config["unlearn.optimizer.lr"] == str(result["config"]["unlearn"]["optimizer"]["lr"])
    assert config["seed"] == "77"
    kept = {one["key"] for one in task["execution"]["artifacts"]}
    assert {"result.json", "config.yaml", "margins.npz"} <= kept
    assert any(name.endswith("result.json/result.json") for name in names)
    told = {(one.get("metric"), one.get("variant"), one.get("iter")): one.get("value") for one in _flat(scalars)}
    way = result["trajectory"]
    for step, value in zip(way["step"], way["forget_acc"], strict=True):
        assert told["forget accuracy", "unlearn", step] == pytest.approx(value)
    losses = {stage: {} for stage in ("original", "retrained", "unlearn")}
    for (metric, variant, step), value in told.items():
        if metric == "loss":
            losses[variant][step] = value
    assert all(losses.values())
    epochs = {step: value for (metric, variant, step), value in told.items() if (metric, variant) == EPOCHS}
    every = len(losses["original"]) // len(epochs)  # few steps: each is told
    assert every == math.ceil(result["data"]["sizes"]["train"] / result["config"]["training"]["batch_size"])
    for epoch, mean in epochs.items():
        steps = range((epoch - 1) * every + 1, epoch * every + 1)
        assert mean == pytest.approx(sum(losses["original"][step] for step in steps) / every, rel=1e-4)


def _flat(value) -> list[dict]:
    """Every dictionary at any depth of lists."""
    return [value] if isinstance(value, dict) else [found for one in value for found in _flat(one)]


def test_a_figure_has_the_colour_of_the_report_and_the_retrained_model_as_a_line(run):
    result, _ = run(*SMALL, "mu_algo=graddiff", "targets=soft", "unlearn.evaluate_every=5")
    figure = player.figures(result)["while it unlearns"]
    drawn = [name for name in player.DRAWN if any(value is not None for value in result["trajectory"][name])]
    assert [list(line.y) for line in figure.data] == [result["trajectory"][name] for name in drawn]
    assert {line.line.color for line in figure.data} == {colours.COLOURS["soft"][0]}
    assert len({line.yaxis for line in figure.data}) == len(drawn), "each on an axis of its own"
    levels = [shape.y0 for shape in figure.layout.shapes if shape.line.dash == "dash"]
    assert levels[:3] == [result["metrics"]["retrained"][name] for name in drawn[:3]]
    assert set(levels[3:]) == {0.0}, "distances to the retrained model"
    named = [
        *result["trajectory"],
        *(k for k, v in result["metrics"]["unlearned"].items() if not isinstance(v, list)),
    ]
    assert not [name for name in named if name != "step" and player.in_words(name) == name]
    nothing = [shape.y0 for shape in figure.layout.shapes if shape.line.dash == "dot"]
    assert nothing == [result["trajectory"][name][0] for name in drawn[3:]]
    bars = player.figures(result)["accuracy by class"].data
    assert [bar.name for bar in bars] == ["original", "retrained", "unlearned"]
    assert bars[2].marker.color == colours.COLOURS["soft"][0]
    assert bars[0].x == tuple(f"class {digit}" for digit in range(10)), "digits have no other names"
    result["choices"] = result["choices"] | {"targets": "mine"}
    own = player.figures(result)["accuracy by class"].data[2].marker.color
    assert f".k-{colours.colour('mine')}{{--c:{own}}}" in palette.styles(["hard", "mine"]), "as on the page"
    result["choices"] = result["choices"] | {"dataset": "fashion_mnist"}
    assert player.figures(result)["accuracy by class"].data[0].x[:2] == ("T-shirt", "trouser")


@pytest.mark.long
def test_tracking_changes_no_number(run):
    tracked, _ = run(*SMALL, *CLEARML, "tracker.offline=true")
    plain, folder = run(*SMALL)
    assert json.dumps(tracked["metrics"]) == json.dumps(plain["metrics"])
    assert tracked["provenance"]["config_hash"] == plain["provenance"]["config_hash"]
    assert not {EVENTS, SESSION, TASK} & {file.name for file in folder.iterdir()}


def test_the_player_needs_no_torch():
    code, said = python("-c", "import softtargets.tracker.__main__, sys; print('torch' in sys.modules)")
    assert (code, said.strip()) == (0, "False")


@pytest.mark.long
def test_a_server_is_told_everything(run, stub, capsys):
    server = stub()
    result, folder = run(*SMALL, *CLEARML, "save_models=true")
    (task,) = server.tasks.values()
    assert task["status"] == "completed"
    assert json.loads((folder / TASK).read_text())["task"] == task["id"]
    assert f"tracking: {server.url}" in capsys.readouterr().out
    assert set(task["hyperparams"]) >= {"Config"}
    kept = {one["key"] for one in task["execution"]["artifacts"]}
    assert kept == {"result.json", "config.yaml", "margins.npz"} | {
        f"{model}.safetensors" for model in ("original", "retrained", "unlearned")
    }
    assert any((folder / "result.json").read_bytes() in body for body in server.files)
    scalars = {(e["metric"], e["variant"], e["iter"]): e["value"] for e in server.events() if "value" in e}
    assert scalars["Summary", "probabilities: raw JS, nats", -(2**31)] == pytest.approx(
        result["faces"]["js_forget"]["unlearned"]
    )
    plots = {event["metric"] for event in server.events() if event["type"] == "plot"}
    assert plots >= {"models", "distance to the retrained model", "accuracy by class"}


@pytest.mark.long
def test_an_agent_runs_a_clone_as_it_was_edited(stub, monkeypatch, tmp_path):
    server, cloned = stub(), "c" * 32
    asked, left = {}, {}
    for name, words in (("first", (*SMALL, *CLEARML, "seed=78")), ("clone", ())):
        monkeypatch.setenv("SOFTTARGETS_RUNS", str(tmp_path / name))
        code, said = python("run.py", *words)
        assert code == 0, said
        (file,) = tmp_path.glob(f"{name}/*/result.json")
        asked[name] = json.loads(file.read_text())["config"]
        left[name] = json.loads((file.parent / TASK).read_text())
        if name == "first":
            (task,) = server.tasks.values()
            assert (task["script"]["entry_point"], task["script"]["working_dir"]) == ("run.py", ".")
            server.tasks[cloned] = copy.deepcopy(task) | {"id": cloned, "status": "queued"}
            for key, text in (("unlearn.optimizer.lr", "0.0123"), ("seed", "79")):
                server.tasks[cloned]["hyperparams"]["Config"][key]["value"] = text
            monkeypatch.setenv("CLEARML_TASK_ID", cloned)  # as an agent does
    assert (left["clone"]["task"], set(server.tasks)) == (cloned, {left["first"]["task"], cloned})
    assert server.tasks[cloned]["status"] == "in_progress"  # the agent calls it completed, by our exit code
    asked["first"]["unlearn"]["optimizer"]["lr"], asked["first"]["seed"] = 0.0123, 79
    assert asked["clone"] == asked["first"]


@pytest.mark.long
def test_an_agent_runs_a_clone_of_a_sweep_as_it_was_edited(stub, monkeypatch, tmp_path):
    """Each run gets a task of its own, below the clone, which gets the report."""
    server, cloned = stub(), "c" * 32
    monkeypatch.setenv("SOFTTARGETS_RUNS", str(tmp_path / "first"))
    words = [*SMALL, "targets=hard,soft", "seed=80"]
    code, said = python("run.py", "-m", *words, *CLEARML)
    assert code == 0, said
    (task,) = [task for task in server.tasks.values() if task["name"].startswith("sweep")]
    assert (task["script"]["entry_point"], task["script"]["working_dir"]) == ("run.py", ".")
    shown = {name: one["value"] for name, one in task["hyperparams"]["Sweep"].items()}
    assert shown == dict(word.split("=") for word in [*words, *CLEARML])
    server.tasks[cloned] = copy.deepcopy(task) | {"id": cloned, "status": "queued"}
    server.tasks[cloned]["execution"] = {}
    server.tasks[cloned]["hyperparams"]["Sweep"]["seed"]["value"] = "81"
    before = set(server.tasks)
    monkeypatch.setenv("CLEARML_TASK_ID", cloned)  # as an agent does
    monkeypatch.setenv("SOFTTARGETS_RUNS", str(tmp_path / "clone"))
    code, said = python("run.py")
    assert code == 0, said
    results = [json.loads(file.read_text()) for file in tmp_path.glob("clone/sweep/*/result.json")]
    chosen = {(one["choices"]["targets"], one["choices"]["seed"]) for one in results}
    assert chosen == {("hard", 81), ("soft", 81)}
    made = [task for name, task in server.tasks.items() if name not in before]
    assert [task["parent"] for task in made] == [cloned] * 2
    assert {one["key"] for one in server.tasks[cloned]["execution"]["artifacts"]} == {
        "summary.csv",
        "summary.md",
        "report.html",
    }


@pytest.mark.parametrize("word", ["plugins=[mine]", "++hydra.job.env_set.PATH=/x", "hydra.launcher.setup=[x]"])
def test_a_task_chooses_no_code_for_an_agent(word, monkeypatch):
    def fetched(command: list[str], **_) -> subprocess.CompletedProcess:
        (Path(command[-1]) / clone.WORDS_FILE).write_text(json.dumps(["seed=1", word]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(clone.subprocess, "run", fetched)
    with pytest.raises(BadInput, match=re.escape(word)), clone.overrides("c" * 32):
        pass


@pytest.mark.parametrize(
    "words", [["seed=0,1", "hydra/launcher=local", "~tuned", "a.b=''", "hydra.sweeper.cells=['a=1 b=2','c=3']"]]
)
def test_a_command_line_survives_being_shown_in_clearml(words, tmp_path):
    overrides = {"hydra": ["hydra.mode=MULTIRUN", words[1], words[4]], "task": [words[0], *words[2:4]]}
    OmegaConf.save(OmegaConf.create({"hydra": {"overrides": overrides}}), tmp_path / "multirun.yaml")
    shown = {f"Sweep/{name}": text for name, text in clone.sweep_section(tmp_path).items()}
    assert sorted(clone.sweep_of(shown)) == sorted(words)
    assert clone.sweep_of({"Args/one": "1"}) is None


VALUES = [None, True, 1, 1e-5, "auto", "1", "true", [1, 2], [], "a b", {"x": 1, "y": {"z": None}}]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_config_survives_being_shown_in_clearml(value):
    config = {"one": value, "two": {"value": 3}, "choices": {"dataset": "mnist_5k"}}
    shown = clone.sections(config)
    shown = {f"{title}/{name}": text for title, part in shown.items() for name, text in part.items()}
    assert clone.config_of(shown) == config
    assert clone.config_of({"Args/one": "1"}) is None


@pytest.mark.long
def test_a_run_that_raises_is_failed_with_its_reason(stub):
    server = stub()
    code, _ = python("run.py", *SMALL, *CLEARML, *BROKEN)
    assert code == 1
    (task,) = server.tasks.values()
    assert (task["status"], task["reason"]) == ("failed", "ZeroDivisionError: division by zero")


TIMED_OUT = f"(read timeout={player.PING})"
ASKED = {"wrong": {"debug.ping", "auth.login"}, "hangs": {"debug.ping"}}
"""All that a server is asked before it is given up."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("mode", "said", "fallback"),
    [
        (None, "ClearML is not set up", "offline"),
        ("away", "ConnectionError", "none"),
        ("wrong", "Unauthorized", "offline"),
        ("hangs", TIMED_OUT, "none"),
    ],
)
def test_without_a_server_there_is_one_warning_and_the_run_goes_on(run, stub, capsys, mode, said, fallback):
    if mode:
        server = stub("well" if mode == "away" else mode)
        if mode == "away":
            server.shutdown()
            server.server_close()
    result, folder = run(*SMALL, *CLEARML, f"tracker.fallback={fallback}")
    if mode in ASKED:
        assert set(server.asked) <= ASKED[mode]
        assert len(server.asked) <= len(ASKED[mode]), "nothing is asked twice"
    out = capsys.readouterr().out
    assert result["status"] == "ok"
    (warning,) = [line for line in out.splitlines() if line.startswith("tracking: no server")]
    assert said in warning
    assert (folder / SESSION).exists() == (fallback == "offline")
    assert ("python -m softtargets.tracker upload" in out) == (fallback == "offline")
    assert not (folder / EVENTS).exists()


@pytest.mark.long
def test_a_server_that_dies_in_the_middle_costs_nothing_but_a_wait(run, stub, capsys, monkeypatch):
    """The run's clock stands still but while a player waits for the dead server, and so gives no other one up."""
    server, play, died, other = stub("dies"), tracked.Tracked.play, [], []

    def clock() -> float:
        if server.mode != "dead" or other:
            return 0.0
        died.append(time.monotonic())
        return died[-1] - died[0]

    def played(self, offline: bool) -> subprocess.Popen:
        other.extend([True] * offline)
        return play(self, offline)

    monkeypatch.setattr(tracked.Tracked, "play", played)
    monkeypatch.setattr(tracked, "time", SimpleNamespace(monotonic=clock, sleep=time.sleep))
    monkeypatch.setattr(tracked, "PATIENCE", 1.0)
    result, folder = run(*SMALL, *CLEARML)
    assert server.mode == "dead"
    assert result["status"] == "ok"
    assert (folder / SESSION).is_file()
    assert "python -m softtargets.tracker upload" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize(("mode", "said"), [("well", "could not be found"), ("wrong", "no server: ")])
def test_a_task_that_an_agent_cannot_read_is_refused_in_one_sentence(stub, monkeypatch, mode, said):
    stub(mode)
    monkeypatch.setenv("CLEARML_TASK_ID", "f" * 32)
    code, text = python("run.py")
    assert (code, text.count("\n")) == (1, 1), text
    assert text.startswith(f"run.py: CLEARML_TASK_ID={'f' * 32}: this task cannot be read: ")
    assert said in text


def test_a_run_forgets_the_task_of_an_earlier_attempt(tmp_path, monkeypatch):
    monkeypatch.setattr(tracked, "PLAY", "pass")
    for name in (SESSION, TASK):
        (tmp_path / name).write_text("of an earlier attempt")
    settings = TrackerSettings(kind="clearml", offline=True, project="p", fallback="none")
    with tracked.tracking(settings, {}, {}, tmp_path, Console.silent()):
        assert [path.name for path in tmp_path.iterdir()] == [EVENTS]


FULL = "No space left on device"


@pytest.mark.parametrize(
    ("fails", "why"),
    [
        (lambda folder, patch: (folder / EVENTS).symlink_to("/dev/full"), FULL),
        (lambda folder, patch: patch.setattr(tracked.sys, "executable", "/no/such"), "/no/such"),
    ],
)
def test_a_run_goes_on_where_tracking_cannot_begin(tmp_path, monkeypatch, capsys, fails, why):
    fails(tmp_path, monkeypatch)
    settings = TrackerSettings(kind="clearml", offline=True, project="p", fallback="none")
    with tracked.tracking(settings, {}, {}, tmp_path, Console()) as tracker:
        tracker.progress("original", 1, 1, 0.5)
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("tracking: stopped (")
    assert (why in out, out.endswith("; the run continues without it")) == (True, True)


def test_a_run_goes_on_where_its_tracking_ends_in_the_middle(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tracked, "PLAY", "import time; time.sleep(3600)")
    settings = TrackerSettings(kind="clearml", offline=True, project="p", fallback="none")
    with tracked.tracking(settings, {}, {}, tmp_path, Console()) as tracker, open("/dev/full", "wb", 0) as full:
        player = tracker.tracker.player
        tracker.tracker.file.write = lambda text: full.write(text.encode())
        tracker.progress("original", 1, 2, 0.5)
        assert player.poll() is not None, "nobody sends what is not whole"
        tracker.progress("original", 2, 2, 0.5)
    assert capsys.readouterr().out.count(FULL) == 1


@pytest.fixture
def players(monkeypatch):
    """All processes that are started, in their order."""
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *words, **more):
            super().__init__(*words, **more)
            started.append(self)

    monkeypatch.setattr(tracked.subprocess, "Popen", Recorded)
    return started


def at_a_limit_of_threads(monkeypatch):
    def no_thread(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(tracked.threading.Thread, "start", no_thread)


def test_a_run_goes_on_where_no_thread_can_start_and_leaves_no_player(tmp_path, monkeypatch, capsys, players):
    monkeypatch.setattr(tracked, "PLAY", "import time; time.sleep(3600)")
    at_a_limit_of_threads(monkeypatch)
    settings = TrackerSettings(kind="clearml", offline=True, project="p", fallback="none")
    try:
        with tracked.tracking(settings, {}, {}, tmp_path, Console()) as tracker:
            tracker.progress("original", 1, 1, 0.5)
        assert [player.poll() is None for player in players] == [False]
    finally:
        for player in players:
            player.kill()
    out = " ".join(capsys.readouterr().out.split())
    assert out == "tracking: stopped (can't start new thread); the run continues without it"


def test_at_its_end_a_run_says_where_events_are_that_no_player_could_send(tmp_path, monkeypatch, capsys, players):
    monkeypatch.setattr(tracked, "PLAY", "raise SystemExit('no server')")
    settings = TrackerSettings(kind="clearml", offline=False, project="p", fallback="offline")
    with tracked.tracking(settings, {}, {}, tmp_path, Console()):
        at_a_limit_of_threads(monkeypatch)
    assert [player.poll() is None for player in players] == [False, False]
    out = " ".join(capsys.readouterr().out.split())
    kept = f"unsent events are kept in {tmp_path / EVENTS}"
    assert out == f"tracking: stopped (can't start new thread); {kept}"
    assert (tmp_path / EVENTS).is_file()


def test_a_disk_that_is_full_at_the_end_of_a_run_is_said_of_the_run_as_ended(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tracked, "PLAY", "import time; time.sleep(3600)")
    settings = TrackerSettings(kind="clearml", offline=True, project="p", fallback="none")
    with open("/dev/full", "wb", 0) as full, tracked.tracking(settings, {}, {}, tmp_path, Console()) as tracker:
        tracker.tracker.file.write = lambda text: full.write(text.encode())
    out = " ".join(capsys.readouterr().out.split())
    kept = f"unsent events are kept in {tmp_path / EVENTS}"
    assert out == f"tracking: stopped ([Errno 28] {FULL}); {kept}"
    assert (tmp_path / EVENTS).is_file()


def test_events_that_were_sent_or_are_deleted_are_not_called_kept(tmp_path, monkeypatch, capsys):
    settings = TrackerSettings(kind="clearml", offline=True, project="p", fallback="none")
    monkeypatch.setattr(tracked, "PLAY", "raise SystemExit('no luck')")
    with tracked.tracking(settings, {}, {}, tmp_path / "unsent", Console()):
        pass
    out = " ".join(capsys.readouterr().out.split())
    assert out == "tracking: stopped (no luck); tracker.fallback=none keeps no events"
    assert not (tmp_path / "unsent" / EVENTS).exists()
    monkeypatch.setattr(tracked, "PLAY", "pass")

    def refused(self, missing_ok=False):
        raise PermissionError("may not be deleted")

    with tracked.tracking(settings, {}, {}, tmp_path / "sent", Console()):
        monkeypatch.setattr(Path, "unlink", refused)
    out = " ".join(capsys.readouterr().out.split())
    assert out == "tracking: stopped (may not be deleted)"


@pytest.mark.parametrize(
    ("code", "patience", "said"),
    [
        ("raise SystemExit('no luck')", HANGS, "no luck"),
        ("import time; time.sleep(3600)", 1.0, "no answer for 1 s"),
    ],
)
def test_a_run_tells_why_no_session_could_be_made(run, capsys, monkeypatch, code, patience, said):
    monkeypatch.setattr(tracked, "PLAY", code)
    monkeypatch.setattr(tracked, "IMPORT", patience)
    monkeypatch.setattr(tracked, "PATIENCE", patience)
    result, folder = run(*SMALL, *CLEARML, "tracker.offline=true")
    assert result["status"] == "ok"
    assert f"no session saved ({said}" in capsys.readouterr().out
    assert (folder / EVENTS).is_file()


@pytest.mark.long
def test_a_server_that_hangs_is_asked_once_and_for_seconds(stub, tmp_path):
    server = stub("hangs")
    (tmp_path / EVENTS).write_text('{"kind": "start"}\n')
    code, said = python("-m", "softtargets.tracker", "play", str(tmp_path), "online")
    assert code == 1
    assert "no server" in said
    assert TIMED_OUT in said
    assert player.PING <= 5
    assert server.asked in ([], ["debug.ping"])


@pytest.mark.long
def test_kept_sessions_are_uploaded_once_each_as_it_ended(run, stub, tmp_path):
    _, folder = run(*SMALL, *CLEARML, "tracker.offline=true")
    runs = Path(os.environ["SOFTTARGETS_RUNS"], "uploaded")
    code, _ = python("run.py", *SMALL, *CLEARML, *BROKEN, "tracker.offline=true", f"runs_dir={runs}")
    assert code == 1
    server = stub()
    for place, status in ((folder, "completed"), (runs, "failed")):
        code, said = python("-m", "softtargets.tracker", "upload", str(place))
        assert code == 0, said
        assert server.url in said
        assert list(server.tasks.values())[-1]["status"] == status
    assert len(server.tasks) == 2
    code, said = python("-m", "softtargets.tracker", "upload", str(folder))
    assert (code, "nothing to upload" in said) == (2, True)


def test_below_a_path_that_is_too_long_there_is_nothing_to_upload(capsys):
    assert tracker_command.main(["upload", "x" * 300]) == 2
    assert "nothing to upload" in capsys.readouterr().out


@pytest.fixture
def sessions(tmp_path, monkeypatch):
    """`sessions(send, *names)`: files of whole sessions, which `send` sends in the SDK's place."""

    def make(send, *names: str) -> list[Path]:
        for name in ("CLEARML_CACHE_DIR", "CLEARML_LOG_LEVEL"):
            monkeypatch.setenv(name, "")  # an upload sets them
        files = [tmp_path / name / SESSION for name in names]
        for file in files:
            file.parent.mkdir()
            with zipfile.ZipFile(file, "w") as members:
                members.writestr("task.json", json.dumps({"hyperparams": {}}))
        (tmp_path / "clearml.conf").touch()
        monkeypatch.setattr(tracker_command, "login", lambda: None)
        task = SimpleNamespace(id="t", get_output_log_web_page=lambda: "http://server/t")
        known = SimpleNamespace(import_offline_session=send, get_task=lambda task_id: task)
        monkeypatch.setitem(sys.modules, "clearml", SimpleNamespace(Task=known))
        return files

    return make


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("the server is gone"),
        requests.exceptions.JSONDecodeError("an answer of the server", "<html>", 0),
        ValueError("Could not get task"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_session_that_the_server_does_not_take_is_not_called_damaged(tmp_path, sessions, capfd, error):
    def refuse(file):
        raise error

    files = sessions(refuse, "one", "two")
    assert tracker_command.main(["upload", str(tmp_path)]) == 1
    why = f"{type(error).__name__}: {error}"
    assert capfd.readouterr().out.splitlines() == [
        f"{file}: cannot be sent ({why}). To send it, run the same command again" for file in files
    ]


def test_a_session_that_is_not_whole_is_named_and_the_others_are_sent(tmp_path, sessions, capfd):
    half, whole = sessions(lambda file: "t", "half", "whole")
    half.write_bytes(half.read_bytes()[:40])
    assert tracker_command.main(["upload", str(tmp_path)]) == 1
    assert capfd.readouterr().out.splitlines() == [
        f"{half}: cannot be sent (BadZipFile: File is not a zip file). If it is damaged, delete it",
        f"{whole.parent}: http://server/t",
    ]
    assert whole.with_name(TASK).is_file()


@pytest.mark.long
def test_without_a_server_an_upload_loses_nothing(run, stub):
    _, folder = run(*SMALL, *CLEARML, "tracker.offline=true")
    stub("wrong")
    code, said = python("-m", "softtargets.tracker", "upload", str(folder))
    assert code == 1
    assert said.startswith("no server: ")
    assert len(said.splitlines()) == 1
    assert (folder / SESSION).is_file()


@pytest.mark.parametrize(
    ("launcher", "runs"),
    [
        pytest.param(("basic",), 30, marks=pytest.mark.slow, id="30 in one process"),
        pytest.param(("local", "hydra.launcher.n_jobs=8"), 16, marks=pytest.mark.slow, id="8 processes at once"),
        pytest.param(("local", "hydra.launcher.n_jobs=4"), 4, marks=pytest.mark.kill, id="4 processes at once"),
    ],
)
def test_a_sweep_has_a_task_that_is_the_parent_of_its_runs(stub, launcher, runs):
    name, *more = launcher
    server = stub()
    place = Path(os.environ["SOFTTARGETS_RUNS"], f"tracked-{name}")
    asked = ("targets=hard,soft", f"seed=range({runs // 2})", f"hydra/launcher={name}", *more, f"runs_dir={place}")
    code, said = python("run.py", "-m", *SMALL, *CLEARML, *asked, limit=HANGS + 25 * runs)
    assert code == 0, said
    whole_and_parts(server, runs)


def whole_and_parts(server: Stub, runs: int) -> None:
    """Check that a server was told of a sweep of so many runs."""
    whole = [task for task in server.tasks.values() if task["name"].startswith("sweep")]
    rest = [task for task in server.tasks.values() if task not in whole]
    assert [len(whole), len(rest)] == [1, runs]
    assert whole[0]["name"] == "sweep"
    assert {task["parent"] for task in rest} == {whole[0]["id"]}
    assert {task["status"] for task in server.tasks.values()} == {"completed"}
    assert {one["key"] for one in whole[0]["execution"]["artifacts"]} == {
        "summary.csv",
        "summary.md",
        "report.html",
    }
