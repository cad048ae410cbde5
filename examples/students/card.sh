#!/usr/bin/env bash
# A night by an 8B model, and the next one by a 3B's adapter that learnt from it. The first night may be proposed by any
# endpoint; training and serving the 3B take a GPU with 12 GB or more, and pip install 'nightshift[distil]'.
# Not run by us as it stands: small.sh is the same way on two cores, and is.
set -euo pipefail
dir=${1:?usage: card.sh DIR [TEACHER] [MODEL]}
teacher=${2:-nim-8b}                        # a model of models.toml; `nightshift models list` shows them
model=${3:-Qwen/Qwen2.5-3B-Instruct}        # any causal model on the Hugging Face Hub, a folder, or a GGUF file
mkdir -p "$dir" && cd "$dir"

nightshift init night
nightshift doctor night                     # is the endpoint there, and what can it do?
nightshift run night --proposer "$teacher" --hours 8 --tag teacher

nightshift distill corpus night@teacher --out corpus
nightshift distill train --corpus corpus --base "$model" --out student
nightshift race ./student "$teacher" tpe random --on corpus   # the teacher's calls are paid for, five a choice
nightshift distill promote ./student --name card --on corpus --replay-only

nightshift init next
nightshift run next --proposer student:card --hours 8 --tag student
nightshift report next
nightshift compare night@teacher next@student
