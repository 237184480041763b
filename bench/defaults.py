"""What estimators find with nothing set: ROC areas of a detector and a VAE beside PCA's.

`AnomalyDetector()` and `VAE()` are fitted, with no setting but the seed and the VAE's loss, to all rows of each of ten
tables, anomalies and all, without labels, and score the same rows: the table as it is stored (raw), and standardised
column by column (scaled). Of the digits each class in turn is what is normal: fitted to four fifths of its rows, scored
on the others and on all other classes. A VAE's score is its -ELBO; its loss is "gaussian" of the tables, which hold
measurements, and of the standardised digits, else its default. PCA keeps as many components as the code has and scores
by squared error.

Exit code 1 where a mean over the seeds is below .5 and PCA's is not.
"""

import os
import time
import warnings
from pathlib import Path

import numpy as np

from bench import Failed, Unavailable, runner
from bench.peers import PEERS

TABLES = ("2_annthyroid", "4_breastw", "6_cardio", "18_Ionosphere", "26_optdigits", "29_Pima", "31_satimage-2",
          "32_shuttle", "38_thyroid", "43_WDBC")  # fmt: skip
KINDS, MODELS = ("raw", "scaled"), ("detector", "vae")
HEAD = ("table", "rows", "features", "", "PCA", "detector", "seeds", "VAE", "seeds", "s/fit", "warned")
CODE = 16  # the default n_components

# -- in the worker --------------------------------------------------------------------------------------------------


class Task:
    """Lives beside the installed tinyae; needs nothing else of the peer."""

    def __init__(self, peer, folder):
        import tinyae
        from tinyae import metrics

        self.tinyae, self.roc_auc, self.folder = tinyae, metrics.roc_auc, folder

    def cases(self, table):
        """Read a table; how many cases it has. A case is (rows to fit, rows to score, which of them are anomalies)."""
        if table == "digits":
            digits = self.tinyae.load_data("digits").split()
            X, new = digits.X / 16, digits.X_test / 16
            self.data = []
            for c in range(10):
                scored = np.concatenate([new[digits.y_test == c], X[digits.y != c], new[digits.y_test != c]])
                self.data.append((X[digits.y == c], scored, np.arange(len(scored)) >= np.sum(digits.y_test == c)))
        else:
            with np.load(Path(self.folder, f"{table}.npz")) as file:
                X, y = file["X"], file["y"] == 1
            self.data = [(X, X, y)]
        X = self.data[0][0]
        return len(self.data), len(X), X.shape[1]

    def pca(self, case, kind):
        """The ROC area of PCA's squared error."""
        fitted, scored, strange = self._rows(case, kind)
        mean = fitted.mean(axis=0, dtype=np.float64)
        k = max(1, min(CODE, fitted.shape[1] // 2))
        axes = np.linalg.svd(fitted - mean, full_matrices=False)[2][:k]
        rest = scored - mean
        return self.roc_auc(strange, np.sum((rest - rest @ axes.T @ axes) ** 2, axis=1))

    def fit(self, case, kind, which, seed):
        """(ROC area or why there is none, seconds of the fit, names of what was warned of)."""
        fitted, scored, strange = self._rows(case, kind)
        t = self.tinyae
        if which == "detector":
            model = t.AnomalyDetector().set_params(model__random_state=seed)
        else:
            pixels = len(self.data) > 1 and kind == "raw"
            model = t.VAE(random_state=seed, **({} if pixels else {"loss": "gaussian"}))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            began = time.perf_counter()
            try:
                model.fit(fitted)
            except t.errors.DivergedError:
                return "diverged", time.perf_counter() - began, []
            seconds = time.perf_counter() - began
        area = self.roc_auc(strange, -model.score_samples(scored))
        return area, seconds, sorted({warning.category.__name__ for warning in caught})

    def _rows(self, case, kind):
        fitted, scored, strange = self.data[case]
        if kind == "scaled":
            mean, deviation = fitted.mean(axis=0, dtype=np.float64), fitted.std(axis=0, dtype=np.float64)
            deviation[deviation == 0] = 1.0  # as StandardScaler leaves a constant column
            fitted, scored = (fitted - mean) / deviation, (scored - mean) / deviation
        return fitted, scored, strange


# -- in the parent --------------------------------------------------------------------------------------------------


def options(parser):
    """The command line."""
    parser.add_argument("--data", type=Path, metavar="DIR", default=os.environ.get("TINYAE_DATA"),
                        help="folder that holds adbench/*.npz (default: TINYAE_DATA)")  # fmt: skip
    known = (*TABLES, "digits")
    parser.add_argument("--tables", type=runner.names(known), default=list(known), metavar="T,T",
                        help=f"of {', '.join(known)}; default: all")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--json", type=runner.writable, metavar="FILE", help="write machine, versions and all rows")
    parser.add_argument("--quick", action="store_true", help="one seed: shows that it works")


def run(options):
    """Fit and print; returns None, or raises Refused or Failed."""
    folder = Path(options.data or ".", "adbench")
    missing = [table for table in options.tables if table != "digits" and not (folder / f"{table}.npz").is_file()]
    if missing:
        raise Unavailable(f"{folder} has no {', '.join(missing)}, tables of ADBench. Give --data or --tables digits.")
    header, rows = {"benchmark": "defaults", **runner.machine(options), "peers": {}}, []
    process = runner.Process("tinyae", PEERS["tinyae"], "bench.defaults", 1, {"folder": str(folder.resolve())})
    try:
        process.ready()
        header["peers"]["tinyae"] = process.about
        for table in options.tables:
            count, n, features = process.call("cases", table)
            for kind in KINDS:
                row = {"table": table, "rows": n, "features": features, "kind": kind}
                areas = [process.call("pca", case, kind) for case in range(count)]
                row |= {"pca": float(np.mean(areas)), "pca_least": min(areas)}
                for model in MODELS:
                    runner.progress(f"{table} {kind}: {model}")
                    seeds = range(1 if options.quick else options.seeds)
                    row[model] = [[process.call("fit", case, kind, model, seed) for case in range(count)]
                                  for seed in seeds]  # fmt: skip
                rows.append(row)
        runner.progress("")
    finally:
        process.close()
    runner.print_header("defaults: ROC areas, nothing set but the seed", header, [process])
    print()
    runner.print_table(HEAD, [_line(row) for row in rows])
    print("\nseeds: the least and the largest of the seeds' areas (of the digits: of all classes and seeds)\n"
          "warned: fits that gave a ConvergenceWarning (c) or another (w), of all")  # fmt: skip
    if options.json:
        runner.write_json(options.json, header, rows)
    worse = [f"{row['table']} {row['kind']}: {model} {_mean(row[model]):.2f}, PCA {row['pca']:.2f}"
             for row in rows for model in MODELS if row["pca"] >= 0.5 and not _mean(row[model]) >= 0.5]  # fmt: skip
    if worse:
        raise Failed(f"worse than chance where PCA is not: {'; '.join(worse)}.")


def _areas(fits):
    return [area for seed in fits for area, _, _ in seed]


def _mean(fits):
    areas = _areas(fits)
    return float("nan") if "diverged" in areas else float(np.mean(areas))


def _line(row):
    fits = [fit for model in MODELS for seed in row[model] for fit in seed]
    line = [row["table"], f"{row['rows']:,}", str(row["features"]), row["kind"], f"{row['pca']:.2f}"]
    for model in MODELS:
        areas = _areas(row[model])
        if "diverged" in areas:
            line += ["diverged", f"{areas.count('diverged')} of {len(areas)}"]
        else:
            line += [f"{np.mean(areas):.2f}", f"{min(areas):.2f}-{max(areas):.2f}"]
    said = [sum("ConvergenceWarning" in names for _, _, names in fits),
            sum(any(name != "ConvergenceWarning" for name in names) for _, _, names in fits)]  # fmt: skip
    marks = " ".join(f"{count}{mark}" for count, mark in zip(said, "cw") if count)
    return [*line, f"{np.mean([seconds for _, seconds, _ in fits]):.1f}", f"{marks} of {len(fits)}" if marks else "-"]
