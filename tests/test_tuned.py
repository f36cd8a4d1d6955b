"""Tables of tuned values, and how Hydra finds an arm in them."""

import re
import sys

import pytest
import yaml
from conftest import CONF, ROOT, SMALL
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from test_bad_input import refused  # noqa: F401, a fixture

import run
import softtargets.cli.main
from softtargets.config import at_cost, tuned, tuned_on
from softtargets.config.resolve import DECLARED, config_hash
from softtargets.errors import BadInput
from softtargets.execution import composed_run, pipeline
from softtargets.execution.composed_run import CHOSEN
from softtargets.execution.experiment import build
from softtargets.study import cells, sweep
from softtargets.system.files import read_json

NPO = ("dataset=fashion_mnist", "mu_algo=npo", "targets=soft")
SOFT = {"alpha": 3.7, "beta": 0.78, "lr": 0.0073}
GUESS = {"alpha": 1.0, "beta": 1.0, "lr": 0.003}
HARD = {"alpha": 1.3, "beta": 0.9, "lr": 0.0071}
SEEN = {"dataset": "fashion_mnist", "images": 5700, "seeds": [1000, 1001], "forget_sets": [1000], "classes": []}
TABLE = CONF / "tuned" / "fashion_mnist" / "mlp" / "random.yaml"
ENTRY = "{values: {alpha: 2.5, lr: 0.25}}"


def used(config: dict) -> dict:
    """Return the values that a run would use."""
    settings = {name: value for name, value in config["mu_algo"].items() if not name.startswith("_")}
    return {name: value for name, value in settings.items() if name not in DECLARED} | {
        "lr": config["unlearn"]["optimizer"]["lr"]
    }


def typed(monkeypatch, *words: str) -> list[dict]:
    """Type a command line; return the config of every run that it would start."""
    configs = []
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    monkeypatch.setattr(composed_run, "run_in_folder", lambda cfg, hydra: configs.append(cfg))
    monkeypatch.setattr(sweep, "_launch", lambda *_: None)
    monkeypatch.setattr(sweep, "counts_of_runs", lambda cells, missing: True)
    softtargets.cli.main.command(run.main)
    return configs


# the tables


def test_a_table_is_written_as_it_is_read(tmp_path):
    for name in tuned.names(CONF / "tuned"):
        file = CONF / "tuned" / f"{name}.yaml"
        copy = tmp_path / f"{name}.yaml"
        tuned.write(copy, tuned.read_table(file))
        assert copy.read_text() == file.read_text()


def test_an_arm_has_its_own_entry_or_that_of_all_targets():
    table = {"npo": {"hard": [{"values": {"lr": 1}}]}, "finetune": {"all": [{"values": {"lr": 2}}]}}
    assert tuned.entry(table, "npo", "hard") == {"values": {"lr": 1}}
    assert tuned.entry(table, "finetune", "anything") == {"values": {"lr": 2}}
    assert tuned.entry(table, "npo", "soft") is None
    # what was searched at one cost is not taken silently for another
    assert tuned.entry({"npo": {"hard": [{"values": {"lr": 1}, "cost": 0.1}]}}, "npo", "hard") is None
    both = {"npo": {"hard": [{"values": {"lr": 1}, "cost": 0.1}, {"values": {"lr": 2}}]}}
    assert tuned.entry(both, "npo", "hard") == {"values": {"lr": 2}}
    assert tuned.entry(table, "pull", "hard") is None


BROKEN = {
    "[]": "not a table of tuned values",
    "": "not a table of tuned values",
    "npo: {hard: {lr: 1}}": "not a table of tuned values",
    "npo: {hard: [{lr: 1}]}": "not a table of tuned values",
    f"npo: {{hard: [{ENTRY}, {ENTRY}]}}": "not a table of tuned values",
    "npo: {hard: [{values: {lr: 1e-3}}]}": "1.0e-3",
    "npo: {hard: [{values: {lr: [1]}}]}": "not a table of tuned values",
    "npo: {hard: [{values: {lr: 1}, socre: 1}]}": "not a table of tuned values",
    "1: {hard: [{values: {lr: 1}}]}": "not a table of tuned values",
    "npo: {hard: [{values: {}, words: lr=1}]}": "not a table of tuned values",
    "npo: {hard: [{values: {}, words: [1]}]}": "not a table of tuned values",
    f"npo: {{hard: [{ENTRY}], hard: [{ENTRY}]}}": "a key is repeated",
    f"npo: {{hard: [{ENTRY}]}}\nnpo: {{}}": "a key is repeated",
    f"npo: {{hard: [{ENTRY[:-1]}, tuned_on: [1000]}}]}}": "must be a group",
    f"npo: {{hard: [{ENTRY[:-1]}, tuned_on: {{seeds: 1}}}}]}}": "npo.hard.tuned_on",
    "npo: {[a]: 1}": "cannot be read",
    "npo: {": "cannot be read",
    "npo: \udcff": "cannot be read",
}


@pytest.mark.parametrize("text", BROKEN, ids=repr)
def test_a_file_that_is_no_table_is_refused_by_name(text, tmp_path):
    file = tmp_path / "random.yaml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadInput, match=BROKEN[text]) as error:
        tuned.read_table(file)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)


def test_a_table_is_parsed_once_until_it_changes(tmp_path, monkeypatch):
    file, parsed, load = tmp_path / "random.yaml", [], yaml.load
    monkeypatch.setattr(yaml, "load", lambda *given: parsed.append(1) or load(*given))
    for rate in (1, 2):  # written within one tick of the file system's clock, and of one size
        tuned.write(file, {"npo": {"hard": [{"values": {"lr": rate}}]}})
        for _ in range(3):
            assert tuned.entry(tuned.read_table(file), "npo", "hard") == {"values": {"lr": rate}}
    assert len(parsed) == 2
    assert tuned.read_table(tmp_path / "class.yaml") is None
    assert tuned.read_table(tmp_path / f"{'long' * 100}.yaml") is None


# what a search adds


def test_a_search_adds_an_entry_at_its_cost_and_replaces_it(tmp_path):
    file = tmp_path / "fashion_mnist" / "mlp" / "random.yaml"
    entries = [
        {"values": {"lr": 1.0}},
        {"values": {"lr": 2.0}, "cost": 0.1},
        {"values": {"lr": 3.0}, "cost": 0.05},
    ]
    other = {"values": {"lr": 5.0}, "cost": 0.1, "tuned_on": SEEN | {"recipe": "mlp-abc123"}}
    for one in (*entries, {"values": {"lr": 4.0}, "cost": 0.1}, other):
        tuned.add(file, "npo", "soft", one)
    tuned.add(file, "npo", "hard", entries[1])
    table = tuned.read_table(file)
    assert [one["values"]["lr"] for one in table["npo"]["soft"]] == [1, 3, 4, 5]
    assert table["npo"]["hard"] == [entries[1]]
    assert "fewer" not in file.read_text()
    tuned.add(file, "npo", "hard", entries[1] | {"trials": 20})
    tuned.add(file, "npo", "soft", entries[1] | {"trials": 60})
    assert file.read_text().splitlines()[1] == "# fewer than 60 tries: npo hard at 0.1 (20)"


@pytest.mark.parametrize("word", ["forget_set.fraction=0.01", "forget_set.classes=[1,2]"])
def test_entries_for_parts_of_another_size_stand_side_by_side(word, tmp_path):
    file = tmp_path / "fashion_mnist" / "mlp" / "random.yaml"
    usual = word.replace("0.01", "0.1").replace(",2", "")
    for lr, words in enumerate(([word], [usual], [usual.replace("1]", "3]"), "forget_set.seed=3"], [word])):
        tuned.add(file, "npo", "soft", {"values": {"lr": lr}, "cost": 0.1, "words": ["mu_algo=npo", *words]})
    assert [one["values"]["lr"] for one in tuned.read_table(file)["npo"]["soft"]] == [2, 3]


# how Hydra finds an arm


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (NPO, SOFT),
        ((*NPO, "targets=hard"), HARD),
        ((*NPO, "tuned=none"), GUESS),
        ((*NPO, "~tuned"), GUESS),
        ((*NPO, "targets=uniform"), GUESS),
        ((*NPO, "dataset=mnist_5k"), GUESS),
        ((*NPO, "forget_set=class_fraction"), GUESS),
        ((*NPO, "dataset=mnist_5k", "tuned=fashion_mnist/mlp/random"), SOFT),
        ((*NPO, "architecture=cnn", "targets=hard", "tuned=fashion_mnist/mlp/random"), HARD),
        ((*NPO, "targets=uniform", "tuned=fashion_mnist/mlp/random"), GUESS),
        ((*NPO, "tuned=fashion_mnist/mlp/random/npo/hard"), HARD),
        ((*NPO, "mu_algo.beta=2"), SOFT | {"beta": 2}),
        ((*NPO, "+tuned.lr=0.5", "dataset=mnist_5k"), GUESS | {"lr": 0.5}),
        ((*NPO, "tuned.lr=0.5"), SOFT | {"lr": 0.5}),
        (("dataset=fashion_mnist", "mu_algo=finetune", "targets=hard"), {"lr": 0.091}),
        (("dataset=fashion_mnist", "mu_algo=finetune", "targets=oracle"), {"lr": 0.091}),
        (("dataset=fashion_mnist", "experiment=seed_grid", "unlearn=graddiff"), {"alpha": 1.0, "lr": 0.003}),
    ],
    ids=" ".join,
)
def test_a_run_uses_the_values_of_its_arm(words, values, composed):
    assert used(composed(*words)) == values


@pytest.mark.parametrize("resolve", [(), ("--resolve",)])
def test_cfg_shows_the_values_of_the_arm(resolve, monkeypatch, capsys):
    typed(monkeypatch, *NPO, "--cfg", "job", *resolve)
    shown = OmegaConf.create(capsys.readouterr().out)
    assert shown.tuned == SOFT | {"tuned_on": SEEN}
    assert used(shown) == SOFT


def test_a_run_carries_what_its_values_were_tuned_on_and_its_hash_does_not(composed):
    config = composed(*NPO)
    rest = {"fixed": None, "test_images": 0, "recipe": None, "cost": None, "trials": None}
    rest |= {"objective": None, "start": None}
    assert config["tuned_on"] == SEEN | rest
    assert config_hash(config) == config_hash(
        {name: value for name, value in config.items() if name != "tuned_on"}
    )
    assert "tuned_on" not in composed(*NPO, "tuned=none")
    # what a search prints is what a run reads
    more = {"classes": [3], "recipe": "mlp lr=1-abc123", "cost": 0.1, "trials": 60, "objective": "blind"}
    more |= {"start": "tables"}
    word = tuned_on.typed(config["tuned_on"] | more)
    assert composed(*NPO, "tuned=none", word)["tuned_on"] == config["tuned_on"] | more
    for word, said in {
        "+tuned.tuned_on={seeds: [1]}": "tuned.tuned_on.dataset is required",
        "+tuned_on=1": "give it as \\+tuned.tuned_on",
    }.items():
        with pytest.raises(BadInput, match=f"(?i){said}"):
            composed(*NPO, "tuned=none", word)


def test_a_cells_folder_has_no_name_of_what_it_was_tuned_on():
    words = ["mu_algo=npo", tuned_on.typed(SEEN | {"trials": 60, "objective": "utility"})]
    named = cells._differing(words, [word.partition("=")[0] for word in words], dict.fromkeys(CHOSEN, "npo"))
    assert named == "mu_algo=npo"


def test_values_of_one_size_are_not_taken_silently_for_another():
    said = "settings were tuned on 5,700 images of fashion_mnist, and are used with 57,000 of fashion_mnist"
    assert tuned_on.of_another_size(SEEN, {"dataset": "fashion_mnist"}, 57_000) == said
    assert tuned_on.of_another_size(SEEN, {"dataset": "mnist"}, 5_700).endswith("5,700 of mnist")
    assert tuned_on.of_another_size(SEEN, {"dataset": "fashion_mnist"}, 5_700) is None


def test_settings_of_one_recipe_or_cost_are_not_taken_silently_for_another(composed):
    words = ("dataset=fashion_mnist", "mu_algo=npo", "unlearn.cost=0.1", "training=mlp")
    config, other = composed(*words), composed(*words[:-1], "training=mlp_efficient", "unlearn.cost=0.2")
    seen = SEEN | {"recipe": tuned_on.recipe_of(config, config["choices"]), "cost": 0.1}
    assert tuned_on.unlike(seen, config, config["choices"], 5700) == []
    assert tuned_on.unlike(SEEN, other, other["choices"], 5700) == []  # of an older search nothing is known
    size, recipe, cost = tuned_on.unlike(seen, other, other["choices"], 57_000)
    assert size == tuned_on.of_another_size(SEEN, {"dataset": "fashion_mnist"}, 57_000)
    assert re.fullmatch("settings were tuned with recipe mlp-.{6}, and are used with mlp_efficient-.{6}", recipe)
    assert cost == "settings were tuned at unlearn.cost=0.1, and are used at 0.2"
    # a recipe is known by its values, and not by the number format, which follows the machine
    longer = composed(*words, "training.min_epochs=30")
    assert tuned_on.unlike(seen, longer, longer["choices"], 5700)[0].startswith("settings were tuned with recipe")
    narrow = composed(*words, "training.precision=float32")
    assert tuned_on.unlike(seen, narrow, narrow["choices"], 5700) == []


# what was searched at a cost

AT_COST = ("dataset=fashion_mnist", "dataset.train_size=6000", "mu_algo=finetune", "unlearn.cost=0.1")


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        (AT_COST, True),
        (("seed=3", "dataset.seed=3", "forget_set.seed=3", "targets=hard", *AT_COST), True),
        ((*AT_COST, "architecture=mlp", "training=mlp", "forget_set=random", "unlearn.batch_size=64"), True),
        ((*AT_COST[:3], "unlearn.cost=1e-1"), True),
        ((*AT_COST[:2], "unlearn.cost=0.1", "mu_algo=retrain", "targets=soft"), True),
        (AT_COST[:3], False),
        ((*AT_COST[:3], "unlearn.cost=0.3"), False),
        ((AT_COST[0], "dataset.train_size=5000", *AT_COST[2:]), False),
        ((*AT_COST[1:], "dataset=mnist"), False),
        ((*AT_COST, "architecture=resnet9"), False),
        ((*AT_COST, "architecture.hidden=400"), False),
        ((*AT_COST, "training=mlp_reference"), False),
        ((*AT_COST, "training.epochs=30"), False),
        ((*AT_COST, "forget_set=class_fraction"), False),
        ((*AT_COST, "forget_set.fraction=0.2"), False),
        ((*AT_COST, "checkpoint=mine.pt"), False),
        ((*AT_COST, "tuned=none"), False),
        ((*AT_COST, "unlearn=sgd"), False),
        ((*AT_COST, "experiment=seed_grid"), False),
        ((*AT_COST[:3], "unlearn.cost=much"), False),
        ((*AT_COST[:2], "unlearn.cost=0.1", "mu_algo=relabel"), False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_settings_with_a_cost_are_taken_where_all_is_as_it_was_searched(words, taken):
    longer = at_cost.with_searched(words)
    assert longer[len(longer) - len(words) :] == list(words)
    assert (len(longer) > len(words)) is taken
    typed = {word.partition("=")[0] for word in words}
    assert not typed & {word.partition("=")[0] for word in longer[: len(longer) - len(words)]}


@pytest.mark.parametrize(
    ("word", "searched"),
    [
        ("unlearn.optimizer.lr=0.5", False),
        ("unlearn.stop=matched", False),
        ("+unlearn.optimizer.weight_decay=0.1", False),  # no word of the entry names it
        ("~unlearn.schedule", False),
        ("unlearn.optimizer.lr=2.97e-3", True),  # as it was searched
        ("unlearn.evaluate_every=null", True),
        ("references=2", True),
    ],
)
def test_a_run_with_another_setting_than_the_searched_claims_no_cost_and_keeps_the_seeds(word, searched):
    (seen,) = (one for one in at_cost.with_searched(AT_COST) if one.startswith(f"+{tuned_on.SETTING}="))
    (kept,) = (one for one in at_cost.with_searched([*AT_COST, word]) if one.startswith(f"+{tuned_on.SETTING}="))
    assert seen.endswith(",cost:0.1,trials:60}")  # an older entry has its tries beside what was seen
    assert kept == (seen if searched else seen.replace(",cost:0.1,trials:60", ""))
    assert "seeds:[1000,1001," in kept


def test_a_run_with_another_rate_than_the_searched_says_so(composed):
    config = composed(*at_cost.with_searched([*AT_COST, "unlearn.optimizer.lr=0.5"]))
    assert config["tuned_on"]["seeds"][0] == 1000
    (said,) = pipeline._tuning(build(config))
    assert said.startswith("unlearn.cost=0.1: no search chose these settings of finetune hard for this budget")


@pytest.fixture
def table_of(monkeypatch, tmp_path):
    """Return a function that puts a table in the place of ours."""

    def put(name: str, table: tuned.Table | str):
        for other in ("config.yaml", "mu_algo", "forget_set"):
            (tmp_path / other).symlink_to(CONF / other)
        file = tmp_path / "tuned" / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(table if isinstance(table, str) else yaml.safe_dump(table))
        monkeypatch.setattr(at_cost, "CONF", tmp_path)

    return put


ONE_CLASS = ("dataset=mnist_5k", "forget_set=class", "mu_algo=npo", "targets=soft", "unlearn.cost=0.5")


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        (ONE_CLASS, True),
        ((*ONE_CLASS, "forget_set.classes=[3]"), True),
        ((*ONE_CLASS, "forget_set.classes=[3,4]"), False),
        ((*ONE_CLASS, "forget_set=class_fraction"), False),
    ],
)
def test_settings_that_were_searched_on_one_class_serve_runs_of_another_which_keep_it(words, taken, table_of):
    searched = [*ONE_CLASS, "forget_set.classes=[9]", "unlearn.optimizer.lr=0.02"]
    table_of("mnist_5k/mlp/class", {"npo": {"soft": [{"values": {"lr": 0.02}, "cost": 0.5, "words": searched}]}})
    assert at_cost.with_searched(words) == [*(["unlearn.optimizer.lr=0.02"] if taken else []), *words]


def test_an_entry_whose_targets_have_another_value_than_their_preset_serves_runs_with_that_value(table_of):
    words = ["dataset=mnist_5k", "mu_algo=npo", "targets=soft", "unlearn.cost=0.5"]
    changed = [*words, "targets.forget.temperature=2"]
    arms = {
        "soft": [*words, "unlearn.optimizer.lr=0.01"],
        "soft forget.temperature=2": [*changed, "unlearn.optimizer.lr=0.02"],
    }
    entries = {targets: [{"values": {}, "cost": 0.5, "words": entry}] for targets, entry in arms.items()}
    table_of("mnist_5k/mlp/random", {"npo": entries})
    for typed, rate in ((words, 0.01), (changed, 0.02)):
        assert at_cost.with_searched(typed) == [f"unlearn.optimizer.lr={rate}", *typed]
    unlike = [*words[:2], "targets=hard", "targets.forget.temperature=2", *words[3:]]
    assert at_cost.with_searched(unlike) == unlike


@pytest.mark.parametrize("demanded", [(), ("tuned=searched",)])
def test_a_table_that_cannot_be_read_is_refused_before_an_entry_is_looked_for(demanded, table_of):
    table_of("fashion_mnist/mlp/random", "finetune: [")
    with pytest.raises(BadInput, match=r"random\.yaml: cannot be read"):
        at_cost.with_searched([*AT_COST, *demanded])


def test_an_entry_can_be_demanded_in_an_experiment_too(monkeypatch, capsys):
    longer = at_cost.with_searched([*AT_COST, "experiment=seed_grid", "tuned=searched"])
    assert longer == [*at_cost.with_searched(AT_COST), "experiment=seed_grid"]
    no_search = "tuned=searched: no search chose settings of finetune at unlearn.cost="
    sentences = {
        (*AT_COST[:3], "unlearn.cost=0.3"): no_search,
        (*AT_COST, "training=mlp_reference"): no_search,
        AT_COST[:3]: "tuned=searched: unlearn.cost is required",
        (*AT_COST[:3], "unlearn.cost=null"): "tuned=searched: unlearn.cost is required",
        (*AT_COST[:3], "unlearn.cost=much"): "unlearn.cost='much': must be a valid number",
        ("unlearn.cost=0.1",): "no search chose settings of relabel at unlearn.cost=0.1",
        # a sweep, whose cells name their arms
        ("experiment=quick", "unlearn.cost=0.1"): "no search chose settings of gradasc hard at unlearn.cost=0.1",
        (*AT_COST, "unlearn.optimizer.lr=5"): "unlearn.optimizer.lr=5: tuned=searched takes what a search chose",
        (*AT_COST, "unlearn=sgd"): "unlearn=sgd: tuned=searched takes what a search chose",
        (*AT_COST, "unlearn.optimizer.weight_decay=1"): "weight_decay=1: tuned=searched takes what a search chose",
    }
    for words, said in sentences.items():
        monkeypatch.setattr(sys, "argv", ["run.py", *words, "tuned=searched"])
        with pytest.raises(SystemExit) as end:
            softtargets.cli.main.command(run.main)
        sentence = capsys.readouterr().err
        assert (end.value.code, sentence.count("\n")) == (2, 1)
        assert said in sentence


def test_an_entry_is_not_demanded_for_an_arm_that_an_experiment_alone_names(tmp_path):
    (tmp_path / "experiment").mkdir()
    own = "# @package _global_\ndefaults: [{override /mu_algo: npo}]\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(own)
    words = [f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine", "unlearn.cost=0.1", "tuned=searched"]
    with pytest.raises(BadInput, match="mu_algo is required beside experiment=mine"):
        softtargets.run(words)
    (tmp_path / "experiment" / "mine.yaml").write_text(f"{own}hydra: {{mode: MULTIRUN}}\n")
    with pytest.raises(BadInput, match="this is a sweep"):
        softtargets.run(words)


@pytest.mark.long
def test_a_run_and_a_cell_of_a_sweep_take_the_settings_that_were_searched_at_its_cost(
    monkeypatch, composed, tmp_path
):
    cells = []
    monkeypatch.setenv("SOFTTARGETS_RUNS", str(tmp_path))
    monkeypatch.setattr(sweep.on_disk, "left", lambda found: cells.extend(found) or [])
    typed(monkeypatch, "-m", *AT_COST[:2], "mu_algo=finetune,npo", "unlearn.cost=0.1,0.3")
    (run_,) = typed(monkeypatch, *AT_COST)
    (entry,) = (
        one
        for one in tuned.read_table(TABLE)["finetune"]["hard"]
        if (one["cost"], one["tuned_on"]["images"], tuned.parts(one)) == (0.1, 5700, [])
        and one["tuned_on"]["recipe"].startswith("mlp-")
    )
    searched = composed(*entry["words"])
    assert run_.unlearn.optimizer.lr == searched["unlearn"]["optimizer"]["lr"] == entry["values"]["lr"]
    plain = [
        composed(*AT_COST[:2], f"mu_algo={name}", f"unlearn.cost={cost}")
        for name, cost in (("finetune", 0.3), ("npo", 0.3))
    ]
    hashes = [config_hash(one) for one in (searched, *plain)]
    assert set(hashes) <= {cell.hash for cell in cells}
    assert len(cells) == 4


def test_a_run_says_whether_a_search_chose_its_settings_at_its_cost(composed):
    words = (*SMALL, "mu_algo=finetune", "unlearn.cost=0.5")
    experiment = build(composed(*words))
    (said,) = pipeline._tuning(experiment)
    assert said.startswith(
        "unlearn.cost=0.5: no search chose these settings of finetune hard for this budget (475 images"
    )
    config = experiment.config
    seen = SEEN | {"dataset": "mnist_5k", "images": 475, "recipe": tuned_on.recipe_of(config, config["choices"])}
    for cost, ending in ((0.5, "at this budget, for this recipe and size"), (0.1, "tuned=none leaves them out")):
        config["tuned_on"] = seen | {"cost": cost}
        (said,) = pipeline._tuning(experiment)
        assert said.endswith(ending)


def test_every_cell_of_a_sweep_uses_its_own_values(monkeypatch, composed, tmp_path):
    cells = []
    monkeypatch.setenv("SOFTTARGETS_RUNS", str(tmp_path))
    monkeypatch.setattr(sweep.on_disk, "left", lambda found: cells.extend(found) or [])
    grid = ("mu_algo=npo", "targets=soft,hard", "tuned=none,fashion_mnist/mlp/random")
    typed(monkeypatch, "-m", *SMALL, *grid)
    assert {cell.hash for cell in cells} == {
        config_hash(composed(*SMALL, "mu_algo=npo", f"targets={targets}", f"tuned={table}"))
        for targets in ("soft", "hard")
        for table in ("none", "fashion_mnist/mlp/random")
    }
    assert len(cells) == 4


@pytest.mark.kill
@pytest.mark.parametrize("launcher", ["local", "submitit_local"])
def test_workers_use_the_values_of_their_arm(launcher, monkeypatch, tmp_path):
    for name in ("RUNS", "STORE"):
        monkeypatch.setenv(f"SOFTTARGETS_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    words = ("mu_algo=npo", "targets=soft,hard", "tuned=fashion_mnist/mlp/random", f"hydra/launcher={launcher}")
    monkeypatch.setattr(sys, "argv", ["run.py", "-m", *SMALL, *words])
    softtargets.cli.main.command(run.main)
    runs = [read_json(file) for file in tmp_path.glob("runs/sweep/*/result.json")]
    values = {one["choices"]["targets"]: used(one["config"]) for one in runs}
    assert values == {"soft": SOFT, "hard": HARD}


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("tuned=fashion_mnist/mlp/rndom",), "fashion_mnist/mlp/rndom"),
        (("tuned=fashion_mnist/mlp/random/npo/sotf",), "fashion_mnist/mlp/random/npo/sotf"),
        (("tuned=fashion_mnist/mlp/random/npo-soft",), "fashion_mnist/mlp/random/npo-soft"),
        (("tuned=mnist_5k/mlp/random/npo/soft", "mu_algo=npo", "targets=soft"), "mnist_5k/mlp/random/npo/soft"),
        (("-m", "tuned=none,fashion_mnist/mlp/rndom"), "fashion_mnist/mlp/rndom"),
        ((f"tuned={'a' * 300}/mlp/random",), "aaa"),
        (("experiment=mine", "hydra.searchpath=[file://MINE]"), "fashion_mnist/mlp/rndom"),
    ],
)
def test_tuned_values_that_do_not_exist_are_refused_by_name(words, named, refused, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("SOFTTARGETS_RUNS", str(tmp_path / "runs"))
    (tmp_path / "experiment").mkdir()
    experiment = "# @package _global_\ndefaults:\n  - override /tuned: fashion_mnist/mlp/rndom\n"
    (tmp_path / "experiment/mine.yaml").write_text(experiment)
    sentence = refused(lambda: typed(monkeypatch, *(word.replace("MINE", str(tmp_path)) for word in words)))
    assert sentence.startswith(f"tuned={named}")
    assert "use tuned=none or one of fashion_mnist/cnn/class, " in sentence
    assert named != "fashion_mnist/mlp/rndom" or "did you mean fashion_mnist/mlp/random?" in sentence


# tables of a user's


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's configs, with an algorithm that reads tuned values, and their tables in a folder beside."""
    monkeypatch.setenv("SOFTTARGETS_RUNS", str(tmp_path / "runs"))
    algorithm = (CONF / "mu_algo/graddiff.yaml").read_text()
    for file, text in {
        "conf/mu_algo/pull.yaml": algorithm,
        "tuned/fashion_mnist/mlp/random.yaml": f"pull: {{all: [{ENTRY}]}}\nnpo: {{soft: [{ENTRY}]}}",
        "tuned/mnist_5k/mlp/random.yaml": f"pull: {{hard: [{ENTRY}]}}",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    return tmp_path


PULL = ("mu_algo=pull", "unlearn=graddiff")


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "values"),
    [
        (PULL, {"alpha": 2.5, "lr": 0.25}),
        ((*PULL, "targets=soft"), {"alpha": 1.0, "lr": 0.003}),
        ((*PULL, "targets=soft", "dataset=fashion_mnist"), {"alpha": 2.5, "lr": 0.25}),
        ((*PULL, "targets=soft", "tuned=fashion_mnist/mlp/random"), {"alpha": 2.5, "lr": 0.25}),
        ((*PULL, "tuned=none"), {"alpha": 1.0, "lr": 0.003}),
        (NPO, SOFT),
    ],
)
def test_a_users_tables_are_for_arms_that_ours_lack(words, values, mine, composed):
    path = f"hydra.searchpath=[file://{mine}/conf,tuned://{mine}/tuned]"
    assert used(composed(*words, path)) == values


SEARCHED = ("dataset=mnist_5k", *PULL, "unlearn.cost=0.5")


@pytest.fixture
def searched(mine):
    """The words of a search path on which is a row for `pull`, as a search leaves it, by targets of its own."""
    algorithm, usual = mine / "conf/mu_algo/pull.yaml", "defaults: [override /targets@_global_.targets: soft]\n"
    algorithm.write_text(usual + algorithm.read_text())
    words = [*SEARCHED, "plugins=[mine]", "unlearn.optimizer.lr=0.02", tuned_on.typed(SEEN | {"cost": 0.5})]
    row = {"values": {"lr": 0.02}, "cost": 0.5, "words": words, "tuned_on": SEEN | {"cost": 0.5}}
    tuned.write(mine / "rows/mnist_5k/own.Net/random.yaml", {"pull": {"soft": [row]}})
    return f"hydra.searchpath=[file://{mine}/conf,tuned://{mine}/rows]"


def test_a_run_takes_what_a_users_own_table_has_for_its_cost_but_no_plugins(searched):
    words = [searched, *(word for word in SEARCHED if word != "unlearn=graddiff")]
    taken = ["unlearn=graddiff", "unlearn.optimizer.lr=0.02", tuned_on.typed(SEEN | {"cost": 0.5})]
    assert at_cost.with_searched(words) == [*taken, *words]
    assert at_cost.with_searched([*words, "targets=soft", "tuned=searched"])[:3] == taken
    assert at_cost.with_searched([*words, "targets=hard"]) == [*words, "targets=hard"]
    assert at_cost.with_searched(words[1:]) == words[1:]


def test_a_cell_of_a_sweep_takes_it_too(searched, monkeypatch):
    cells = []
    monkeypatch.setattr(sweep.on_disk, "left", lambda found: cells.extend(found) or [])
    typed(monkeypatch, "-m", searched, *SEARCHED, "seed=0,1", "tuned=searched")
    rates = [[word for word in cell.overrides if word.startswith("unlearn.optimizer.lr=")] for cell in cells]
    assert rates == [["unlearn.optimizer.lr=0.02"]] * 2


def test_a_users_algorithm_without_a_table_keeps_its_values(mine, composed):
    for dataset in ("mnist_5k", "fashion_mnist"):
        config = composed(*PULL, f"dataset={dataset}", f"hydra.searchpath=[file://{mine}/conf]")
        assert used(config) == {"alpha": 1.0, "lr": 0.003}


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("file://MINE", "tuned://MINE/tuned before file://MINE"),
        ("file://MINE,tuned://MINE/tuned", "tuned://MINE/tuned before file://MINE"),
        ("tuned://MINE/tuned,file://MINE", None),
        (
            "file://MINE/conf,tuned://MINE/broken",
            "MINE/broken/mnist_5k/mlp/random.yaml: not a table",
        ),
    ],
)
def test_a_table_that_would_be_passed_over_is_refused(path, said, mine, refused, monkeypatch):  # noqa: F811
    (mine / "broken/mnist_5k/mlp").mkdir(parents=True)
    (mine / "broken/mnist_5k/mlp/random.yaml").write_text("pull: {hard: {lr: 1}}")
    words = (*SMALL, f"hydra.searchpath=[{path.replace('MINE', str(mine))}]")
    if said:
        assert said.replace("MINE", str(mine)) in refused(lambda: typed(monkeypatch, *words))
    else:
        assert len(typed(monkeypatch, *words)) == 1


def test_other_programs_do_not_get_our_tables(tmp_path):
    (tmp_path / "config.yaml").write_text("a: 1")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        config = compose("config", return_hydra_config=True)
    assert [one.schema for one in config.hydra.runtime.config_sources] == ["pkg", "file", "structured"]
    assert not GlobalHydra.instance().is_initialized()
