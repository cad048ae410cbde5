#!/usr/bin/env bash
# The whole way on two cores, from the first night to the student's: the teacher is a search, the students are the
# embedded one and an adapter of a language model of 135M parameters. Beforehand, once:
#   pip install 'nightshift[distil]' && nightshift models fetch smollm2
# Everything is made in DIR, a new folder; promoted students go to the data home, as always.
set -euo pipefail
dir=${1:?usage: small.sh DIR [TRIALS] [MODEL]}
trials=${2:-60}
model=${3:-smollm2}
mkdir -p "$dir" && cd "$dir"

# 1. A night by the teacher.
nightshift init night
nightshift run night --proposer tpe --trials "$trials" --tag first --json >night.json

# 2. What it chose, among what, and what that brought.
nightshift distill corpus night@first --out corpus

# 3. Two students of it.
nightshift distill train --corpus corpus --out embedded
nightshift distill train --corpus corpus --base "$model" --out language

# 4. The race on what was held out: against each other, the teacher, chance and counts.
nightshift race ./embedded ./language tpe random --on corpus

# 5. A name, for whoever passes the gates. That one does not is a result, too.
for student in embedded language; do
  nightshift distill promote "./$student" --name "small-$student" --on corpus --replay-only || true
done

# 6. The next night, by the students.
for student in embedded language; do
  nightshift init "next-$student"
  nightshift run "next-$student" --proposer "student:../$student/" --trials "$((trials / 3))" --json >"next-$student.json"
  nightshift report "next-$student"
done
nightshift compare next-embedded next-language
