"""What a report's page costs a reader: its size, and seconds of Chromium's main thread to open and to filter it.

`python benchmarks/browser.py [results=1000] [settings]` lays copies of one real run as `reading.py` does, reports
on them and opens the page. It needs chromium and its driver. Settings such as `dataset.train_size=500` go to that
run.
"""

import contextlib
import io
import shutil
import tempfile
import time
from pathlib import Path

import reading
from selenium import webdriver
from usage import call

from softtargets.errors import BadInput
from softtargets.report.__main__ import main as report

RESULTS = 1000
PAINT = """
return new Promise((done) => new PerformanceObserver((list) => done(list.getEntries()[0].startTime))
  .observe({ type: "paint", buffered: true }));
"""
FILTER = """
const field = document.querySelector("#filters select, #filters input:not(:checked)");
if (field.options) field.value = field.options[1].value; else field.checked = true;
field.dispatchEvent(new Event("change", { bubbles: true }));
return document.body.offsetHeight;
"""


def main(*words: str) -> None:
    """Print a line with size, seconds and height."""
    wanted = [word.removeprefix("results=") for word in words if word.startswith("results=")]
    settings = [word for word in words if not word.startswith("results=")]
    with tempfile.TemporaryDirectory() as folder:
        count = reading.lay(Path(folder), int(wanted[-1]) if wanted else RESULTS, *settings)
        with contextlib.redirect_stdout(io.StringIO()):
            assert report([folder]) == 0
        page = Path(folder) / "report.html"
        size, costs = page.stat().st_size, opened(page)
    shown = ", ".join(f"{name} {value:.2f} s" for name, value in costs.items() if name != "height")
    print(f"{count} results: page {size / 1e6:.2f} MB, {shown}, {costs['height']:.0f} px high")


def opened(page: Path) -> dict[str, float]:
    """Return main-thread seconds of opening and of a filter, the wall time to the first paint, and the height."""
    browser = chromium()
    try:
        browser.get("about:blank")
        browser.execute_cdp_cmd("Performance.enable", {})
        start = busy(browser)
        browser.get(page.as_uri())
        browser.execute_script("return new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        ready = busy(browser)
        paint = browser.execute_script(PAINT)
        height = browser.execute_script("return document.documentElement.scrollHeight")
        before = busy(browser)
        browser.execute_script(FILTER)
        time.sleep(0.2)
        after = busy(browser)
    finally:
        browser.quit()
    return {"opening": ready - start, "first paint": paint / 1000, "filter": after - before, "height": height}


def chromium() -> webdriver.Chrome:
    """Start a browser without a window; raises BadInput where there is none."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        raise BadInput("chromium and chromedriver: not installed; apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "window-size=1280,1000"):
        options.add_argument(f"--{argument}")
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def busy(browser: webdriver.Chrome) -> float:
    """Return the seconds that the main thread has worked."""
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(one["value"] for one in metrics if one["name"] == "TaskDuration")


if __name__ == "__main__":
    call(main, __doc__)
