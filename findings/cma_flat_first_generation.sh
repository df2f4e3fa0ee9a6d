#!/usr/bin/env bash
# cma 4.5.0: a flat first generation ends the run by `tolfun`, whatever `tolflatfitness` says.
#
# Expected: `tolflatfitness` is the number of flat iterations (all candidates score the same) that
#   are tolerated; with 1000 a run should survive a plateau under its start.
# Happens: `tolfun` compares this generation and the history of best values, and does not ask how
#   long that history is. After the first generation it holds one value, so its range is 0 and the
#   run is over. The same plateau one generation later lasts 31 iterations (a full history).
#   `tolfunhist` does wait (for ten values); `tolfun` does not.
# Since: also with 4.0.0 and 4.4.4.
# Hurts: scores of a black box are often rounded (accuracy on a few images, two decimals); with a
#   small first step all candidates tie, and the search returns its start as if it had converged.
# Way round: `tolfun: 0` and `tolfunhist: 0` beside `tolflatfitness`, and an evaluation budget.
#
# Seen on 2026-11-29 (Linux, Python 3.11):
#   cma 4.5.0
#   plateau from the first generation:  (1, ['tolfun'])
#   plateau from the second generation: (31, ['tolfun', 'tolfunhist'])
#   the same, tolfun=tolfunhist=0:      (200, ['maxiter'])
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q --disable-pip-version-check install cma==4.5.0 numpy==2.4.6

"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import cma


def iterations_until_stop(generations_before_plateau, **more):
    options = {"verbose": -9, "seed": 1, "tolflatfitness": 1000, "maxiter": 200, **more}
    search = cma.CMAEvolutionStrategy(6 * [0.0], 0.3, options)
    while not search.stop():
        candidates = search.ask()
        if search.countiter < generations_before_plateau:
            search.tell(candidates, [float(sum(x**2)) for x in candidates])
        else:
            search.tell(candidates, [100.0] * len(candidates))
    return search.countiter, sorted(search.stop())


print("cma", cma.__version__)
at_the_start = iterations_until_stop(0)
one_later = iterations_until_stop(1)
way_round = iterations_until_stop(0, tolfun=0, tolfunhist=0)
print("plateau from the first generation: ", at_the_start)
print("plateau from the second generation:", one_later)
print("the same, tolfun=tolfunhist=0:     ", way_round)
if at_the_start != (1, ["tolfun"]):
    sys.exit("Not as stated: a flat first generation no longer ends the run by tolfun.")
if one_later[0] < 10 or way_round != (200, ["maxiter"]):
    sys.exit("Not as stated: the later plateau or the way round behaves differently.")
PYTHON
