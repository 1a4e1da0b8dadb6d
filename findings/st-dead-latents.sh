#!/usr/bin/env bash
# sentence-transformers 6.2.0: a SparseAutoEncoder with dead_threshold 30 takes a latent for dead after 16 training steps, and
# only if it was not even among the 4k largest of any vector. A training step calls top_k twice, for k and for 4k latents;
# each call sets the counters of what it kept to 0 and adds 1 to all. So the counter of an unused latent grows by 2 a step, and
# a latent that is never among the k of a vector, but among the 4k of some, never counts as dead.
#
# Needs bash, Python 3.11 with pip, and a package index. Uses sentence-transformers and torch alone. Fails if this changes.
set -euo pipefail
python=${PYTHON:-python3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --target "$folder/packages" \
    torch==2.13.0 transformers==5.24.0 sentence-transformers==6.2.0 2>/dev/null

cat >"$folder/seen.py" <<'EOF'
import torch
from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder

torch.manual_seed(0)
model = SparseAutoEncoder(input_dim=4, hidden_dim=12, k=1, k_aux=4, dead_threshold=30).train()
with torch.no_grad():
    model.encoder.weight.zero_()
    model.latent_bias.copy_(torch.arange(12, 0, -1))  # latent 0 is always the largest, and 1 to 3 are in the first 4
first = None
for step in range(1, 31):
    features = model({"sentence_embedding": torch.randn(8, 4)})
    if first is None and features["auxiliary_embedding"].any():
        first = step
    if step in (1, 10, 30):
        kept, near, never = (int(model.stats_last_nonzero[latent]) for latent in (0, 3, 11))
        print(f"step {step}: counter of a kept latent {kept}, of one among 4k alone {near}, of an unused one {never}")
print(f"dead_threshold {model.dead_threshold}: a dead latent first takes part in step {first}")
EOF

cat >"$folder/expected" <<'EOF'
step 1: counter of a kept latent 1, of one among 4k alone 1, of an unused one 2
step 10: counter of a kept latent 1, of one among 4k alone 1, of an unused one 20
step 30: counter of a kept latent 1, of one among 4k alone 1, of an unused one 60
dead_threshold 30: a dead latent first takes part in step 16
EOF

PYTHONPATH="$folder/packages" "$python" "$folder/seen.py" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as described"
