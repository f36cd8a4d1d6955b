"""The player: it sends the events of a run to ClearML by the SDK, in a separate process."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from softtargets.class_names import class_names
from softtargets.colours import OTHER, REFERENCE, colour, colours_of
from softtargets.compat import clearml_names
from softtargets.run_summary import DISTANCES, METRICS
from softtargets.system.files import atomic, write_text
from softtargets.tracker import EVENTS, SESSION, TASK
from softtargets.tracker.clone import SWEEP, sections, sweep_section

OVERRIDES = """
sdk.development.report_use_subprocess: false
sdk.development.store_uncommitted_code_diff: false
api.http.retries { total: 2, connect: 2, read: 2 }
"""
"""Settings added to the user's clearml.conf; the defaults wait for minutes."""
HANDS_OFF = {
    "auto_connect_arg_parser": False,
    "auto_connect_frameworks": False,  # the hook into Hydra breaks sweeps
    "auto_resource_monitoring": False,
    "auto_connect_streams": False,
}
MODELS = ("original", "retrained", "unlearned")
DRAWN = ("forget_acc", "retain_acc", "test_acc", "js_t_forget", "js_forget")
"""What the figure of a trajectory shows, each on an axis of its own."""
OTHERS = {
    "unseen_acc": "accuracy on unseen data",
    "forget_true_acc": "forget accuracy by true labels",
    "retain_loss": "retain loss",
    "validation_loss": "validation loss",
    "js_validation": "validation data: raw JS, nats",
    "js_test": "test data: raw JS, nats",
}
"""Names of what the screen does not show."""
FILES = ("result.json", "config.yaml", "margins.npz")
"""Files of a run's folder that its task gets, beside saved models."""
PING = 2.0
"""Seconds to wait for a server's first answer."""


class NoServer(Exception):
    """No server answers, or it refuses the credentials."""


def play(folder: Path, offline: bool, say: Callable[[str], None]) -> None:
    """Send the events in `folder` as they are written; print the task's address, and "" as a sign of life."""
    if not offline:
        require_configuration()
    with configured() as cache:
        from clearml import Task  # here: it takes 0.75 s and reads the configuration

        say("")
        if offline:
            Task.set_offline(True)
        else:
            login()
        say("")
        events = followed(folder / EVENTS)
        task = task_of_start(Task, next(events), say)
        if not offline:
            say(task.get_output_log_web_page())
        failure = report_events(task, events, folder, say)
        say("")
        _close(task, failure)
        say("")
        if offline:
            (session,) = (cache / "offline").glob("*.zip")
            with atomic(folder / SESSION) as temporary:
                shutil.copyfile(session, temporary)
        else:
            note(task, folder)


def note(task, folder: Path) -> str:
    """Save id and address of a task in `folder`; return the address."""
    saved = {"task": task.id, "url": task.get_output_log_web_page()}
    write_text(folder / TASK, json.dumps(saved))
    return saved["url"]


@contextlib.contextmanager
def configured() -> Iterator[Path]:
    """Make ClearML read the user's configuration with `OVERRIDES` added; yield the folder of a temporary cache."""
    own = configuration_file()
    text = own.read_text(encoding="utf-8") if own.is_file() else ""
    with tempfile.TemporaryDirectory(prefix="softtargets-tracker-") as place:
        conf = Path(place, "clearml.conf")
        conf.write_text(text + OVERRIDES, encoding="utf-8")
        conf.chmod(0o600)  # it holds credentials
        os.environ |= {
            "CLEARML_CONFIG_FILE": str(conf),
            "CLEARML_CACHE_DIR": str(Path(place, "cache")),
            "CLEARML_LOG_LEVEL": "ERROR",
        }
        yield Path(place, "cache")


def configuration_file() -> Path:
    """Return the path of the user's configuration, which may not exist."""
    return Path(os.environ.get("CLEARML_CONFIG_FILE") or "~/clearml.conf").expanduser()


def require_configuration() -> None:
    """Raise NoServer if ClearML is not set up."""
    if not configuration_file().is_file() and "CLEARML_API_HOST" not in os.environ:
        raise NoServer(f"ClearML is not set up: {configuration_file()} does not exist. Run `clearml-init`")


def login() -> None:
    """Raise NoServer, within seconds, unless a server answers and accepts the credentials."""
    import requests

    host = clearml_names.server()
    try:
        requests.get(f"{host}/debug.ping", timeout=PING)
        clearml_names.sign_in()
    except Exception as error:  # the SDK raises many types; a run continues without tracking
        raise NoServer(f"{host}: {type(error).__name__}: {str(error).partition(chr(10))[0][:200]}") from error


def followed(file: Path) -> Iterator[dict]:
    """Yield the events as they are written, up to the end; if the run's process is gone, yield its failure."""
    parent = os.getppid()
    with file.open(encoding="utf-8") as lines:
        text = ""
        while True:
            text += lines.readline()
            if text.endswith("\n"):
                event, text = json.loads(text), ""
                yield event
                if event["kind"] == "end":
                    return
            elif os.getppid() != parent:
                yield {"kind": "end", "failure": "the run's process was killed"}
                return
            else:
                time.sleep(0.1)


def task_of_start(task_class, event: dict, say: Callable[[str], None]):
    """Create the task of a run from its first event."""
    config = event["config"]
    choices = config["choices"]
    sys.argv[:] = [event["script"]]  # the SDK reads it and saves the script, its repository and commit
    name = "-".join(str(choices[group]) for group in ("dataset", "architecture", "mu_algo", "targets"))
    task = task_class.init(
        project_name=event["project"],
        task_name=f"{name}-{config['seed']}",
        tags=[f"{group}:{option}" for group, option in choices.items()],
        reuse_last_task_id=False,
        **HANDS_OFF,
    )
    for name, values in sections(config).items():
        say("")
        task.connect(values, name=name)
    return task


def report_events(task, events: Iterator[dict], folder: Path, say: Callable[[str], None]) -> str | None:
    """Send every event; return why the run failed, or None."""
    logger = task.get_logger()
    for event in events:
        say("")
        if event["kind"] == "scalar":
            logger.report_scalar(event["title"], event["series"], event["value"], event["step"])
        elif event["kind"] == "result":
            _result(task, logger, json.loads((folder / "result.json").read_text(encoding="utf-8")))
            for file in (*FILES, *(f"{model}.safetensors" for model in MODELS)):
                if (folder / file).is_file():
                    task.upload_artifact(file, folder / file, wait_on_upload=True)
                    say("")
        elif event["kind"] == "end":
            return event["failure"]
    return None


def _result(task, logger, result: dict) -> None:
    """Send the tables, figures and numbers of a result."""
    metrics, faces = result["metrics"], result["faces"]
    names = [name for name, value in metrics["unlearned"].items() if not isinstance(value, list)]
    rows = [["", *MODELS], *([in_words(name), *(metrics[model][name] for model in MODELS)] for name in names)]
    logger.report_table("models", "metrics", iteration=0, table_plot=rows)
    columns = {"unlearned": "unlearned", "nothing": "doing nothing", "floor": "floor"}
    rows = [[words, *(faces[name][column] for column in columns)] for name, words in DISTANCES.items()]
    rows.insert(0, ["", *columns.values()])
    logger.report_table("distance to the retrained model", "distance", iteration=0, table_plot=rows)
    for name, words in DISTANCES.items():
        if faces[name]["unlearned"] is not None:
            logger.report_single_value(words, faces[name]["unlearned"])
    for title, figure in figures(result).items():
        logger.report_plotly(title, "unlearn", figure, iteration=0)
    task.set_user_properties(status=result["status"])


def in_words(name: str) -> str:
    """Return what a metric is called on the screen, or its name where it has no other."""
    return (METRICS | DISTANCES | OTHERS).get(name, name)


def figures(result: dict):
    """Return the plotly figures of a run by title: its trajectory, and the accuracy of each class."""
    by_title = {}
    if len(result["trajectory"]["step"]) > 1:
        by_title["while it unlearns"] = _trajectory(result)
    if all(result["metrics"][model]["class_acc"] is not None for model in MODELS):
        by_title["accuracy by class"] = _classes(result)
    return by_title


def _trajectory(result: dict):
    """Draw each measure on an axis of its own: the model, the retrained one as a line, and doing nothing."""
    from plotly.subplots import make_subplots

    steps, columns = result["trajectory"]["step"], result["trajectory"]
    drawn = [name for name in DRAWN if name in columns and any(value is not None for value in columns[name])]
    figure = make_subplots(len(drawn), 1, shared_xaxes=True, subplot_titles=[in_words(name) for name in drawn])
    look = {"color": _colour(result)}
    for row, name in enumerate(drawn, start=1):
        figure.add_scatter(x=steps, y=columns[name], name="unlearned", line=look, row=row, col=1)
        level = result["metrics"]["retrained"].get(name, 0.0)  # a distance to the retrained model is 0 there
        if level is not None:
            figure.add_hline(level, line={"color": REFERENCE[0], "dash": "dash"}, row=row, col=1)
        if name in DISTANCES and columns[name][0] is not None:
            figure.add_hline(columns[name][0], line={"color": REFERENCE[0], "dash": "dot"}, row=row, col=1)
    title = "steps of unlearning; dashed: the retrained model, dotted: doing nothing"
    figure.update_xaxes(title_text=title, row=len(drawn), col=1)
    return figure.update_layout(showlegend=False, height=180 * len(drawn) + 100)


def _classes(result: dict):
    import plotly.graph_objects as go

    accuracies = {model: result["metrics"][model]["class_acc"] for model in MODELS}
    names = class_names(result, len(accuracies["original"]))
    looks = {"original": OTHER[0], "retrained": REFERENCE[0], "unlearned": _colour(result)}
    bars = [go.Bar(x=names, y=y, name=model, marker={"color": looks[model]}) for model, y in accuracies.items()]
    return go.Figure(bars, {"yaxis": {"title": {"text": "test accuracy"}}})


def _colour(result: dict) -> str:
    """Return the colour that the arm has on the report's page."""
    targets = None if result["ignores_targets"] else result["choices"]["targets"]
    return colours_of([targets])[colour(targets)][0]


def _close(task, failure: str | None) -> None:
    if failure is not None:
        task.set_user_properties(failure=failure[:1000])  # an offline session keeps no other status
    task.flush(wait_for_uploads=True)
    task.close()
    if failure is not None and not task.is_offline():
        task.mark_failed(force=True, status_message=failure[:1000])  # close() has marked it completed


def create_sweep_task(folder: Path, project: str, script: Path) -> str:
    """Create the task of a sweep with its report, as parent of its runs' tasks; return its address.

    An agent that is given a clone runs `script`. If this process has an agent's task, that one is the sweep's.
    """
    from clearml import Task

    sys.argv[:] = [str(script.absolute())]  # as in `task_of_start`
    name = "sweep" if folder.name == "sweep" else f"sweep {folder.name}"
    task = Task.init(project, name, tags=["sweep"], reuse_last_task_id=False, **HANDS_OFF)
    task.connect(sweep_section(folder), name=SWEEP)
    for name in ("summary.csv", "summary.md", "report.html"):
        if (folder / name).is_file():
            task.upload_artifact(name, folder / name, wait_on_upload=True)
    for file in folder.glob(f"*/{TASK}"):
        run = json.loads(file.read_text(encoding="utf-8"))["task"]
        clearml_names.set_parent(task, run, parent=task.id)
    address = note(task, folder)
    _close(task, None)
    return address
