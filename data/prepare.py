#!/usr/bin/env python3
"""Makes iso3166.jsonl from the two JSON files of an installed iso-codes.

Usage: prepare.py ISO_3166-1.json ISO_3166-2.json > iso3166.jsonl

One record a line, {"key": ..., "value": {...}}, sorted by the bytes of the key. The same
input gives the same bytes. Nothing but the standard library is needed.
"""

import json
import sys


def countries(path):
    """Yields a record for each entry of ISO 3166-1."""
    with open(path, encoding="utf-8") as file:
        rows = json.load(file)["3166-1"]
    for row in rows:
        value = {
            "name": row["name"],
            "alpha3": row["alpha_3"],
            "numeric": row["numeric"],
        }
        if row.get("official_name", row["name"]) != row["name"]:
            value["official"] = row["official_name"]
        yield f"country/{row['alpha_2']}", value


def subdivisions(path):
    """Yields a record for each entry of ISO 3166-2."""
    with open(path, encoding="utf-8") as file:
        rows = json.load(file)["3166-2"]
    for row in rows:
        code = row["code"]
        country = code.split("-", 1)[0]
        value = {"name": row["name"], "type": row["type"], "country": country}
        parent = row.get("parent")
        if parent:
            # Older releases leave the country off the parent's code.
            value["parent"] = parent if "-" in parent else f"{country}-{parent}"
        yield f"subdivision/{code}", value


def check(records):
    """Stops at a repeated key, or at a country or parent that is not in the set."""
    keys = {key for key, _ in records}
    if len(keys) != len(records):
        sys.exit("a key occurs twice")
    for key, value in records:
        for name, prefix in (("country", "country/"), ("parent", "subdivision/")):
            if name in value and prefix + value[name] not in keys:
                sys.exit(f"{key}: its {name} {value[name]} is not listed")


def main(arguments):
    if len(arguments) != 2:
        sys.exit(__doc__)
    records = [*countries(arguments[0]), *subdivisions(arguments[1])]
    check(records)
    records.sort(key=lambda record: record[0].encode())
    for key, value in records:
        line = json.dumps({"key": key, "value": value}, ensure_ascii=False, separators=(",", ":"))
        sys.stdout.buffer.write(line.encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
