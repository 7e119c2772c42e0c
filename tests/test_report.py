"""The report in a browser: it stands alone, seeks, hovers, plays, and is legible on a phone and in the dark."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import CHROMIUM, Browser, BrowserError
from typer.testing import CliRunner

import vfer
from benchmarks import films
from benchmarks.films import Act, Film, Role
from vfer.cli.app import app
from vfer.evaluate import pages
from vfer.predict import formats
from vfer.predict.baselines import BaselineSource
from vfer.predict.render import annotate

PLAYS = """document.createElement('video').canPlayType('video/mp4; codecs="avc1.42E01E"')"""
SIZE, FPS = (320, 240), 12
BOX = "(selector => {const area = document.querySelectorAll(selector)[%d].getBoundingClientRect();" \
      " return [area.left, area.top, area.width, area.height]})('%s')"  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of two people, the report of it, the film annotated, and a report whose film is gone."""
    output = tmp_path_factory.mktemp("Bericht #1")
    rng = np.random.default_rng(0)
    roles = [
        Role(actor, films.walk(rng, 36, FPS, SIZE, 30, home, 0.3), 30, [Act(0.5, 2, act)])
        for actor, home, act in ((1, 0.27, "happy"), (2, 0.73, "surprise"))
    ]
    Film(SIZE, FPS, [roles], 4).render(output / "film 100%.mp4")
    timeline = vfer.load("shipped").timeline(output / "film 100%.mp4", vfer.TimelineOptions(pictures=True, baseline=BaselineSource()))
    formats.FORMATS["html"].write(output / "report.html", timeline)
    annotate.write(timeline, output / "annotated.mp4", (), vfer.Span())
    (output / "elsewhere").mkdir()
    (output / "elsewhere" / "report.html").write_bytes((output / "report.html").read_bytes())
    return output


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests; they are skipped where there is none that starts and plays H.264."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here; install the package chromium")
    try:
        page_browser = Browser(tmp_path_factory.mktemp("profile"))
    except BrowserError as error:
        pytest.skip(f"{CHROMIUM} does not work here: {error}")
    with page_browser:
        if not page_browser.run(PLAYS):
            pytest.skip(f"{CHROMIUM} does not play H.264")
        yield page_browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    chromium.resize(1280, 900)
    yield chromium
    errors, network = chromium.errors[:], chromium.network[:]
    chromium.errors.clear()
    chromium.network.clear()
    assert (errors, network) == ([], [])


def area(browser: Browser, selector: str, number: int = 0) -> tuple[float, float, float, float]:
    left, top, width, height = browser.run(BOX % (number, selector))
    return left, top, width, height


def seconds(browser: Browser) -> float:
    return float(browser.run("document.getElementById('video').currentTime"))


def load(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.wait("document.getElementById('video').readyState >= 2")


def test_a_click_seeks_and_the_keys_do_too(browser: Browser, folder: Path) -> None:
    load(browser, folder / "report.html")
    assert browser.run("document.getElementById('video').duration") == pytest.approx(3, abs=0.1)
    left, top, width, height = area(browser, ".lane canvas", 1)
    browser.mouse("press", left + width / 2, top + height / 2)
    browser.mouse("release", left + width / 2, top + height / 2)
    browser.wait("Math.abs(document.getElementById('video').currentTime - 1.5) < 0.05")
    browser.key("ArrowRight")
    browser.wait("Math.abs(document.getElementById('video').currentTime - 2.5) < 0.05")
    browser.key(",")
    browser.wait(f"Math.abs(document.getElementById('video').currentTime - {2.5 - 1 / FPS}) < 0.03")
    browser.run("document.querySelector('#segments tr').click()")
    peak = browser.run("JSON.parse(document.getElementById('data').textContent).people[0].segments[0].peak")
    browser.wait(f"Math.abs(document.getElementById('video').currentTime - {peak}) < 0.05")


def test_it_plays_and_its_head_follows(browser: Browser, folder: Path) -> None:
    load(browser, folder / "report.html")
    browser.run("document.getElementById('play').click()")
    browser.wait("document.getElementById('video').currentTime > 0.5")
    assert browser.run("document.getElementById('play').textContent").endswith("Pause")
    browser.key(" ")
    browser.wait("document.getElementById('video').paused")
    text = browser.run("new Promise(done => setTimeout(() => done(document.getElementById('clock').textContent), 200))")
    assert float(text.split(" / ")[0].removeprefix("0:")) == pytest.approx(seconds(browser), abs=0.11)
    assert text.endswith(" / 0:03.0")


def test_hovering_says_who_shows_what(browser: Browser, folder: Path) -> None:
    load(browser, folder / "report.html")
    left, top, width, height = area(browser, ".lane canvas", 1)
    browser.mouse("move", left + width * 0.4, top + height / 2)
    browser.wait("!document.getElementById('tip').hidden")
    text = browser.run("document.getElementById('tip').innerText")
    assert text.startswith("0:01.2 P1")
    names = browser.run("JSON.parse(document.getElementById('data').textContent).classes")
    assert any(name in text for name in names)
    browser.mouse("move", 5, 5)
    browser.wait("document.getElementById('tip').hidden")


def test_expressions_can_be_hidden_the_view_zoomed_and_the_baseline_left_out(browser: Browser, folder: Path, tmp_path: Path) -> None:
    load(browser, folder / "report.html")

    def lane() -> bytes:
        browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return str(browser.run("document.querySelectorAll('.lane canvas')[1].toDataURL()")).encode()

    pictures = [lane()]
    for press in ("4", "+", "0", "4"):
        browser.key(press)
        pictures.append(lane())
    browser.run("document.getElementById('plain').click()")
    pictures.append(lane())
    assert len(set(pictures[:3])) == 3
    assert pictures[3] == pictures[1]
    assert pictures[4] == pictures[0]
    assert pictures[5] != pictures[0]
    browser.picture(tmp_path / "page.png")
    assert cv2.imread(str(tmp_path / "page.png")).shape == (900, 1280, 3)


def test_without_its_film_it_says_so_and_goes_on(browser: Browser, folder: Path) -> None:
    browser.open(folder / "elsewhere" / "report.html")
    browser.wait("!document.getElementById('absent').hidden")
    assert browser.run("document.getElementById('play').disabled")
    browser.key("ArrowRight")
    browser.wait("document.getElementById('clock').textContent.startsWith('0:01.0')")
    browser.errors.clear()  # of the film that is not there


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, True)])
def test_it_fits_a_phone_and_the_dark(width: int, dark: bool, browser: Browser, folder: Path, tmp_path: Path) -> None:
    browser.resize(width, 844, dark=dark)
    load(browser, folder / "report.html")
    assert browser.run("document.documentElement.scrollWidth") <= width
    left, _, wide, _ = area(browser, ".lane canvas", 1)
    assert 0 <= left < left + wide <= width
    assert wide > 0.6 * width
    browser.run("new Promise(done => setTimeout(done, 200))")
    browser.picture(tmp_path / "page.png")
    shade = float(np.median(cv2.imread(str(tmp_path / "page.png"))))
    assert (shade < 60) == dark
    small = browser.run(
        "Math.min(...[...document.querySelectorAll('p, td, button')].map(one => parseFloat(getComputedStyle(one).fontSize)))"
    )
    assert small >= 12


def test_the_annotated_film_plays(browser: Browser, folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<link rel='icon' href='data:,'><video id='video' src='{(folder / 'annotated.mp4').as_uri()}'></video>")
    load(browser, page)
    browser.run("document.getElementById('video').play()")
    browser.wait("document.getElementById('video').currentTime > 0.4")
    assert browser.run("document.getElementById('video').videoWidth") == SIZE[0]


@pytest.mark.slow
def test_ten_minutes_of_four_people_do_not_lag(browser: Browser, folder: Path, tmp_path: Path) -> None:
    """A frame is drawn in far less than a sixtieth of a second, zoomed or not."""
    text = (folder / "report.html").read_text()
    code = """
        const source = document.getElementById('data'), data = JSON.parse(source.textContent), count = 6000, k = data.classes.length;
        const pack = array => btoa([...new Uint8Array(array.buffer)].map(byte => String.fromCharCode(byte)).join(''));
        data.end = 600; data.shots = [...Array(60).keys()].map(i => 10 * i);
        data.people = [1, 2, 3, 4].map(number => ({
          name: 'P' + number, seconds: 600, time: pack(Float32Array.from({length: count}, (_, i) => i / 10)), plain: '',
          smooth: pack(Uint8Array.from({length: count * k}, (_, i) => 127 + 120 * Math.sin(i * number / 50))),
          box: pack(new Int16Array(4 * count)), doubt: pack(new Uint8Array(count)),
          segments: [...Array(120).keys()].map(i => (
            {start: 5 * i, end: 5 * i + 5, expression: i % k, confidence: .5, peak: 5 * i, flags: ''})),
        }));
        source.textContent = JSON.stringify(data);
    """
    page = tmp_path / "long.html"
    page.write_text(text.replace('<script>\n"use strict"', f'<script>{code}</script>\n<script>\n"use strict"'))
    browser.open(page)
    took = browser.run("""new Promise(done => {
        const times = []; let last = performance.now(), left = 60;
        const frame = () => {
            const key = left % 2 ? 'ArrowRight' : '+';
            document.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
            const now = performance.now(); times.push(now - last); last = now;
            if (left--) requestAnimationFrame(frame); else done(times.sort((a, b) => a - b)[30]);
        };
        requestAnimationFrame(frame);
    })""")
    assert took < 50
    browser.errors.clear()


def test_a_page_escapes_what_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "one.html").write_text("<p>{{ title }}</p><script>{{ rows | data | safe }}</script>")
    pages.write(tmp_path / "page.html", tmp_path / "one.html", title="<b>", rows=["</script>"])
    assert (tmp_path / "page.html").read_text() == '<p>&lt;b&gt;</p><script>["\\u003c/script>"]</script>'


def test_no_pictures_means_none(folder: Path, tmp_path: Path) -> None:
    film = folder / "film 100%.mp4"
    outcome = CliRunner().invoke(app, ["timeline", str(film), "--no-pictures", "-o", str(tmp_path / "x.html"), "--model", "shipped"])
    assert outcome.exit_code == 0
    assert "data:image/jpeg" not in (tmp_path / "x.html").read_text()
    assert (tmp_path / "x.html").read_text().count("http") == 0


@pytest.mark.parametrize(("value", "clock"), [(0, "0:00.0"), (59.96, "1:00.0"), (3599.94, "59:59.9"), (3661.25, "1:01:01.2")])
def test_times_are_told_as_clocks_do(value: float, clock: str) -> None:
    assert pages.clock(value) == clock
