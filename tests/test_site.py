"""The site of the documents is built without a warning; its links lead somewhere, as those of the files do."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from conftest import ROOT, options

import softtargets
from softtargets.cli.help import ABOUT

PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")] + sorted(
    ROOT.glob("docs/**/*.md")
)
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)#?([^)\s]*)\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a Markdown file, as the web view of a repository makes them of its headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_in_the_files_lead_to_files_and_headings(page):
    for path, anchor in LINK.findall(page.read_text()):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


class Page(HTMLParser):
    """Links, resources and anchors of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        self.anchors.add(values.get("id", ""))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        resource = values.get("src") or (values.get("href") if tag == "link" else None)
        if resource and values.get("rel") != "canonical":
            self.resources.append(resource)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> dict[Path, Page]:
    """The pages of the site by file, built in a folder of their own; example reports are no pages."""
    pytest.importorskip("mkdocs", reason="needs pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    files = (file for file in folder.rglob("*.html") if file.name != "404.html")
    whole = [file for file in files if file.name not in ("quick.html", "fashion_mnist.html")]
    return {folder: Page("")} | {file: Page(file.read_text()) for file in whole}


pytestmark = pytest.mark.xdist_group("site")


@pytest.mark.long
def test_links_and_anchors_of_the_site_lead_somewhere(site):
    folder, *files = site
    for file in files:
        for link in site[file].links:
            path, _, anchor = unquote(link).partition("#")
            if not re.match(r"[a-z]+:", path):
                target = (file.parent / path).resolve() if path else file
                assert target.is_file(), (file.name, link)
                assert not anchor or target not in site or anchor in site[target].anchors, (file.name, link)
    assert folder / "source/softtargets/targets.py.html" in files


@pytest.mark.long
def test_the_site_takes_nothing_from_elsewhere(site):
    for page in site.values():
        assert [resource for resource in page.resources if re.match(r"[a-z]*:?//", resource)] == []


@pytest.mark.long
def test_generated_pages_name_every_group_algorithm_and_public_function(site):
    folder, *_ = site
    slugs = {group.replace("/", "") for group in ABOUT if group != "targets/retain"}
    assert slugs <= site[folder / "settings.html"].anchors
    assert set(options("mu_algo")) <= site[folder / "algorithms.html"].anchors
    assert set(softtargets.__all__) - {"RESULT_SCHEMA"} <= site[folder / "api.html"].anchors


@pytest.mark.long
@pytest.mark.parametrize("name", ["quick.html", "fashion_mnist.html", "table/index.html"])
def test_example_reports_are_on_the_site_as_they_are(site, name):
    folder, *_ = site
    assert (folder / "examples" / name).read_bytes() == (ROOT / "docs/examples" / name).read_bytes()
