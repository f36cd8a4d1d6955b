"""The search for the settings of one arm: tries on tuning pairs, then a choice among the best on fresh pairs."""

import dataclasses
import functools
import itertools
import json
import re
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import optuna
import pydantic
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field

from softtargets.cli.from_python import hydra_for, listed
from softtargets.cli.main import translating
from softtargets.config import at_cost, paths, recipes, tuned, tuned_on
from softtargets.config.resolve import config_hash
from softtargets.config.settings import refuse_misspelt
from softtargets.config.validation import FORBID, validated
from softtargets.errors import BadInput, Failed, NoStep, to_type
from softtargets.execution import composed_run
from softtargets.marks import Algorithm
from softtargets.system.files import make_folder, write_text
from softtargets.system.locks import locked
from softtargets.tuning.known import with_known
from softtargets.tuning.pairs import FRESH, OBJECTIVES, SEEDS, TUNING, WORST, Measured, Pair, interval, seeded
from softtargets.tuning.space import NOTHING_TO_SEARCH, Space, draw, find_file, first_tries, read_space
from softtargets.tuning.tries import Tries
from softtargets.tuning.winner import row, seen_by

USUAL = ("tuned=none", "unlearn.stop=none")
"""Words before those of the space: a try runs to the end of its budget."""
UNWATCHED = ("unlearn.evaluate_every=null", "references=2", "tracker=none")
"""Words that change no trained byte."""
NAME = 150
"""Characters of a folder's name before its hash, at most."""
DECIDED = {"seed", "dataset.seed", "forget_set.seed", "pairs", "references", "tuned", "stage", "rerun"}
FILES = {"space", "known"}
"""Settings of a search that are paths."""
VERSION = 2
"""Of what the same words of a try measure: raised where a change of the code makes stored tries others."""
STILL = 0.02
"""The difference to the score of doing nothing up to which a first try may stand for it."""


class SearchSettings(pydantic.BaseModel):
    """The settings of a search alone."""

    model_config = FORBID
    trials: Annotated[int, Field(ge=1, le=10_000)] = 60
    objective: Literal["retrained", "utility", "blind"] = "retrained"
    tuning_pairs: Annotated[int, Field(ge=1, le=100)] = 4
    fresh_pairs: Annotated[int, Field(ge=1, le=100)] = 10
    finalists: Annotated[int, Field(ge=1, le=100)] = 3
    sampler_seed: Annotated[int, Field(ge=0, le=10**6)] = 0
    space: str | None = None
    known: str | None = None


def search(overrides: Iterable[str] = (), say: Callable[[str], None] = print) -> dict:
    """Search the settings of one arm and return the winner, the content of winner.json.

    `overrides` are the words that would follow `softtargets search`. Several processes with equal words share one
    search, and a search that was stopped goes on. Raises BadInput before any work for what the command would
    refuse, and Failed where the pairs leave nothing to search for.

    >>> import softtargets
    >>> small = ["dataset.train_size=500", "training.epochs=30", "mu_algo=graddiff", "unlearn.cost=0.5"]
    >>> winner = softtargets.search([*small, "trials=1", "tuning_pairs=1", "fresh_pairs=1"], say=lambda line: None)
    >>> winner["budget"], winner["tuned_on"]["seeds"]
    (0.5, [1000, 2000])
    """
    settings, words = _settings(overrides)
    with hydra_for(words) as hydra:

        @functools.lru_cache(maxsize=1)  # the pairs of a try differ in their seeds alone
        def compose(words: tuple[str, ...]) -> DictConfig:
            return hydra.compose_config("config", list(words), RunMode.RUN, with_log_configuration=False)

        return Search(settings, words, compose, say).run()


def _mean(seconds: list[float]) -> float:
    return sum(seconds) / max(len(seconds), 1)


def _settings(overrides: Iterable[str]) -> tuple[SearchSettings, list[str]]:
    """Part the settings of the search from the words of its runs."""
    given, words = {}, []
    for word in listed(overrides):
        name, _, value = word.partition("=")
        if word.startswith("-"):
            raise BadInput(f"{word}: a search takes settings alone, as in trials=60, and is of one arm")
        if name in DECIDED:
            raise BadInput(f"{word}: a search decides {name}. Leave it out")
        if name in SearchSettings.model_fields:
            given[name] = int(value) if value.isdecimal() and name not in FILES else value
        else:
            refuse_misspelt(word, SearchSettings.model_fields)
            words.append(word)
    if recipes.sweeps(words):
        raise BadInput("experiment: a sweep has many arms, and a search has one. Type its settings instead")
    return validated(SearchSettings, given, ""), recipes.with_recipe(words)


@dataclasses.dataclass
class Search:
    """One search; all its state is in its folder."""

    settings: SearchSettings
    words: list[str]
    composed: Callable[[tuple[str, ...]], DictConfig]
    say: Callable[[str], None]
    runs: list[float] = dataclasses.field(default_factory=list)
    """Seconds of this process's runs on a pair."""

    def run(self) -> dict:
        """Try, choose, write and print."""
        self.cpu = time.process_time()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space = self._space()
        self._check()
        self.folder = self._folder()
        make_folder(self.folder)
        self.first = first_tries(self.space)
        self.tries = Tries(self.folder, self.settings.trials, self.first)
        self.study = self.tries.study
        self.pairs: dict[int, Pair] = {}
        with self.tries.shared():
            self._require_room()
            self._try_all()
        with locked(self.folder / "choice.lock", busy=lambda: self.say("waiting: another process chooses")):
            return self._finish(self._choose())

    def compose(self, words: Sequence[str], pair: int) -> dict:
        """Resolve words into the config of a pair."""
        config = self.composed(tuple(words))
        for name in SEEDS:
            OmegaConf.update(config, name, pair)
        return composed_run.resolved_config(config)

    def all_words(self, drawn: Sequence[str]) -> tuple[str, ...]:
        """Return the words of a try; what the user typed comes last and wins."""
        # an own algorithm has no option of group unlearn; a block of its space names one
        return "unlearn=sgd", *USUAL, *drawn, *self.words, *UNWATCHED

    def _space(self) -> Space:
        """Read the space of the algorithm, without the settings that the user typed."""
        config = self.composed(self.all_words(()))
        sources = config.hydra.runtime.config_sources
        folders = list(paths.config_folders(f"{one.schema}://{one.path}" for one in sources))
        name = config.hydra.runtime.choices["mu_algo"]
        file = Path(self.settings.space) if self.settings.space else find_file(name, folders)
        if file is None and name in NOTHING_TO_SEARCH:
            raise BadInput(f"mu_algo={name}: has nothing to search, because {NOTHING_TO_SEARCH[name]}")
        if file is None:
            raise BadInput(
                f"mu_algo={name}: has no space. Write search/{name}.yaml beside its config, or give space=FILE"
            )
        self.file, typed = file, self._typed()
        space = read_space(file, folders)
        if self.settings.known:
            space = with_known(space, Path(self.settings.known), *self._place()["arm"])
        return {name: block.without(typed) for name, block in space.items()}

    def _typed(self) -> set[str]:
        """Return the names of the settings that the user typed."""
        return {at_cost.name_of(word) for word in self.words}

    def _check(self) -> None:
        """Raise BadInput unless every choice and every end of the space can be run."""
        if self.composed(self.all_words(())).unlearn.cost is None:
            raise BadInput("unlearn.cost is required: a search needs a budget, as in unlearn.cost=0.1")
        self._require_classes()
        same = len({block.fixed for block in self.space.values()}) == 1
        if self.settings.trials > 1 and same and not any(block.drawn for block in self.space.values()):
            raise BadInput(
                f"{self.file}: draws nothing beside the settings that you typed. Leave one of them out, or score "
                "them by trials=1"
            )
        corners = [(name, block.words(values)) for name, block in self.space.items() for values in block.corners()]
        refusals = [(name, self._refusal(words)) for name, words in corners]
        # with some values a budget may have no step, and tries with these score worst; with all it is too small
        small = all(isinstance(refused, NoStep) for _, refused in refusals)
        for name, refused in refusals:
            if refused is not None and (small or not isinstance(refused, NoStep)):
                # a sentence that is the same without the space is about what was typed
                typed = str(self._refusal(())) == str(refused)
                raise refused if typed else BadInput(f"{self.file}: {name}: {refused}") from refused

    def _require_classes(self) -> None:
        """Raise BadInput unless the user typed the classes to be forgotten: all runs forget the default's."""
        config = self.composed(self.all_words(()))
        usual, kind = config.forget_set.get("classes"), config.hydra.runtime.choices["forget_set"]
        if usual and at_cost.CLASSES not in self._typed():
            other = next(label for label in itertools.count() if label not in usual)
            raise BadInput(
                f"{at_cost.CLASSES} is required: runs of forget_set={kind} forget {list(usual)} by default, and "
                f"a report names arms that were tuned on their class. Type {at_cost.CLASSES}=[{other}], or another"
            )

    def _refusal(self, drawn: Sequence[str]) -> BadInput | None:
        """Return why a run of these words cannot be built, None if it can."""
        try:
            with translating():
                composed_run.check_runnable(self.composed((*self.all_words(drawn), *seeded(TUNING))))
        except BadInput as error:
            return error
        return None

    def _folder(self) -> Path:
        """Return the folder of this search; its name holds what decides the tries."""
        config = self.composed((*self.all_words(()), *seeded(TUNING)))
        resolved = composed_run.resolved_config(config)
        arm = "-".join(resolved["choices"][group] for group in (*at_cost.PLACE, "mu_algo", "targets"))
        arm = re.sub(r"[^\w=,.+-]+", "_", arm)[:NAME]
        decisive = self.settings.model_dump(exclude={"trials", "fresh_pairs", "finalists", *FILES})
        blocks = {name: [block.fixed, repr(block.drawn), block.starts] for name, block in self.space.items()}
        own = {"search": [json.dumps(decisive), json.dumps(blocks), VERSION]}
        digest = config_hash(resolved | own)
        return Path(config.runs_dir, "search", f"{arm}-{digest[:10]}").absolute()

    def _require_room(self) -> None:
        """Raise Failed before the first try where doing nothing is as near as a retrained model."""
        self._nothing(TUNING, self.settings.tuning_pairs)
        self._nothing(FRESH, self.settings.fresh_pairs)
        for number in self._numbers(FRESH, self.settings.fresh_pairs):
            self.pairs.pop(number, None)  # their images would lie in memory during all tries

    def _try_all(self) -> None:
        """Try until the allowance is used up."""
        started, before = time.monotonic(), len(self.tries.finished())
        waiting = functools.partial(self.say, "waiting: other processes make the last tries")
        while (trial := self.tries.take(waiting)) is not None:
            self._try(trial)
            self._note_seconds()
            self._progress(started, before)

    def _try(self, trial: optuna.Trial) -> None:
        # a seed for each try: a search that goes on would otherwise repeat its first draws
        seed = self.settings.sampler_seed * 100_003 + self.tries.rank(trial.number)
        self.study.sampler = optuna.samplers.TPESampler(seed=seed)
        words, measures = draw(self.space, trial), []
        trial.set_user_attr("words", words)
        for number in self._numbers(TUNING, self.settings.tuning_pairs):
            one = self._tried(number, words)
            if one is None:
                self.study.tell(trial, WORST)
                return
            measures.append(one)
            if self._is_pruned(trial, measures):
                self.study.tell(trial, state=TrialState.PRUNED)
                return
        self.study.tell(trial, self._score(measures))

    def _tried(self, number: int, words: Sequence[str]) -> Measured | None:
        """Measure a try on a pair; None if it diverged or had no step. Targets are checked here alone."""
        try:
            pair, started = self._pair(number), time.monotonic()
            measures = pair.tried(self.all_words(words))
            self.runs.append(time.monotonic() - started)
            return measures
        except NoStep:
            return None
        except BadInput as error:
            raise BadInput(f"{self.file}: a try with {' '.join(words)}: {error}") from error

    def _is_pruned(self, trial: optuna.Trial, measures: Sequence[Measured]) -> bool:
        """Report the score on the pairs so far; return whether it is worse than the median of the others."""
        try:
            trial.report(self._score(measures), len(measures))
        except Failed:  # of so few pairs doing nothing may be at the floor, though not of all
            return False
        return bool(trial.should_prune())

    def _numbers(self, first: int, count: int) -> range:
        return range(first, first + count)

    def _pair(self, number: int) -> Pair:
        """Return a pair, made at its first use."""
        if number not in self.pairs:
            kind = OBJECTIVES[self.settings.objective]
            self.pairs[number] = kind(number, self.all_words(()), self.compose)
        return self.pairs[number]

    def _nothing(self, first: int, count: int) -> float:
        """Return the score of the original."""
        return self._score([self._nothing_on(number) for number in self._numbers(first, count)])

    def _nothing_on(self, number: int) -> Measured:
        """Measure the original on a pair, whose models are made for it, unless an earlier call did."""
        key, settings = f"nothing/{number}", self.settings
        if key not in self.study.user_attrs:
            place = number - TUNING if number < FRESH else number - FRESH + settings.tuning_pairs
            self.say(f"pair {place + 1} of {settings.tuning_pairs + settings.fresh_pairs}: making its models")
        return self._once(key, number, lambda pair: pair.nothing())

    @property
    def _score(self) -> Callable[[Sequence[Measured]], float]:
        return OBJECTIVES[self.settings.objective].score

    def _once(self, key: str, number: int, measure: Callable[[Pair], Measured | None]) -> Measured | None:
        """Measure on a pair, unless an earlier call or another process did."""
        if key not in self.study.user_attrs:
            self.study.set_user_attr(key, measure(self._pair(number)))
            self._note_seconds()
        return self.study.user_attrs[key]

    def _progress(self, started: float, before: int) -> None:
        """Print how far the search is, with an estimate of its end.

        `before` tries were finished when this process `started` to try. The pace is that of all processes since
        then. The finalists' runs on fresh pairs come after the tries, in one process.
        """
        finished = self.tries.finished()
        complete = [one for one in finished if one.state == TrialState.COMPLETE]
        best = f"best {min(one.value for one in complete):.3f}" if complete else "none complete"
        last = finished[-1]
        score = f"{last.value:.3f}" if last.state == TrialState.COMPLETE else "pruned"
        pace = (time.monotonic() - started) / (len(finished) - before)
        runs = min(self.settings.finalists, self.settings.trials) * self.settings.fresh_pairs
        minutes = (pace * (self.settings.trials - len(finished)) + runs * _mean(self.runs)) / 60
        self.say(f"try {len(finished)} of {self.settings.trials}: {score}, {best}; about {minutes:.0f} min left")

    def _choose(self) -> dict:
        """Run the best tries again on fresh pairs and return the winner; doing nothing is one of them."""
        complete = [one for one in self.tries.finished() if one.state == TrialState.COMPLETE]
        best = sorted(complete, key=lambda one: one.value)[: self.settings.finalists]
        scores = {"nothing": self._nothing(FRESH, self.settings.fresh_pairs)}
        scores |= {str(one.number): self._fresh_score(one) for one in best}
        chosen = min(scores, key=scores.__getitem__)
        if chosen == "nothing":
            return self._described(self._in_place_of_nothing(complete, scores), chosen, scores)
        return self._described(next(one for one in best if str(one.number) == chosen), chosen, scores)

    def _in_place_of_nothing(self, complete: list[FrozenTrial], scores: dict[str, float]) -> FrozenTrial | None:
        """Return the try whose settings an arm gets where doing nothing is best; None where none is near that.

        It is the first try, which hardly moves, except that of `ct`. What starts afresh cannot do nothing: it gets
        its best.
        """
        if Algorithm.of(self._pair(FRESH).experiment.unlearn).starts_afresh:
            tried = [one for one in complete if str(one.number) in scores]
            return min(tried, key=lambda one: scores[str(one.number)], default=None)
        first = next((one for one in complete if one.params == self.first[0]), None)
        if first is not None and str(first.number) not in scores:
            scores[str(first.number)] = self._fresh_score(first)
        still = first is not None and abs(scores[str(first.number)] - scores["nothing"]) <= STILL
        return first if still else None

    def _described(self, winner: FrozenTrial | None, chosen: str, scores: dict[str, float]) -> dict:
        """Return the content of winner.json: `chosen` has the best of `scores`, `winner` gives the settings.

        Where doing nothing was chosen, `winner` is the try that an arm gets in its place, or None.
        """
        drawn = winner.user_attrs["words"] if winner else []
        tuning = self._numbers(TUNING, self.settings.tuning_pairs)
        fresh = self._numbers(FRESH, self.settings.fresh_pairs)
        trials, objective = len(self.tries.finished()), self.settings.objective
        start, pair = "tables" if self.settings.known else "nothing", self._pair(FRESH)
        seen = seen_by([*tuning, *fresh], pair.experiment, trials=trials, objective=objective, start=start)
        usual = [word for word in USUAL if word.partition("=")[0] not in self._typed()]
        # the first words come first in the name of a cell's folder, which has an end
        words = [*self.words, *drawn, *usual, tuned_on.typed(seen)]
        return {
            **self._place(),
            "try": chosen,
            "words": words if winner else ["mu_algo=none"],
            "drawn": drawn,
            "score": scores[str(winner.number)] if winner else scores["nothing"],
            "interval": self._interval(winner),
            "score_on_tuning_pairs": winner.value if winner else None,
            "fresh_scores": scores,
            "budget": self.composed(self.all_words(())).unlearn.cost,
            "objective": objective,
            "trials": trials,
            "cpu_s": self._seconds(),
            "sampler_seed": self.settings.sampler_seed,
            "tuning_pairs": list(tuning),
            "fresh_pairs": list(fresh),
            "finalists": self.settings.finalists,
            "known": self.settings.known,
            "tuned_on": seen,
        }

    def _note_seconds(self) -> None:
        """Note the CPU seconds of this process so far, the models of pairs included."""
        self.study.set_user_attr(f"cpu/{self.tries.process}", round(time.process_time() - self.cpu, 1))

    def _seconds(self) -> float:
        """Return the CPU seconds of all processes that worked on this search."""
        return round(sum(value for name, value in self.study.user_attrs.items() if name.startswith("cpu/")), 1)

    def _fresh(self, one: FrozenTrial) -> list[Measured | None]:
        """Measure a try on fresh pairs; a pair that an earlier call measured is not run again."""
        words = one.user_attrs["words"]
        numbers = self._numbers(FRESH, self.settings.fresh_pairs)
        return [
            self._once(f"fresh/{one.number}/{number}", number, lambda pair: self._tried(pair.number, words))
            for number in numbers
        ]

    def _fresh_score(self, one: FrozenTrial) -> float:
        """Score a try on fresh pairs."""
        measures = self._fresh(one)
        score = WORST if None in measures else self._score(measures)
        self.say(f"try {one.number} on {len(measures)} fresh pairs: {score:.3f} (tuning pairs: {one.value:.3f})")
        return score

    def _interval(self, winner: FrozenTrial | None) -> list[float] | None:
        """Return the ends of the 95 % interval of a winner's score.

        None for doing nothing, and where the winner diverged on a pair.
        """
        measures = self._fresh(winner) if winner else []
        return None if None in measures else interval(self._score, measures)

    def _finish(self, winner: dict) -> dict:
        """Write winner.json and the row of the table, and print the words to type."""
        write_text(self.folder / "winner.json", json.dumps(winner, indent=2) + "\n")
        file = Path(self.folder, "tuned", f"{winner['table']}.yaml")
        algorithm, targets = winner["arm"]
        make_folder(file.parent)
        tuned.write(file, {algorithm: {targets: [row(winner)]}})
        nothing = winner["fresh_scores"]["nothing"]
        count = len(winner["fresh_pairs"])
        self.say(f"winner: {winner['score']:.3f} on {count} fresh pairs; doing nothing: {nothing:.3f}")
        if winner["try"] == "nothing":
            moves = winner["score"] > nothing + STILL
            chose = (
                "these settings are the best, as it cannot do nothing" if moves else "the search chose not to move"
            )
            self.say(f"no try is better than doing nothing: {chose}")
        self.say(f"table: {file}")
        self.say(f"to type: {to_type('run')} {shlex.join(winner['words'])}")
        return winner

    def _place(self) -> dict:
        """Return the table to which the search belongs, and its arm there, by the names that results have."""
        config = self.compose(self.all_words(()), TUNING)
        names = config["choices"]
        targets = tuned.ANY_TARGETS if config["mu_algo"].get("ignores_targets") else names["targets"]
        return {"table": "/".join(names[group] for group in at_cost.PLACE), "arm": [names["mu_algo"], targets]}
