"""How honest the verdict is: false verdicts where nothing changed, and power against effect size.

    python -m benchmarks.verdict [--trials 10000] [--write docs/verdict.md]

Simulated scores, real statistics: no model runs. The page is the same for the same number of trials.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks import verdict_trials as tried
from benchmarks.other_intervals import WAYS
from benchmarks.score_worlds import EVEN_CHANGES, LOPSIDED, NOTHING_CHANGED, Draw
from benchmarks.verdict_trials import Rate

PROMPTS = (3, 4, 8, 16, 32)
SEEDS = (1, 2, 3)
EFFECTS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
PROMPTS_FOR_POWER = (3, 4, 6, 8, 12, 16, 24, 32, 64)
STATES = (2, 4, 8)
PATIENCES = (2, 4)
ALLOWED = 0.06
_STATES_AT_MOST = 12
_KINDS = {False: "apart", True: "drift"}
# Each of these trials is two evaluations and a search.
_MOST_ESTIMATES = 2000
_WORDS = Path(__file__).parent / "verdict.md"


def false_verdict_rates(
    worlds: Mapping[str, Draw], *, trials: int, prompts: Sequence[int], seeds: Sequence[int]
) -> dict[tuple[str, int, int], Rate]:
    """By world, seeds and prompts."""
    return {
        (name, per_prompt, count): tried.false_verdicts(
            draw, trials=trials, prompts=count, seeds=per_prompt
        )
        for name, draw in worlds.items()
        for per_prompt in seeds
        for count in prompts
    }


def _percent(rate: Rate) -> str:
    low, high = rate.interval
    text = f"{100 * rate.share:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    # Bold: more than is allowed, beyond the trials' own scatter.
    return f"**{text}**" if low > ALLOWED else text


def _short(rate: Rate) -> str:
    return f"{100 * rate.share:.0f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines: list[Sequence[object]] = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _false_table(worlds: Mapping[str, Draw], trials: int) -> tuple[str, Rate]:
    """The table, and the highest rate in it."""
    rates = false_verdict_rates(worlds, trials=trials, prompts=PROMPTS, seeds=SEEDS)
    rows = [
        [name, seeds, *(_percent(rates[name, seeds, count]) for count in PROMPTS)]
        for name in worlds
        for seeds in SEEDS
    ]
    head = ["scores", "seeds", *(f"{count} prompts" for count in PROMPTS)]
    return _table(head, rows), max(rates.values(), key=lambda rate: rate.share)


def _ways_table(trials: int) -> str:
    counts = (3, 4, 8, 16)
    worlds = {
        name: draw
        for name, draw in {**NOTHING_CHANGED, **LOPSIDED}.items()
        if name in {"bell", "sure classifier (beta)", "hit or miss, half", *LOPSIDED}
    }
    rows = [
        [name, way_name]
        + [
            _percent(tried.false_verdicts_by(way, draw, trials=trials, prompts=count))
            for count in counts
        ]
        for name, draw in worlds.items()
        for way_name, way in WAYS.items()
    ]
    return _table(["scores", "way", *(f"{count} prompts" for count in counts)], rows)


def _power_table(trials: int) -> str:
    rows = [
        [count] + [_short(tried.power(effect, trials=trials, prompts=count)) for effect in EFFECTS]
        for count in PROMPTS_FOR_POWER
    ]
    return _table(["prompts", *(f"effect {effect:g}" for effect in EFFECTS)], rows)


def _best_table(trials: int) -> str:
    rows = []
    for drifting, prompts in itertools.product((False, True), (4, 16)):
        rates = [
            tried.verdicts_of_the_best(
                trials=trials,
                prompts=prompts,
                states=states,
                drifting=drifting,
                corrected=corrected,
            )
            for corrected in (False, True)
            for states in STATES
        ]
        rows.append([_KINDS[drifting], prompts, *(_percent(rate) for rate in rates)])
    head = ["states", "prompts"]
    head += [f"best of {states}" for states in STATES]
    head += [f"best of {states}, interval for all" for states in STATES]
    return _table(head, rows)


def _stuck_table(trials: int) -> str:
    rows = []
    for drifting, prompts in itertools.product((False, True), (4, 16)):
        row: list[object] = [_KINDS[drifting], prompts]
        for patience in PATIENCES:
            rates = tried.verdicts_when_stuck(
                trials=trials,
                prompts=prompts,
                states=_STATES_AT_MOST,
                drifting=drifting,
                patience=patience,
            )
            row += [_percent(rate) for rate in rates]
        rows.append(row)
    head = ["states", "prompts"]
    for patience in PATIENCES:
        head += [f"patience {patience}: `improved`", "`worse`"]
    return _table(head, rows)


def _estimates_table(trials: int) -> str:
    rows = []
    for effect in (0.5, 1.0):
        for prompts in (4, 8, 16):
            found = tried.estimates(effect, trials=trials, prompts=prompts, most=512)
            low, middle, high = found.quartiles
            quartiles = f"{low:.0f} / {middle:.0f} / {high:.0f}"
            rows.append(
                [f"{effect:g}", prompts, found.truth, quartiles, f"{_short(found.improved)} %"]
            )
    head = ["half width", "prompts of the first evaluation", "truly needed"]
    head += ["estimate: quartiles", "`improved` in the second"]
    return _table(head, rows)


def page(trials: int) -> str:
    """The Markdown page: `verdict.md` of this folder with the tables and figures in their places."""
    unchanged, highest = _false_table(NOTHING_CHANGED, trials)
    even, highest_even = _false_table(EVEN_CHANGES, trials)
    lopsided, _ = _false_table(LOPSIDED, trials)
    of_estimates = min(trials, _MOST_ESTIMATES)
    words = _WORDS.read_text(encoding="utf-8")
    return words.format(
        trials=trials,
        highest=_percent(highest),
        highest_even=_percent(highest_even),
        unchanged=unchanged,
        even=even,
        lopsided=lopsided,
        ways=_ways_table(trials),
        power=_power_table(trials),
        best=_best_table(trials),
        stuck=_stuck_table(trials),
        states_at_most=_STATES_AT_MOST,
        trials_of_estimates=of_estimates,
        estimates=_estimates_table(of_estimates),
    )


def main() -> None:
    """Runs the trials and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=10_000, help="for every cell of a table")
    parser.add_argument("--write", type=Path, help="also write the page to this file")
    options = parser.parse_args()
    text = page(options.trials)
    sys.stdout.write(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
