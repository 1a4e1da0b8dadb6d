#!/usr/bin/env bash
# milvus-lite 2.5.1 with pymilvus 2.5.18: a collection whose schema has a partition key (is_partition_key=True) is made, takes
# rows and answers a search without a filter. From then on every expression is refused as invalid, whatever field it names:
# filters of searches and queries, deletes by a filter, and `get` by primary keys, which becomes one. The message names the
# expression ("Invalid expr: year > 2003"), and not the key; the same calls on the same fields without a key are answered.
#
# Needs bash, Python 3.11 with pip, and a package index. Uses milvus-lite and pymilvus alone. Fails if this changes.
set -euo pipefail
python=${PYTHON:-python3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --target "$folder/packages" \
    milvus-lite==2.5.1 pymilvus==2.5.18 'setuptools<81' 2>/dev/null

cat >"$folder/seen.py" <<'EOF'
import logging
import sys

from pymilvus import DataType, MilvusClient, MilvusException

logging.disable(logging.CRITICAL)
client = MilvusClient(sys.argv[1])
for kind in ("plain", "with a partition key"):
    name = kind.split()[0]
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, max_length=8, is_primary=True)
    schema.add_field("owner", DataType.VARCHAR, max_length=8, is_partition_key=kind != "plain")
    schema.add_field("year", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=index)
    rows = [{"id": str(i), "owner": "ab"[i % 2], "year": 2000 + i, "vector": [1.0, float(i)]} for i in range(6)]
    print(f"{kind}: {client.insert(name, rows)['insert_count']} rows inserted")
    calls = {
        "search": lambda: [hit["id"] for hit in client.search(name, [[0.0, 1.0]], limit=2)[0]],
        "search, year > 2003": lambda: [
            hit["id"] for hit in client.search(name, [[0.0, 1.0]], limit=2, filter="year > 2003")[0]
        ],
        "query, owner == 'a'": lambda: sorted(
            row["id"] for row in client.query(name, filter="owner == 'a'", output_fields=["id"])
        ),
        "get 1": lambda: [row["id"] for row in client.get(name, ["1"], output_fields=["id"])],
    }
    for call, run in calls.items():
        try:
            print(f"  {call}: {run()}")
        except MilvusException as error:
            print(f"  {call}: refused: {error.message}")
EOF

cat >"$folder/expected" <<'EOF'
plain: 6 rows inserted
  search: ['5', '4']
  search, year > 2003: ['5', '4']
  query, owner == 'a': ['0', '2', '4']
  get 1: ['1']
with a partition key: 6 rows inserted
  search: ['5', '4']
  search, year > 2003: refused: Invalid expr: year > 2003: invalid parameter
  query, owner == 'a': refused: Invalid expr: owner == 'a': invalid parameter
  get 1: refused: Invalid expr: id in ['1']: invalid parameter
EOF

PYTHONPATH="$folder/packages" "$python" "$folder/seen.py" "$folder/rows.db" 2>/dev/null | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as described"
