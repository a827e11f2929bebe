"""Time the frames of the explorer page in headless Chromium.

    pip install -e '.[browser]'
    python benchmarks/explorer.py --json benchmarks/results/explorer.json
    python benchmarks/explorer.py --quick

Each page has a recipe's network with its initial weights and is opened from disk. The script draws
on it with the mouse, one move for each frame; a round is a 7, a 1 and a 4. The page measures the
time of a frame itself: to cut out and center the drawing, to run the network, to draw all maps. At
60 frames a second a frame has 16.7 ms. The first round is not counted, because the browser compiles
in it.
"""

import importlib
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from compare import Results, flag_parser
from script import run_script

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
RECIPES = runpy.run_path(str(EXAMPLES / "recipes.py"))
NETWORKS = {"reference": "reference_layers", "ten_epochs": "plain_layers"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

# Strokes in pixels of a pad of 280×280, and the number of moves of a line.
STROKES = [
    [(70, 60), (205, 60), (125, 225)],
    [(145, 50), (138, 230)],
    [(95, 55), (80, 150), (200, 150)],
    [(175, 60), (165, 235)],
]
MOVES = 12
# Resolves when the frame after a move is shown.
SHOWN = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(
    () => done(explorer.state.timing))))"""


def write_page(network: str, folder: Path) -> Path:
    """Write the page of a network by the command line tool."""
    model = RECIPES["network"](RECIPES[NETWORKS[network]](), seed=0)
    model.save(folder / "model.npz")
    page = folder / f"{network}.html"
    command = [sys.executable, str(EXAMPLES / "tools" / "make_explorer.py")]
    subprocess.run(
        [*command, "--model", str(folder / "model.npz"), "--out", str(page)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return page


def draw_digits(page: Any) -> list[dict[str, float]]:
    """Draw the strokes; return the milliseconds of the parts of each frame."""
    box = page.locator("#pad").bounding_box()
    frames = []
    for stroke in STROKES:
        points = np.array(stroke) * box["width"] / 280 + (box["x"], box["y"])
        page.mouse.move(*points[0].tolist())
        page.mouse.down()
        for start, end in pairwise(points):
            for share in np.linspace(0, 1, MOVES + 1)[1:]:
                page.mouse.move(*((1 - share) * start + share * end).tolist())
                frames.append(page.evaluate(SHOWN))
        page.mouse.up()
    page.keyboard.press("c")
    return frames


def measure(browser: Any, network: str, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = write_page(network, Path(folder))
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(path.as_uri())
        size = path.stat().st_size
        draw_digits(page)
        frames = [frame for _ in range(rounds) for frame in draw_digits(page)]
        page.close()
    totals = [frame["all"] for frame in frames]
    return {
        "network": network,
        "page_bytes": size,
        "frames": len(frames),
        **{
            f"{part}_ms": statistics.median(frame[part] for frame in frames)
            for part in ("centering", "network", "drawing", "all")
        },
        "all_ms_90": statistics.quantiles(totals, n=10)[-1],
        "in_time": sum(ms < 16 for ms in totals) / len(totals),
    }


def line(case: dict[str, Any]) -> str:
    return (
        f"{case['network']}: {case['page_bytes'] / 1e6:.2f} MB, a frame takes {case['all_ms']:.1f} "
        f"ms (centering {case['centering_ms']:.1f}, network {case['network_ms']:.1f}, drawing "
        f"{case['drawing_ms']:.1f}), nine of ten below {case['all_ms_90']:.1f} ms, "
        f"{case['in_time']:.1%} below 16 ms; {case['frames']} frames"
    )


def main(argv: list[str] | None = None) -> int:
    flags = flag_parser("Time the frames of the explorer's page.", 10).parse_args(argv)
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"no browser found; install one of {', '.join(BROWSERS)}")
    try:
        playwright: Any = importlib.import_module("playwright.sync_api")
    except ImportError:
        raise SystemExit("playwright is not installed: pip install -e '.[browser]'") from None
    results = Results(flags.json)
    with playwright.sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=path, args=FLAGS)
        for network in list(NETWORKS)[: 1 if flags.quick else None]:
            case = measure(browser, network, flags.rounds)
            results.add(case)
            print(line(case), flush=True)
        browser.close()
    return 0


if __name__ == "__main__":
    run_script(main)
