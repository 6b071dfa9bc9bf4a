"""A program that fails as programs do: one order in the data has no price, and nobody thought of it."""

import json

ORDERS = """[
  {"id": 1041, "customer": "Halden & Sons", "lines": [{"sku": "LAMP-2", "quantity": 3, "price": 39.9}]},
  {"id": 1042, "customer": "Bureau Nord", "lines": [{"sku": "DESK-1", "quantity": 1, "price": 429.0},
                                                    {"sku": "CHAIR-4", "quantity": 2, "price": null}]},
  {"id": 1043, "customer": "Atelier Vix", "lines": [{"sku": "NOTE-9", "quantity": 40, "price": 4.5}]}
]"""


def line_total(line: dict) -> float:
    return line["quantity"] * line["price"]


def invoice(order: dict) -> float:
    total = sum(line_total(line) for line in order["lines"])
    print(f"Invoice {order['id']} for {order['customer']}: {total:.2f}")
    return total


def main() -> None:
    orders = json.loads(ORDERS)
    print(f"{len(orders)} orders to invoice.")
    print(f"Sum: {sum(invoice(order) for order in orders):.2f}")


if __name__ == "__main__":
    main()
