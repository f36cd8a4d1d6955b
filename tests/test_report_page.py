"""The page in a real browser, and what it holds."""

import json
import math
import re
import shutil

import numpy as np
import pytest
from results_by_hand import both, diverged, leave, result
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from softtargets.report.page import rounded
from softtargets.report.summary import ENDPOINTS, summarise
from softtargets.system.files import write_json

MARKUP = "<img src=x onerror=window.hacked=1><b>bold</b>"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A page on three cells of 20 runs, one of them with markup for a name, and one of an arm alone."""
    place = tmp_path_factory.mktemp("runs")
    cells = [{}, {"choices": {"mu_algo": "graddiff", "unlearn": "graddiff"}}, {"choices": {"forget_set": MARKUP}}]
    runs = [run for cell in cells for run in both(10, **cell)]
    odd = result(99, MARKUP, choices={"mu_algo": "graddiff", "unlearn": "graddiff"})
    alone = result(0, choices={"mu_algo": "rmu", "unlearn": "rmu"})
    return summarise(leave(place, *runs, odd, alone), place, None, ENDPOINTS, None)


def data_of(page: str) -> dict:
    """What the page holds, read as strictly as browsers read it."""
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


LOST = {
    "all diverged": [diverged(seed, arm) for arm in ("hard", "soft") for seed in range(3)],
    "an arm diverged": [diverged(seed) for seed in range(5)] + both(5)[5:],
    "few are measured": [diverged(seed) for seed in range(4)] + both(6)[4:],
    "one run": [diverged()],
    "one arm": both(10)[:10],
    "margins": both(10),
}


@pytest.fixture(scope="module", params=LOST)
def odd(request, tmp_path_factory):
    """A page on runs of which much is not there."""
    place = leave(tmp_path_factory.mktemp("runs"), *LOST[request.param])
    if request.param == "margins":
        for file in place.glob("*/margins.npz"):
            np.savez(file, **(dict(np.load(file)) | {"forget_unlearned": np.array([np.inf, np.nan])}))
    return summarise(place, place, None, ENDPOINTS, None)


def test_what_is_not_there_is_null_on_the_page(odd):
    data = data_of(odd.read_text())
    assert len(data["cells"]) == 1
    assert [row["klom"] for row in data["over"] if row["arm"] == "soft"] in ([], [None])


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """A page on runs that all failed."""
    place = tmp_path_factory.mktemp("runs")
    for seed in range(7):
        write_json(place / f"seed={seed}/error.json", {"error": "ValueError", "message": f"{MARKUP}{seed}"})
    return summarise(place, place, None, ENDPOINTS, None)


def test_no_number_that_json_lacks_comes_through():
    assert rounded({"a": [math.nan, math.inf, (-math.inf, 1.0)]}) == {"a": [None, None, [None, 1.0]]}


def test_the_page_holds_its_data_and_asks_nobody_for_more(report):
    text = report.read_text()
    data = data_of(text)
    assert len(data["cells"]) == 4
    assert sum(len(arm["seeds"]) for arm in data["arms"]) == 62
    assert {one["words"].split(",")[0] for one in data["verdicts"] if one["measure"] == "js_forget"} >= {
        "soft is closer to retrained than hard"
    }
    assert all(len(one["points"]) == 10 for one in data["verdicts"] if one["other"] == "soft")
    assert not re.search(r'(src|href)="(?!data:|#)', re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))
    assert "/*" not in text.partition("<style>")[0]
    assert report.stat().st_size < 10e6


def test_names_are_no_markup(report):
    assert MARKUP not in report.read_text()
    assert MARKUP in json.dumps(data_of(report.read_text()))


@pytest.fixture(scope="module")
def browsers(tmp_path_factory):
    """`browsers(width, *arguments)`: headless Chromium of this width."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("needs chromium and chromium-driver")
    opened = []

    def browser(width: int, *arguments: str):
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for argument in ("headless=new", "no-sandbox", "disable-gpu", f"window-size={width},1000", *arguments):
            options.add_argument(f"--{argument}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        opened.append(webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)))
        return opened[-1]

    yield browser
    for one in opened:
        one.quit()


@pytest.fixture(scope="module")
def wide(browsers):
    return browsers(1280)


@pytest.fixture
def laptop(wide, report):
    """The page as it opens."""
    wide.get(report.as_uri())
    return wide


def rows(browser) -> list[str]:
    return [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#verdict-table tbody tr")]


def choose(browser, name: str, value: str) -> None:
    Select(browser.find_element(By.NAME, name)).select_by_value(value)


pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.mark.browser
class TestInABrowser:
    def test_it_opens_without_a_word_on_the_console(self, laptop):
        assert laptop.get_log("browser") == []
        assert laptop.execute_script("return window.hacked") is None
        assert "62 runs in 4 cells" in laptop.find_element(By.ID, "about").text

    def test_what_is_not_there_leaves_no_blank_page(self, wide, odd):
        wide.get(odd.as_uri())
        assert wide.get_log("browser") == []
        data = data_of(odd.read_text())
        for measure in data["measures"]:
            choose(wide, "measure", measure)
            for where in data["where"]:
                choose(wide, "where", where)
                there = [one for one in data["verdicts"] if (one["measure"], one["where"]) == (measure, where)]
                assert len(rows(wide)) == len(there)  # faces are measured at the end alone
                assert len(there) == 1 or (where == "matched" and not there)
        assert wide.find_elements(By.CSS_SELECTOR, "#state-table tbody tr")
        assert wide.find_element(By.ID, "notes").text
        assert wide.get_log("browser") == []
        assert not re.search(r"\b(NaN|null|undefined|Infinity)\b", wide.find_element(By.TAG_NAME, "main").text)

    def test_where_no_run_finished_it_names_them_and_nothing_else(self, wide, failed):
        wide.get(failed.as_uri())
        assert wide.get_log("browser") == []
        about = wide.find_element(By.ID, "about").text
        assert about.endswith("7 without a result, see the notes. No run finished: there is nothing to compare.")
        shown = [part for part in wide.find_elements(By.CSS_SELECTOR, "nav, section") if part.is_displayed()]
        assert [part.get_attribute("aria-labelledby") for part in shown] == ["h-notes"]
        names = [line.text for line in wide.find_elements(By.CSS_SELECTOR, "#notes li")]
        assert names == [f"seed={seed}: ValueError: {MARKUP}{seed}" for seed in range(7)]

    @pytest.mark.parametrize("figure", ["differences", "plane", "ways", "classes"])
    def test_figures_are_there(self, laptop, figure):
        drawn = laptop.execute_script(f"return document.getElementById('{figure}').data.length")
        assert drawn > 0
        marks = {"classes": ".hm image, .heatmaplayer image", "ways": ".scatterlayer path.js-line"}
        found = laptop.find_elements(By.CSS_SELECTOR, f"#{figure} {marks.get(figure, '.scatterlayer path.point')}")
        assert len(found) >= {"differences": 30, "plane": 60, "ways": 6, "classes": 1}[figure]

    def test_every_seed_is_a_point_of_its_difference(self, laptop):
        for name, value in (("measure", "js_forget"), ("where", "matched")):
            choose(laptop, name, value)
        points = laptop.execute_script("return document.getElementById('differences').data[0].x")
        assert sorted(points) == pytest.approx([(0.01 + 0.001 * seed) / 2 for seed in range(10)])

    def test_filters_work(self, laptop):
        everything = len(rows(laptop))
        choose(laptop, "mu_algo", "graddiff")
        assert 0 < len(rows(laptop)) < everything
        assert all("graddiff" in row for row in rows(laptop))
        shown = laptop.execute_script("return document.getElementById('plane').data.map(one => one.name)")
        assert shown[:2] == ["retrained", "original"]
        choose(laptop, "arm", "soft")
        assert [row.count("hard, soft") for row in rows(laptop)] == [1]
        for name, value in (("measure", "js_forget"), ("where", "end")):
            choose(laptop, name, value)
        assert "by 0.014" in rows(laptop)[0] or "by 0.015" in rows(laptop)[0]
        choose(laptop, "measure", "mia_gap")
        assert "the same in every pair" in rows(laptop)[0]
        for name in ("mu_algo", "arm"):
            choose(laptop, name, "")
        for name, value in (("where", "matched"), ("measure", "js_forget")):
            choose(laptop, name, value)
        assert len(rows(laptop)) == everything

    def test_an_arm_that_is_alone_has_a_row_and_no_difference(self, laptop):
        (row,) = (row for row in rows(laptop) if " rmu " in row)
        assert "hard nothing to compare: only one kind of targets has results here" in row
        drawn = "document.getElementById('differences').data.flatMap(one => one.y)"
        assert not [name for name in laptop.execute_script(f"return {drawn}") if "rmu" in name]

    def test_names_with_markup_are_shown_as_they_are(self, laptop):
        assert any(MARKUP in row for row in rows(laptop))
        labels = laptop.execute_script(
            "return [...document.querySelectorAll('#plane .legendtext')].map(one => one.textContent)"
        )
        assert MARKUP in labels
        assert laptop.execute_script("return document.querySelectorAll('main img, main b').length") == 0

    def test_a_keyboard_reaches_the_filters_and_the_tables(self, laptop):
        body, reached = laptop.find_element(By.TAG_NAME, "body"), []
        for _ in range(12):
            body.send_keys(Keys.TAB)
            body = laptop.switch_to.active_element
            reached.append(body.get_attribute("name") or body.get_attribute("class") or body.tag_name)
        assert reached[0] == "skip"
        assert {"dataset", "mu_algo", "arm", "measure", "where", "wide"} <= set(reached)

    def test_a_screen_reader_is_told_what_there_is(self, laptop):
        for figure in laptop.find_elements(By.CSS_SELECTOR, ".figure"):
            assert figure.accessible_name
        for select in laptop.find_elements(By.TAG_NAME, "select"):
            assert select.accessible_name
        for table in laptop.find_elements(By.TAG_NAME, "table"):
            assert table.find_element(By.TAG_NAME, "caption").text
            assert table.find_elements(By.CSS_SELECTOR, "th[scope=col]")

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_it_fits_a_phone_in_light_and_dark(self, browsers, report, dark):
        browser = browsers(500, *(["blink-settings=preferredColorScheme=0"] if dark else []))
        browser.get(report.as_uri())
        wide = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
        assert browser.get_log("browser") == []
