"""`python run.py --help`: the groups and examples; `--help GROUP`: one group with every option and setting."""

import collections
import shutil
import textwrap

from softtargets.cli import options as conf
from softtargets.cli.options import Option, OptionSetting
from softtargets.errors import BadInput, nearest, to_type

ABOUT = {
    "dataset": "images",
    "forget_set": "samples to forget",
    "architecture": "network",
    "training": "how models are trained (follows architecture)",
    "mu_algo": "unlearning algorithm",
    "unlearn": "how the algorithm optimises (follows mu_algo)",
    "targets": "targets of both sets",
    "targets/forget": "targets of the forget set alone",
    "targets/retain": "targets of the retain set alone",
    "tuned": "values that a search found (searched: none other)",
    "tracker": "where runs are tracked",
    "experiment": "whole studies, without -m",
    "hydra/launcher": "where a sweep computes its runs",
}
"""What a group sets, in the order of the page."""
COLUMNS = "Each: formula | rows | effect under ascent | effect under descent | source"
"""What the first comment of each kind of targets says."""
SETTINGS = "settings"
"""The page of the settings outside the groups."""
EXAMPLES = (
    "",
    "dataset=fashion_mnist architecture=cnn mu_algo=graddiff targets=soft targets.forget.temperature=0.8",
    "mu_algo=relabel targets=out_of_fold unlearn.epochs=3",
    "mu_algo=finetune forget_set=class 'forget_set.classes=[3]'",
    "-m mu_algo=gradasc,graddiff targets=hard,soft 'seed=range(5)' hydra/launcher=local",
)
OVERVIEW = """\
SoftTargets trains a model, retrains it without a forget set, unlearns with hard or soft targets, and compares.

usage: {call} [setting=value ...]            one run
       {call} -m [setting=value,value ...]   one run for every combination

Groups and their options (* is the default):
{groups}

Examples:
{examples}

More:
  {call} --help targets    one group: its options, their settings, defaults and allowed values
  {call} --help settings   settings outside the groups, such as seed, device and precision
  {call} --cfg job         the composed config; with any settings
  {call} plan=true         what a run, or with -m a sweep, would train and take; nothing runs
  {call} --hydra-help      flags of Hydra\
"""
WIDEST = 111


def help_page(words: list[str]) -> str:
    """Return the help for the words of a command line: one page for each group, or the overview without any.

    Raises BadInput for a group that does not exist.
    """
    named = [word for word in words if not word.startswith("-")]
    return "\n\n".join(map(_group, named)) if named else _overview()


def _overview() -> str:
    call, default = to_type("run"), conf.defaults()
    names = {group: _names(group, default.get(group)) for group in ABOUT}
    groups = [_line(f"{group}=", f"{about}: {names[group]}", 18) for group, about in ABOUT.items()]
    examples = [f"  {call} {words}".rstrip() for words in EXAMPLES]
    return OVERVIEW.format(call=call, groups="\n".join(groups), examples="\n".join(examples))


def _names(group: str, default: str | None) -> str:
    if group == "targets/retain":
        return "as targets/forget"
    names = [conf.name_of(group, file) for file in conf.files(group)]
    if group == "unlearn":
        algorithms = {conf.name_of("mu_algo", file) for file in conf.files("mu_algo")}
        names = ["as mu_algo", *(name for name in names if name not in algorithms)]
    return ", ".join(f"{name}*" if name == default else name for name in names)


def _group(group: str) -> str:
    """Return the page of one group, or of the settings outside the groups."""
    if group == SETTINGS:
        return "\n".join(["Settings outside the groups:", *_settings(conf.top_level(), indent=2)])
    if group not in ABOUT:
        known = [*ABOUT, SETTINGS]
        raise BadInput(f"--help {group}: no such group; choose one of {', '.join(known)}{nearest(group, known)}")
    options = conf.options(group)
    common = _common(options) if group != "targets" else []  # a preset is two parts: both are shown with it
    lines = [f"{group}: {ABOUT[group]}", *([COLUMNS] if "/" in group and "targets" in group else []), ""]
    if common:
        lines += ["Settings of every option; an option shows those in which it differs:"]
        lines += [*_settings(common, indent=2), ""]
    for option in options:
        lines += _option(group, option, common)
    if group == "targets":
        lines += ["", _group("targets/forget"), "", "targets/retain has the same options and settings."]
    return "\n".join(lines)


def _common(options: list[Option]) -> list[OptionSetting]:
    """Return the settings that every option has, each with the value that most of them have."""
    values: dict[str, collections.Counter[OptionSetting]] = {}
    for setting in (setting for option in options for setting in option.settings):
        same = OptionSetting(setting.name, setting.value, "", setting.allowed)
        values.setdefault(setting.name, collections.Counter())[same] += 1
    commented = (setting for option in options for setting in option.settings if setting.comment)
    comments = {setting.name: setting.comment for setting in commented if not setting.name.endswith("_target_")}
    everywhere = [count.most_common(1)[0][0] for count in values.values() if count.total() == len(options) > 1]
    return [OptionSetting(one.name, one.value, comments.get(one.name, ""), one.allowed) for one in everywhere]


def _option(group: str, option: Option, common: list[OptionSetting]) -> list[str]:
    shared = {(setting.name, setting.value) for setting in common}
    own = [setting for setting in option.settings if (setting.name, setting.value) not in shared]
    texts = [option.comment, option.docstring]
    return [
        f"{group}={option.name}",
        *(line for text in texts if text for line in _wrapped(text, indent=4)),
        *_settings(own, indent=4),
    ]


def _settings(settings: list[OptionSetting], indent: int) -> list[str]:
    """Return a line for each setting: name and default, what it allows, its comment; long ones wrapped."""
    texts = ["; ".join(filter(None, [setting.allowed, setting.comment])) for setting in settings]
    width = min(44, max((len(setting.shown()) for setting in settings), default=0)) + indent
    names = [" " * (indent - 2) + setting.shown() for setting in settings]
    return [_line(name, text, width) for name, text in zip(names, texts, strict=True)]


def _line(name: str, text: str, width: int) -> str:
    """Return a name and the text about it in two columns."""
    first = f"  {name:<{width - 2}} "
    return (
        textwrap.fill(
            text, _columns(), initial_indent=first, subsequent_indent=" " * (width + 1), break_on_hyphens=False
        )
        or first.rstrip()
    )


def _wrapped(text: str, indent: int = 0) -> list[str]:
    space = " " * indent
    return textwrap.wrap(text, _columns(), initial_indent=space, subsequent_indent=space, break_on_hyphens=False)


def _columns() -> int:
    return min(shutil.get_terminal_size((WIDEST, 0)).columns, WIDEST)
