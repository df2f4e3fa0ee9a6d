"""`keras-reprogram audit`: how much a stranger could make of an API of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from keras_reprogram.command_line.console import (
    INTERRUPTED,
    Progress,
    print_table,
    stdout_is_for_data,
    with_exit_codes,
)
from keras_reprogram.command_line.options import (
    JsonFile,
    Price,
    Quiet,
    SourceName,
    TargetSize,
    check_folder,
)
from keras_reprogram.command_line.run_folder import check_json_path, write_json
from keras_reprogram.command_line.source_settings import SourceSettings, with_source_settings
from keras_reprogram.command_line.sources import check_source, is_python_source, resolve_source

if TYPE_CHECKING:
    from keras_reprogram.audit import Audit, AuditPlan, Measure
    from keras_reprogram.datasets import TargetData
    from keras_reprogram.report import TextTable
    from keras_reprogram.source import Source

# Tasks that come with the package or with scikit-learn.
BUNDLED = ("digits", "squares_counting")
PAGE, ANSWERS = "audit.html", "answers.ledger"
_MOST_OWN = 300


@with_exit_codes
@with_source_settings
def audit(
    *,
    source: SourceName,
    settings: SourceSettings,
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget",
            "--query-budget",
            min=1,
            metavar="N",
            help="Most queries of the whole audit, those in the folder's ledger included. Without "
            "it, nothing is asked: the command says what it would ask.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|PATH",
            help="A further foreign task, named as --target of train; may be repeated.",
        ),
    ] = None,
    bundled: Annotated[
        bool,
        typer.Option(
            "--bundled/--no-bundled",
            help=f"Whether the tasks {' and '.join(BUNDLED)} are asked, which need no file.",
        ),
    ] = True,
    own: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Data of the source's own task, a folder with a subfolder a class, say: what "
            "measures cost honest users is measured on its test part. [default: the share of "
            "answers to foreign images whose top label stays]",
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A measure to try, may be repeated: top-label, top-scores=5, rounded=0.01, "
            "noise=0.01, temperature=4. [default: these, and stronger ones]",
        ),
    ] = None,
    num_views: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Most queries that a stranger asks of an image."),
    ] = 8,
    seeds: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Repeat each task with other images and views, up to N times."
        ),
    ] = 3,
    train_images: Annotated[
        int, typer.Option(min=2, metavar="N", help="Most training images of a task.")
    ] = 1000,
    test_images: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most test images of a task.")
    ] = 500,
    target_size: TargetSize = None,
    price: Price = None,
    per_second: Annotated[
        float,
        typer.Option(
            min=1e-9, metavar="N", help="Queries per second of the rate limit to reckon with."
        ),
    ] = 1.0,
    output: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Folder for the page and for the answers, with which a stopped audit goes on.",
        ),
    ] = Path("audit"),
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Show how much a stranger could make of an API of your own.

    Fits exact maps for foreign tasks on the API's scores, compares them with the pixels alone, and
    repeats it behind measures that you could take, with what each costs honest users. Asks each
    query once and nothing without --budget. Only for an API that is yours, or whose owner asked
    you. Example:

    keras-reprogram audit --source my_api.py:source --own photos/ --price 1.5 --budget 5000
    """
    check_json_path(json_file)
    check_folder(output)
    check_source(source)
    from keras_reprogram.audit import measures_for, plan_audit, read_measure
    from keras_reprogram.audit.auditing import check_scores
    from keras_reprogram.audit.plan import NO_LIMIT

    chosen = [read_measure(text) for text in measure or ()]
    tasks = _tasks([*(BUNDLED if bundled else ()), *(target or ())], target_size)
    own_data = None if own is None else _tasks([own], target_size)[0]
    plan = plan_audit(
        tasks,
        NO_LIMIT if budget is None else budget,
        num_views=num_views,
        seeds=seeds,
        train_images=train_images,
        test_images=test_images,
        own_images=0 if own_data is None else min(_MOST_OWN, len(own_data.test_labels)),
        price_per_thousand=price,
    )
    print_table(_plan_table(plan, source, per_second))
    if budget is None:
        print("Nothing was asked. Pass --budget N to ask: N may be less, the plan then shrinks.")
        if json_file is not None:
            write_json(json_file, {"source": source, "planned_queries": plan.queries})
        return
    _check_output(output)
    with stdout_is_for_data():
        opened = resolve_source(
            source, opaque=not is_python_source(source), settings=settings
        ).source
        check_scores(opened)
        found = _asked(
            opened,
            tasks,
            plan,
            chosen or measures_for(opened.num_labels),
            own_data,
            budget,
            per_second,
            output,
            Progress(quiet),
        )
        page = _write_page(output, found, source)
    _print(found)
    print(f"page    {page}")
    print(f"answers {output / ANSWERS} ({found.spent:,} queries)")
    if json_file is not None:
        write_json(json_file, found.to_dict())


def _tasks(names: list[str], size: int | None) -> list[TargetData]:
    from keras_reprogram.datasets import load_target
    from keras_reprogram.datasets.load_target import check_target

    if not names:
        raise ValueError(
            "An audit needs one foreign task at least. Received: --no-bundled without --target. "
            "Name a target."
        )
    for name in names:
        check_target(name)
    return [load_target(name, image_size=size).learned() for name in names]


def _check_output(output: Path) -> None:
    page = output / PAGE
    if page.exists() and not (output / ANSWERS).exists():
        raise FileExistsError(
            f"{page} exists without the answers of an audit beside it. Choose another --output."
        )


def _asked(
    source: Source,
    tasks: list[TargetData],
    plan: AuditPlan,
    measures: list[Measure],
    own: TargetData | None,
    budget: int,
    per_second: float,
    output: Path,
    progress: Progress,
) -> Audit:
    from keras_reprogram.audit import audit_source
    from keras_reprogram.source import QueryLedger

    output.mkdir(parents=True, exist_ok=True)
    price = plan.price_per_thousand
    with QueryLedger(output / ANSWERS, budget, price_per_thousand=price) as ledger:
        if ledger.spent:
            progress.note(f"{output / ANSWERS} holds {ledger.spent:,} queries: none is asked again")
        try:
            with progress.bar("asking", plan.queries) as update:
                return audit_source(
                    source,
                    tasks,
                    plan,
                    measures=measures,
                    ledger=ledger,
                    own=own,
                    queries_per_second=per_second,
                    progress=update,
                    say=progress.note,
                )
        except KeyboardInterrupt:
            typer.echo(
                f"\nStopped. {output / ANSWERS} keeps {ledger.spent:,} queries: the same command "
                "goes on from there.",
                err=True,
            )
            raise typer.Exit(INTERRUPTED) from None


def _write_page(output: Path, found: Audit, source: str) -> Path:
    from keras_reprogram.audit import write_audit_page

    # A source's folder is nobody's business.
    name = Path(source).name or source
    return write_audit_page(output / PAGE, found, source_name=name, overwrite=True)


def _plan_table(plan: AuditPlan, source: str, per_second: float) -> Table:
    table = Table(title=f"To ask of {source}")
    for column in ("task", "what"):
        table.add_column(column)
    for column in ("queries", "price", f"hours at {per_second:g} a second"):
        table.add_column(column, justify="right")
    for task, how, queries in plan.rows():
        price = plan.price_of(queries)
        money = "-" if price is None else f"{price:,.2f}"
        table.add_row(task, how, f"{queries:,}", money, f"{queries / per_second / 3600:,.2f}")
    return table


def _print(found: Audit) -> None:
    from keras_reprogram.audit.page import measures_table, summary, tasks_table

    print_table(_as_table("Foreign tasks", tasks_table(found)))
    for task in found.tasks:
        print_table(_as_table(f"Measures against {task.name}", measures_table(found, task)))
    for sentence in summary(found):
        print(sentence)


def _as_table(title: str, content: TextTable) -> Table:
    table: Any = Table(title=title)
    for number, head in enumerate(content.heads):
        table.add_column(head, justify="right" if number else "left")
    for row in content.rows:
        table.add_row(*row)
    return table
