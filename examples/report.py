"""A month of sales: sums up a CSV, prints a table, writes report.csv and report.svg.

Run it with `thane run examples/report.py --out results`. To report on sales of your own, add
`--file sales.csv` with the columns date, region, product, units and unit_price.
"""

import csv
import io
import random
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from xml.sax.saxutils import escape

PRICES = {"Desk lamp": "39.90", "Notebook": "4.50", "Office chair": "189.00", "Standing desk": "429.00"}
REGIONS = {"North": 1.0, "South": 0.8, "East": 0.6, "West": 1.3}
COLORS = ["#2b6cb0", "#dd6b20", "#2f855a", "#805ad5"]


def sample_sales() -> str:
    """A CSV of 30 days; the same every time."""
    chance = random.Random(20260101)
    lines = ["date,region,product,units,unit_price"]
    for day in range(30):
        when = date(2026, 9, 1) + timedelta(days=day)
        weekend = 0.4 if when.weekday() >= 5 else 1.0
        for region, size in REGIONS.items():
            for product, price in PRICES.items():
                units = round(chance.gauss(2000 / (float(price) + 20), 6) * size * weekend)
                if units > 0:
                    lines.append(f"{when},{region},{product},{units},{price}")
    return "\n".join(lines) + "\n"


def read_sales() -> list[dict]:
    own = Path("sales.csv")
    text = own.read_text(encoding="utf-8") if own.exists() else sample_sales()
    sales = []
    for number, row in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        try:
            units, price = int(row["units"]), Decimal(row["unit_price"])
        except (ArithmeticError, TypeError, ValueError) as error:
            raise SystemExit(
                f"sales.csv line {number}: units and unit_price must be numbers ({error})"
            ) from error
        sales.append({**row, "units": units, "revenue": units * price})
    return sales


def total_by(sales: list[dict], *columns: str) -> dict[tuple, Decimal]:
    totals: dict[tuple, Decimal] = defaultdict(Decimal)
    for sale in sales:
        totals[tuple(sale[column] for column in columns)] += sale["revenue"]
    return dict(sorted(totals.items()))


def print_table(totals: dict[tuple, Decimal], products: list[str], regions: list[str]) -> None:
    print(f"{'':14}" + "".join(f"{region:>13}" for region in regions) + f"{'Total':>14}")
    for product in products:
        row = [totals.get((product, region), Decimal()) for region in regions]
        print(f"{product:14}" + "".join(f"{value:13,.2f}" for value in row) + f"{sum(row):14,.2f}")
    columns = [sum(totals.get((product, region), Decimal()) for product in products) for region in regions]
    print(f"{'Total':14}" + "".join(f"{value:13,.2f}" for value in columns) + f"{sum(columns):14,.2f}")


def write_csv(path: Path, totals: dict[tuple, Decimal]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["product", "region", "revenue"])
        writer.writerows([*key, value] for key, value in totals.items())


def round_step(value: Decimal) -> Decimal:
    """The next number from 1, 2, 2.5, 5, 10, 20 and so on."""
    power = Decimal(10) ** value.adjusted()
    return next(power * step for step in (1, 2, Decimal("2.5"), 5, 10) if power * step >= value)


def draw(by_day: dict[tuple, Decimal], regions: list[str]) -> str:
    """An SVG with one line for each region: revenue over the days."""
    width, height, left, bottom = 760, 340, 70, 40
    days = sorted({day for day, _ in by_day})
    top = 4 * round_step(max(by_day.values()) / 4)

    def x(index: int) -> float:
        return left + index * (width - left - 120) / max(len(days) - 1, 1)

    def y(value: Decimal) -> float:
        return height - bottom - float(value / top) * (height - bottom - 40)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        "<style>text { font: 12px sans-serif } .title { font-size: 16px }</style>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="24" class="title">Revenue by region, {days[0]} to {days[-1]}</text>',
    ]
    for step in range(5):
        value = top * step / 4
        parts.append(f'<path d="M{left} {y(value):.1f}H{width - 120}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.0f}</text>')
    parts += [
        f'<text x="{x(index):.1f}" y="{height - 20}" text-anchor="middle">{escape(days[index][5:])}</text>'
        for index in range(0, len(days), 7)
    ]
    for number, region in enumerate(regions):
        color = COLORS[number % len(COLORS)]
        points = " ".join(
            f"{x(index):.1f},{y(by_day.get((day, region), Decimal())):.1f}" for index, day in enumerate(days)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{width - 110}" y="{60 + 20 * number}" fill="{color}">{escape(region)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    sales = read_sales()
    if not sales:
        raise SystemExit("sales.csv holds no sales")
    products = sorted({sale["product"] for sale in sales})
    regions = sorted({sale["region"] for sale in sales})
    totals = total_by(sales, "product", "region")
    print_table(totals, products, regions)
    best_day, revenue = max(total_by(sales, "date").items(), key=lambda item: item[1])
    print(
        f"\nBest day: {best_day[0]} with {revenue:,.2f}; {sum(sale['units'] for sale in sales):,} units sold."
    )
    write_csv(Path("report.csv"), totals)
    Path("report.svg").write_text(draw(total_by(sales, "date", "region"), regions), encoding="utf-8")
    print("Wrote report.csv and report.svg.")


if __name__ == "__main__":
    main()
